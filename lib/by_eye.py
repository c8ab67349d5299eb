"""Judges of generators whose training images nobody has: generated samples labelled by eye, and linear heads on Lite0.

Three judges read three different depths of EfficientNet-Lite0, so that no two of them see quite the same; all are fitted to
the same labels. How often each is wrong is counted by cross-validation, on samples that the fitted part never saw.
"""

from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lib import annotations
from lib.data import Dataset, to_uint8
from lib.judges import read
from lib.latent import prior, stream
from lib.lite0 import Lite0, features, grid, load_lite0
from lib.metrics import Errors
from lib.models import sample

COMPONENTS = 64
ANNOTATED = 0  # the seed of the labelling stream in data/annotations
# (side the image is resized to, Lite0 blocks): the deepest view is the most accurate, the shallowest the fastest.
VIEWS = {"classifier": (128, 11), "judge-a": (96, 8), "judge-b": (64, 5)}


class EyeJudge(nn.Module):
    """Images (N, 3, size, size) in [-1, 1] -> logits (N, outputs), one for each label.

    ``features``: (N, 64 + outputs), the first principal components of a Lite0 map and the logits, each of unit variance on
    the images the judge was fitted to; they serve the distances. ``head`` gives the logits back.
    """

    kind = "eye-judge"
    batch = 10  # larger ones leave the cache, and are up to twice as slow

    def __init__(
        self, outputs: int, size: int = 64, side: int = 128, blocks: int = 11, inputs: int = 7168, channels: int = 3
    ) -> None:
        super().__init__()
        self.sizes = {"outputs": outputs, "size": size, "side": side, "blocks": blocks, "inputs": inputs}
        self.sizes["channels"] = channels
        self.network = Lite0()
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("axes", torch.zeros(inputs, COMPONENTS + outputs))
        self.register_buffer("shift", torch.zeros(COMPONENTS + outputs))
        self.register_buffer("spread", torch.ones(COMPONENTS + outputs))

    def features(self, images: Tensor) -> Tensor:
        seen = grid(self.network, images, self.sizes["side"], self.sizes["blocks"])
        return ((seen - self.mean) @ self.axes + self.shift) / self.spread

    def head(self, features: Tensor) -> Tensor:
        return (features * self.spread)[:, COMPONENTS:]

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


@torch.no_grad()
def assemble(network: Lite0, seen: Tensor, heads: list[nn.Module], size: int, view: tuple[int, int]) -> EyeJudge:
    """The judge of the fitted ``heads``, each a ``LinearJudge``.

    seen: the Lite0 maps (N, inputs) of the images they were fitted to.
    """
    side, blocks = view
    judge = EyeJudge(len(heads), size, side, blocks, seen.shape[1])
    judge.network.load_state_dict(network.state_dict())
    judge.mean.copy_(seen.mean(0))
    components = torch.linalg.svd(seen - judge.mean, full_matrices=False).Vh[:COMPONENTS].T
    judge.axes.copy_(torch.cat([components, *(head.weight[:, None] for head in heads)], 1))
    judge.shift[COMPONENTS:] = torch.stack([head.bias + (judge.mean - head.mean) @ head.weight for head in heads])
    judge.spread.copy_(((seen - judge.mean) @ judge.axes).std(0))
    return judge.requires_grad_(False).eval()


def fit_eye_judge(
    network: Lite0, seen: np.ndarray, labels: np.ndarray, view: tuple[int, int], seed: int, size: int = 64
) -> EyeJudge:
    """A judge of images (N, 3, size, size) from what ``network`` sees of them (see ``views``) and from their labels.

    seen: (N, inputs), of one of ``VIEWS``. labels: float (N, outputs), 1 or 0, NaN where the eye was unsure; such a sample
    teaches nothing about that label. The judge is where the network is. Raises ValueError for fewer than 65 samples, or
    fewer than ten with a label or without it.
    """
    from lib.linear_judge import fit  # here: scikit-learn takes a second to import, and few stages need it

    if len(seen) <= COMPONENTS:
        raise ValueError(f"there are only {len(seen)} labelled samples: label at least {COMPONENTS + 1}.")
    heads = [fit(*known, seed) for known in sure_of(seen, labels)]
    device = next(network.parameters()).device
    return assemble(network, torch.from_numpy(seen), heads, size, view).to(device)


def sure_of(seen: np.ndarray, labels: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each column of labels (N, outputs) the rows of ``seen`` of which the eye was sure, and their bool labels."""
    return [(seen[sure], column[sure] == 1) for column, sure in zip(labels.T, np.isfinite(labels.T), strict=True)]


def views(network: Lite0, images: Tensor, view: tuple[int, int]) -> np.ndarray:
    """The Lite0 maps (N, inputs) of float images (N, 3, H, W) that a judge of this view reads."""
    side, blocks = view
    return features(network, images, lambda net, part: grid(net, part, side, blocks))


def cross_validated(seen: np.ndarray, labels: np.ndarray, seed: int) -> tuple[list[float], list[Errors]]:
    """For each label the area under the ROC curve and the errors of judges that had not seen the sample.

    Arguments as of ``fit_eye_judge``; samples of which the eye was unsure are not counted.
    """
    from lib.linear_judge import cross_validate  # here, for the same reason

    found = [cross_validate(*known, seed) for known in sure_of(seen, labels)]
    return [validation.auc for validation in found], [validation.errors() for validation in found]


def read_labelled(generator: nn.Module, file: Path, n_train: int, n_test: int, seed: int, device: torch.device) -> Dataset:
    """Samples of a generator as its data set: ``n_train`` fresh ones for training, and for testing the first ``n_test`` of
    those labelled by eye.

    The table holds the columns of ``file``; a test row has the labels of the eye, NaN where it was unsure, a training row
    has those of a judge fitted to the test rows. Raises as ``annotations.column``, ``fit_eye_judge`` and ``load_lite0``.
    """
    labels = dict(islice(annotations.matrix(file).items(), n_test))
    z = prior(generator, max(labels) + 1, stream(ANNOTATED, "label"))[list(labels)]
    seen, fresh = sample(generator, z), sample(generator, prior(generator, n_train, stream(seed, "data")))
    by_eye = np.array(list(labels.values()), np.float32)
    network, view = load_lite0(device), VIEWS["classifier"]
    judge = fit_eye_judge(network, views(network, seen, view), by_eye, view, seed, seen.shape[-1])
    said = np.concatenate([(read(judge, fresh).logits > 0).astype(np.float32), by_eye])
    table = dict(zip(annotations.features(file), said.T, strict=True))
    return Dataset(to_uint8(torch.cat([fresh, seen])), table, np.arange(len(said)) < n_train)
