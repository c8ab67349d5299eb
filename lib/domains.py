"""What the notebooks need to know of each data set: how it is read, what its attributes are called, what measures them.

Attributes of generated images are read by a classifier trained on real images and their attribute tables; where the
images themselves can be measured (strokes of digits), the measures come beside it.
Of a generator trained elsewhere nobody here has the images: its own samples stand in for them, labelled by eye.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from lib import annotations
from lib.avatars import CARTOONS, draw
from lib.by_eye import ANNOTATED, EyeJudge, read_labelled
from lib.cartoons import HAIR_COLOURS, SKIN_TONES
from lib.celeba import ATTRIBUTES, read_celeba
from lib.data import Dataset, Table, read_mnist, to_float
from lib.judges import Judge
from lib.models.digiface import load_digiface
from lib.models.readout import pretrained_read_out, seen_from_w
from lib.morphometry import measure
from lib.runs import ROOT

DIGIFACE, FFHQ = (annotations.FOLDER / f"{name}.csv" for name in ("digiface", "ffhq"))


class Domain(NamedTuple):
    """One data set.

    read: (training images, test images, seed, device) -> Dataset. categories: attribute -> the name of each of its codes
    0, 1, ...; the name "" is an absence, which is neither predicted nor counted. measure: images -> exact attributes, or
    None. classifier, images: what its classifier and its images are called in tables. channels, size: of an image.
    generators: model -> what loads the one trained elsewhere; other models are trained by notebook 02. extractor: the name
    of the classifier's features in metrics. judge: the class of classifier and judges. annotations: the labels by eye.
    archives: the weights of others that it takes, of ``lib.archives.ARCHIVES``.
    """

    read: Callable[[int, int, int, torch.device], Dataset]
    categories: dict[str, tuple[str, ...]]
    measure: Callable[[torch.Tensor], Table] | None
    classifier: str
    images: str
    channels: int
    size: int
    generators: Mapping[str, Callable[[torch.device], nn.Module]] = {}
    extractor: str = "cnn64"
    judge: type[nn.Module] = Judge
    annotations: Path | None = None
    archives: tuple[str, ...] = ()

    @property
    def labels(self) -> list[str]:
        """The names of the classifier's outputs, in order."""
        return [label for names in self.categories.values() for label in names if label]

    @property
    def exclusive(self) -> bool:
        """Whether every image belongs to exactly one class, so that there are class probabilities (and a class loss)."""
        return len(self.categories) == 1 and "" not in next(iter(self.categories.values()))

    @property
    def by_eye(self) -> bool:
        """Whether there are no images of the data set, but samples of a generator trained elsewhere, labelled by eye."""
        return bool(self.generators)


def read_digits(n_train: int, n_test: int, *_: object) -> Dataset:
    """The first MNIST digits of both parts with Morpho-MNIST's six measures; seed and device play no part."""
    everything = read_mnist(ROOT / "data" / "mnist")
    train, test = np.flatnonzero(everything.train)[:n_train], np.flatnonzero(~everything.train)[:n_test]
    digits = everything.rows(np.concatenate([train, test]))
    return Dataset(digits.images, {**digits.table, **measure(to_float(digits.images))}, digits.train)


def read_avatars(n_train: int, n_test: int, seed: int, *_: object) -> Dataset:
    """Cartoon faces drawn from the seed; the last ``n_test`` are for testing."""
    drawn = draw(n_train + n_test, seed)
    return Dataset(drawn.images, drawn.table, np.arange(n_train + n_test) < n_train)


def read_faces(n_train: int, n_test: int, *_: object) -> Dataset:
    """The first faces of CelebA in ``data/celeba``; seed and device play no part."""
    return read_celeba(ROOT / "data" / "celeba", n_train, n_test)


def read_digiface(n_train: int, n_test: int, seed: int, device: torch.device) -> Dataset:
    """Fresh samples of the digiface GAN, and for testing the first of those labelled by eye."""
    return read_labelled(load_digiface(device), DIGIFACE, n_train, n_test, seed, device)


def load_ffhq(device: torch.device) -> nn.Module:
    """MobileStyleGAN read out at 64 px."""
    return pretrained_read_out(64).to(device, memory_format=torch.channels_last)


def load_ffhq_w(device: torch.device) -> nn.Module:
    """The same, its latents whitened w."""
    return seen_from_w(pretrained_read_out(64)).to(device, memory_format=torch.channels_last)


def read_ffhq(n_train: int, n_test: int, seed: int, device: torch.device) -> Dataset:
    """Fresh samples of MobileStyleGAN, and for testing the first of those labelled by eye."""
    return read_labelled(load_ffhq(device), FFHQ, n_train, n_test, seed, device)


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
    "digiface": Domain(
        read_digiface,
        {name: ("", name) for name in ("glasses", "hat", "facial-hair")},
        None,
        "Lite0 judge",
        "samples",
        channels=3,
        size=64,
        generators={"gan": load_digiface},
        extractor="lite0",
        judge=EyeJudge,
        annotations=DIGIFACE,
        archives=("gan-face-generate", "efficientnet-lite0"),
    ),
    "ffhq": Domain(
        read_ffhq,
        {name: ("", name) for name in ("glasses", "hat", "bangs", "beard", "smile")},
        None,
        "Lite0 judge",
        "samples",
        channels=3,
        size=64,
        generators={"mobilestylegan": load_ffhq, "mobilestylegan-w": load_ffhq_w},
        extractor="lite0",
        judge=EyeJudge,
        annotations=FFHQ,
        archives=("random-face", "efficientnet-lite0"),
    ),
    "celeba": Domain(
        read_faces, {name: ("", name) for name in ATTRIBUTES}, None, "attribute CNN", "faces", channels=3, size=64
    ),
}


def models(dataset: str) -> list[str]:
    """The generators that a data set has: those trained elsewhere, and those that notebook 02 trains beside them."""
    return list(dict.fromkeys([*DOMAINS[dataset].generators, "gan", "vae", "vae-w"]))


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


def others(table: Table, domain: Domain, target: np.ndarray) -> dict[str, np.ndarray]:
    """Every label (0 or 1) and every measure of the images, (N,) each, but the target's own values (N,) and constants.

    What follows the target with a correlation above 0.95 counts as its own.
    """
    columns = {label: table[n] == k for n, names in domain.categories.items() for k, label in enumerate(names) if label}
    columns |= {name: table[name] for name in set(table) - set(domain.categories)}
    columns = {name: np.nan_to_num(column.astype(np.float64)) for name, column in sorted(columns.items())}
    varied = {name: column for name, column in columns.items() if column.std() > 0}
    return {name: column for name, column in varied.items() if abs(np.corrcoef(column, target)[0, 1]) < 0.95}


def labels_by_eye(domain: Domain, model: str, seed: int, feature: str, n: int) -> dict[int, bool]:
    """Index -> label by eye of the first n latents of the labelling stream, where such labels were made: else none."""
    if model not in domain.generators or seed != ANNOTATED:
        return {}
    index, has = annotations.read(domain.annotations, feature)
    return {int(i): bool(label) for i, label in zip(index, has, strict=True) if i < n}
