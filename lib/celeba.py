"""CelebA (Liu, Luo, Wang & Tang, 2015) in its official layout; it does not come with the kit (see data/README.md).

``img_align_celeba/`` holds aligned faces of 178x218, ``list_attr_celeba.txt`` the 40 attributes as 1 or -1, and
``list_eval_partition.txt`` 0 (train), 1 (validation) or 2 (test) for each image.
"""

from pathlib import Path

import numpy as np

from lib.data import Dataset, Table
from lib.folder import squares

IMAGES, ATTRIBUTE_FILE, PARTITION_FILE = "img_align_celeba", "list_attr_celeba.txt", "list_eval_partition.txt"
SITE = "mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
SIZE = 64

HEADER = (  # the second line of the attribute file
    "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair Blond_Hair "
    "Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones Male "
    "Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks "
    "Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace "
    "Wearing_Necktie Young"
)
ATTRIBUTES = tuple(HEADER.split())


def read_celeba(folder: Path, n_train: int | None = None, n_test: int | None = None) -> Dataset:
    """CelebA's first ``n_train`` training and validation images, then its first ``n_test`` test images; None is all.

    images: uint8 (N, 3, 64, 64), the central 178x178 of the aligned 178x218 (rows 20 to 197, so that hats and beards stay
    in), box-averaged; 12 kB each, 2.5 GB for all 202,599. table: each of ``ATTRIBUTES`` -> float32 (N,), 1 or 0.
    Raises FileNotFoundError or ValueError in one sentence naming what is missing, truncated or at odds with the rest.
    """
    check_layout(folder)
    names, table = read_attributes(folder / ATTRIBUTE_FILE)
    partition = read_partition(folder / PARTITION_FILE, names)
    learnt, held = np.flatnonzero(partition < 2)[:n_train], np.flatnonzero(partition == 2)[:n_test]
    rows = np.concatenate([learnt, held])
    paths = [folder / IMAGES / names[row] for row in rows]
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"{path} is listed in {ATTRIBUTE_FILE} but absent: {again(folder)}.")
    images = squares(paths, SIZE)
    return Dataset(images, {name: column[rows] for name, column in table.items()}, partition[rows] < 2)


def again(folder: Path) -> str:
    """How to get CelebA, as the end of a sentence."""
    return f"get CelebA from {SITE} into {folder}, or where there is internet call lib.celeba.download({str(folder)!r})"


def check_layout(folder: Path) -> None:
    """Raise FileNotFoundError, naming the first that is missing, unless the folder, its images and both lists exist."""
    for path in (folder, folder / IMAGES):
        if not path.is_dir():
            raise FileNotFoundError(f"folder {path} is missing: {again(folder)}.")
    for path in (folder / ATTRIBUTE_FILE, folder / PARTITION_FILE):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: {again(folder)}.")


def read_attributes(path: Path) -> tuple[list[str], Table]:
    """Image names, and each attribute -> float32 (N,), 1 or 0, from ``list_attr_celeba.txt``.

    Raises ValueError for a row count other than the one in the first line, an unknown attribute, and a row that is not a
    name and 40 values of 1 or -1.
    """
    found = lines(path)
    count, header, rows = "".join(found[:1]).strip(), tuple("".join(found[1:2]).split()), found[2:]
    if count != str(len(rows)):
        raise ValueError(f"{path} announces {count[:20] or 'no'} images and lists {len(rows)}: {again(path.parent)}.")
    if header != ATTRIBUTES:
        unknown = [name for name in header if name not in ATTRIBUTES]
        fault = f"the unknown attribute {unknown[0]}" if unknown else "not the 40 attributes in their order"
        raise ValueError(f"{path}, line 2, has {fault}: {again(path.parent)}.")
    names, values = [], np.empty((len(rows), len(ATTRIBUTES)), np.float32)
    for number, row in enumerate(rows):
        name, *marks = row.split()
        if len(marks) != len(ATTRIBUTES) or not {"1", "-1"}.issuperset(marks):
            raise ValueError(f"{path}, line {number + 3}, is not a name and 40 values of 1 or -1: {again(path.parent)}.")
        names.append(name)
        values[number] = [mark == "1" for mark in marks]
    return names, dict(zip(ATTRIBUTES, values.T, strict=True))


def read_partition(path: Path, names: list[str]) -> np.ndarray:
    """0 (train), 1 (validation) or 2 (test) for each of ``names``, int (N,), from ``list_eval_partition.txt``.

    Raises ValueError unless the file lists the same images in the same order, each with 0, 1 or 2, some of them to train
    and some to test with.
    """
    rows = lines(path)
    if len(rows) != len(names):
        raise ValueError(f"{path} lists {len(rows)} images and {ATTRIBUTE_FILE} {len(names)}: {again(path.parent)}.")
    for number, (row, name) in enumerate(zip(rows, names, strict=True), 1):
        if row.split() not in ([name, "0"], [name, "1"], [name, "2"]):
            raise ValueError(f"{path}, line {number}, is not {name} and 0, 1 or 2: {again(path.parent)}.")
    partition = np.array([int(row.split()[1]) for row in rows])
    held = partition == 2
    if held.all() or not held.any():
        raise ValueError(f"{path} has no image to {'train' if held.any() else 'test'} with: {again(path.parent)}.")
    return partition


def lines(path: Path) -> list[str]:
    """The lines of a text file that are not blank."""
    return [line for line in path.read_text(errors="replace").splitlines() if line.strip()]


def download(folder: Path | str) -> None:
    """Let torchvision fetch the official files (1.4 GB, by the package gdown) into ``folder``, whose name must be celeba.

    A broken download goes on where it stopped when called again. Raises ValueError for another name and RuntimeError in one
    sentence when the files cannot be had.
    """
    from torchvision.datasets import CelebA  # here, because it takes a second and only this needs it

    folder = Path(folder)
    if folder.name != CelebA.base_folder:
        raise ValueError(f"folder {folder} must be called {CelebA.base_folder}, as torchvision calls it: rename it.")
    try:
        CelebA(folder.parent, download=True)
    except Exception as error:  # whatever the network or the drive that holds the files comes up with
        reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        raise RuntimeError(f"CelebA could not be downloaded ({reason}): get it from {SITE} into {folder}.") from error
