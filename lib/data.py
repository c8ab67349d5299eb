"""Images and their attribute tables.

A dataset is one ``.npz`` file: uint8 images, one column per attribute, and which rows are for training. Everything
downstream sees images as float32 (N, C, H, W) in [-1, 1].
"""

import gzip
import hashlib
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import pad

from lib.files import replacing

Table = dict[str, np.ndarray]  # attribute name -> (N,) values, one row an image

# sha256 of the compressed files, so that a truncated or altered one is refused before it is unpacked.
MNIST_SHA256 = {
    "train-images-idx3-ubyte.gz": "0b367032e93c5d0cea0925647cfdb18614af8ee15f83e6f2fc2ad904a6835971",
    "train-labels-idx1-ubyte.gz": "1787548bbe0bff1ec2ecdc0ef292b02df999e2d1a6002d27500982c652b17203",
    "t10k-images-idx3-ubyte.gz": "1a1a05eab793c14bb050b398624a11b0ffd1a2953baed553b1b9bd079e2a20be",
    "t10k-labels-idx1-ubyte.gz": "b91679a0acfe4ba0e50a2437a903084cba1f5f92592b016a25a7dfd00455798b",
}


@dataclass(frozen=True)
class Dataset:
    """images: uint8 (N, C, H, W); table: attribute -> (N,); train: bool (N,), False for the test rows."""

    images: np.ndarray
    table: Table
    train: np.ndarray

    def rows(self, chosen: np.ndarray) -> "Dataset":
        """The dataset of the rows where ``chosen`` (N,) is true, or of the row numbers in it."""
        return Dataset(self.images[chosen], {k: v[chosen] for k, v in self.table.items()}, self.train[chosen])


def check_mnist(folder: Path) -> None:
    """Raise FileNotFoundError or ValueError, naming the file, unless ``folder`` holds the four genuine MNIST files."""
    for name, expected in MNIST_SHA256.items():
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: restore it with `git checkout -- data/mnist`.")
        if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            raise ValueError(f"{path} is truncated or altered (sha256): restore it with `git checkout -- data/mnist`.")


def read_mnist(folder: Path) -> Dataset:
    """MNIST from the embedded gzip files, padded to 32x32: 60,000 training rows, then 10,000 test rows.

    The files are verified, unpacked into a temporary folder and read by ``torchvision.datasets.MNIST`` (no download).
    Raises FileNotFoundError or ValueError (see ``check_mnist``).
    """
    from torchvision.datasets import MNIST  # here, because it takes a second and few who import this module need it

    check_mnist(folder)
    with tempfile.TemporaryDirectory() as root:
        raw = Path(root) / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for name in MNIST_SHA256:
            (raw / name.removesuffix(".gz")).write_bytes(gzip.decompress((folder / name).read_bytes()))
        parts = [MNIST(root, train=train, download=False) for train in (True, False)]
    images = torch.cat([part.data for part in parts])[:, None]  # (70000, 1, 28, 28)
    digits = torch.cat([part.targets for part in parts])
    return Dataset(
        pad(images, (2, 2, 2, 2)).numpy(),  # 28x28 => 32x32
        {"digit": digits.numpy().astype(np.float32)},
        np.arange(len(images)) < len(parts[0]),
    )


def to_float(images: np.ndarray) -> torch.Tensor:
    """uint8 (N, C, H, W) -> float32 in [-1, 1]."""
    if images.dtype != np.uint8:
        raise ValueError(f"images must be uint8, not {images.dtype}: scale them to 0..255 first.")
    return torch.from_numpy(images).float().div_(127.5).sub_(1)


def to_uint8(images: torch.Tensor) -> np.ndarray:
    """float (N, C, H, W) in [-1, 1] -> uint8."""
    return images.add(1).mul(127.5).round_().clamp_(0, 255).byte().cpu().numpy()


def jpeg(images: torch.Tensor, quality: int) -> torch.Tensor:
    """float images (N, 3, H, W) in [-1, 1] after JPEG compression of this quality, 1..95."""
    squeezed = np.empty((len(images), *images.shape[2:], 3), np.uint8)
    for image, place in zip(to_uint8(images).transpose(0, 2, 3, 1), squeezed, strict=True):
        Image.fromarray(image).save(file := io.BytesIO(), "jpeg", quality=quality)
        place[:] = Image.open(file)
    return to_float(np.ascontiguousarray(squeezed.transpose(0, 3, 1, 2)))


def check_images(images: torch.Tensor, channels: int = 1, size: int = 32) -> None:
    """Raise ValueError unless ``images`` is a float (N, channels, size, size) batch in [-1, 1]."""
    if images.ndim != 4 or tuple(images.shape[1:]) != (channels, size, size):
        raise ValueError(f"images must have shape (N, {channels}, {size}, {size}), not {tuple(images.shape)}.")
    if not images.is_floating_point():
        raise ValueError(f"images must be float, not {images.dtype}: convert uint8 with lib.data.to_float.")
    if len(images) and not -1.001 <= float(images.min()) <= float(images.max()) <= 1.001:
        raise ValueError("images must lie in [-1, 1]: convert uint8 with lib.data.to_float.")


def save(path: Path, dataset: Dataset) -> None:
    """Write the dataset as a compressed npz, under a temporary name first."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, images=dataset.images, train=dataset.train, **dataset.table)


def load(path: Path) -> Dataset:
    """Read what ``save`` wrote. Raises ValueError if the file is damaged or is not such a file."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            columns = {name: arrays[name] for name in arrays.files}
        return Dataset(columns.pop("images"), columns, columns.pop("train"))
    except Exception as error:
        raise ValueError(f"{path} is not a readable dataset ({error}): make it again with notebook 01_data.") from error
