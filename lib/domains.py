"""What the notebooks need to know of each data set: how it is read, what its attributes are called, what measures them.

Attributes of generated images are read by a classifier trained on real images and their attribute tables; where the
images themselves can be measured (strokes of digits), the measures come beside it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from lib.avatars import draw
from lib.cartoons import HAIR_COLOURS, SKIN_TONES
from lib.celeba import ATTRIBUTES, read_celeba
from lib.data import Dataset, Table, read_mnist, to_float
from lib.morphometry import measure
from lib.runs import ROOT


class Domain(NamedTuple):
    """One data set.

    read: (training images, test images, seed) -> Dataset. categories: attribute -> the name of each of its codes 0, 1, ...;
    the name "" is an absence, which is neither predicted nor counted. measure: images -> exact attributes, or None.
    classifier, images: what its classifier and its images are called in tables. channels, size: of an image.
    """

    read: Callable[[int, int, int], Dataset]
    categories: dict[str, tuple[str, ...]]
    measure: Callable[[torch.Tensor], Table] | None
    classifier: str
    images: str
    channels: int
    size: int

    @property
    def labels(self) -> list[str]:
        """The names of the classifier's outputs, in order."""
        return [label for names in self.categories.values() for label in names if label]

    @property
    def exclusive(self) -> bool:
        """Whether every image belongs to exactly one class, so that there are class probabilities (and a class loss)."""
        return len(self.categories) == 1 and "" not in next(iter(self.categories.values()))


def read_digits(n_train: int, n_test: int, seed: int) -> Dataset:
    """The first MNIST digits of both parts with Morpho-MNIST's six measures; ``seed`` plays no part."""
    everything = read_mnist(ROOT / "data" / "mnist")
    train, test = np.flatnonzero(everything.train)[:n_train], np.flatnonzero(~everything.train)[:n_test]
    digits = everything.rows(np.concatenate([train, test]))
    return Dataset(digits.images, {**digits.table, **measure(to_float(digits.images))}, digits.train)


def read_avatars(n_train: int, n_test: int, seed: int) -> Dataset:
    """Cartoon faces drawn from the seed; the last ``n_test`` are for testing."""
    drawn = draw(n_train + n_test, seed)
    return Dataset(drawn.images, drawn.table, np.arange(n_train + n_test) < n_train)


def read_faces(n_train: int, n_test: int, seed: int) -> Dataset:
    """The first faces of CelebA in ``data/celeba``; ``seed`` plays no part."""
    return read_celeba(ROOT / "data" / "celeba", n_train, n_test)


CARTOONS = ("bangs", "beard", "glasses", "hat", "long-hair", "moustache", "smile", "sunglasses")

DOMAINS: dict[str, Domain] = {
    "mnist": Domain(
        read_digits, {"digit": tuple(f"digit {k}" for k in range(10))}, measure, "digit CNN", "digits", channels=1, size=32
    ),
    "avatars": Domain(
        read_avatars,
        {
            **{name: ("", name) for name in CARTOONS},
            "skin-tone": tuple(f"{name} skin" for name in SKIN_TONES),
            "hair-colour": tuple(f"{name} hair" for name in HAIR_COLOURS),
        },
        None,
        "attribute CNN",
        "faces",
        channels=3,
        size=64,
    ),
    "celeba": Domain(
        read_faces, {name: ("", name) for name in ATTRIBUTES}, None, "attribute CNN", "faces", channels=3, size=64
    ),
}


def targets(table: Table, domain: Domain) -> np.ndarray:
    """What the classifier learns: class numbers int64 (N,), or one 0/1 column a label, float32 (N, labels)."""
    if domain.exclusive:
        return table[next(iter(domain.categories))].astype(np.int64)
    columns = [table[name] == k for name, names in domain.categories.items() for k, label in enumerate(names) if label]
    return np.stack(columns, 1).astype(np.float32)


def codes(logits: np.ndarray, domain: Domain) -> Table:
    """The code of every category from the classifier's logits (N, labels), each float32 (N,)."""
    table, start = {}, 0
    for name, names in domain.categories.items():
        columns = logits[:, start : start + sum(map(bool, names))]
        table[name] = (columns[:, 0] > 0 if "" in names else columns.argmax(1)).astype(np.float32)
        start += columns.shape[1]
    return table


def attributes(images: torch.Tensor, logits: np.ndarray, domain: Domain) -> Table:
    """The attribute table of float images (N, C, H, W) in [-1, 1]: the classifier's codes, and the measures if any."""
    return {**codes(logits, domain), **(domain.measure(images) if domain.measure else {})}


def shares(table: Table, domain: Domain) -> dict[str, float]:
    """Label -> share of the images that have it, in 0..1."""
    members = [(table[name] == k, label) for name, names in domain.categories.items() for k, label in enumerate(names)]
    return {label: float(has.mean()) for has, label in members if label}
