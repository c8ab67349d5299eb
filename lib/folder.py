"""A folder of pictures as one array of small square images: FFHQ thumbnails, CelebA, or one's own."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from tqdm.auto import tqdm

from lib.runs import in_batch

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def read_folder(folder: Path, size: int = 64, limit: int | None = None) -> np.ndarray:
    """The png, jpg and webp images in ``folder`` and its subfolders, sorted by name: uint8 (N, 3, size, size).

    With ``limit``, the first so many. Hidden files are passed over. Raises FileNotFoundError if there is no such folder
    or no image in it, and ValueError naming the file for an image that cannot be read or is smaller than ``size``.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"folder {folder} does not exist: create it with your images, or give another folder.")
    paths = listed(folder)[:limit]
    if not paths:
        raise FileNotFoundError(f"folder {folder} holds no png, jpg or webp image: put some there or give another folder.")
    return squares(paths, size)


def listed(folder: Path) -> list[Path]:
    """The visible image files in the folder and its subfolders, sorted by their names relative to it."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    paths = [folder / name for name in names if not any(part.startswith(".") for part in name.split("/"))]
    return [path for path in paths if path.is_file()]


def squares(paths: Sequence[Path], size: int) -> np.ndarray:
    """The images at ``paths`` as uint8 (N, 3, size, size); ValueError as ``square``."""
    images = np.empty((len(paths), 3, size, size), np.uint8)
    for row, path in enumerate(tqdm(paths, leave=False, disable=in_batch())):
        images[row] = square(path, size)
    return images


def square(path: Path, size: int) -> np.ndarray:
    """One image: the central square as wide as the shorter side, box-averaged to uint8 (3, size, size), RGB.

    Raises ValueError naming the file if it is truncated, not an image, or smaller than ``size``.
    """
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is truncated or not an image: restore or remove it.") from error
    side = min(image.size)
    if side < size:  # enlarging would pass blur off as data
        raise ValueError(f"{path} is {image.width}x{image.height}, below {size} pixels: remove it or give a smaller size.")
    left, top = (image.width - side) // 2, (image.height - side) // 2
    small = image.resize((size, size), Image.Resampling.BOX, (left, top, left + side, top + side))
    return np.asarray(small).transpose(2, 0, 1)
