"""Judges: small CNNs that say whether an image has a feature, and how often they are wrong.

Judge A may drive a loss or an attack; judge B, of another width, seed and augmentation, only reports. The digit classifier
is the same network with ten classes; its penultimate features and probabilities serve the distances and the
Inception Score.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, conv2d, cross_entropy, max_pool2d

from lib.data import check_images, to_float
from lib.lite0 import folded
from lib.metrics import Errors
from lib.runs import shown
from lib.train import Curve, autocast, fingerprint, run_steps, set_rate
from lib.weights import load_module, save_module


class Features(nn.Sequential):
    """Three blocks of convolution, norm, ReLU and pooling, then a dense layer and ReLU.

    Pooling comes before ReLU, and in eval mode each norm is folded into its convolution: the same numbers, sooner, for all
    the losses, attacks and counts that ask a judge.
    """

    def forward(self, images: Tensor) -> Tensor:
        return self[14](self[13](self.maps(images)[-1].flatten(1)))

    def maps(self, images: Tensor) -> list[Tensor]:
        """What each block makes of the images."""
        found = []
        for conv, norm in ((self[0], self[1]), (self[4], self[5]), (self[8], self[9])):
            made = norm(conv(images)) if self.training else conv2d(images, *folded(conv, norm), padding=1)
            images = max_pool2d(made, 2).relu()
            found.append(images)
        return found


class Judge(nn.Module):
    """CNN (N, C, size, size) in [-1, 1] -> logits (N, outputs); ``features`` gives the 64 penultimate activations."""

    kind = "judge"

    def __init__(self, outputs: int, width: int = 16, channels: int = 1, size: int = 32) -> None:
        super().__init__()
        self.sizes = {"outputs": outputs, "width": width, "channels": channels, "size": size}

        def block(n_in: int, n_out: int) -> list[nn.Module]:
            conv = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
            return [conv, nn.BatchNorm2d(n_out), nn.ReLU(), nn.MaxPool2d(2)]

        self.features = Features(
            *block(channels, width),  # 32x32 => 16x16
            *block(width, 2 * width),  # 16x16 => 8x8
            *block(2 * width, 4 * width),  # 8x8 => 4x4
            nn.Flatten(),
            nn.Linear(4 * width * (size // 8) ** 2, 64),
            nn.ReLU(),
        )
        self.head = nn.Linear(64, outputs)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))

    def describe(self, images: Tensor) -> list[Tensor]:
        """Images in two descriptions: the features (N, 64), and the verdicts (N, outputs), soft, in (-1, 1)."""
        features = self.features(images)
        return [features, (self.head(features) / 4).tanh()]

    def maps(self, images: Tensor) -> list[Tensor]:
        """What the three convolutions make of the images, each (N, width 2^k, size / 2^(k+1), size / 2^(k+1))."""
        return self.features.maps(images)


def shifted(images: Tensor, rng: np.random.Generator, pixels: int = 2) -> Tensor:
    """The batch moved by up to ``pixels`` in each direction (one offset a batch), background filled in.

    Digits lie on black; a colour image goes on as its own edge does.
    """
    dx, dy = rng.integers(-pixels, pixels + 1, 2)
    beyond = {"value": -1.0} if images.shape[1] == 1 else {"mode": "replicate"}
    padded = torch.nn.functional.pad(images, (pixels,) * 4, **beyond)
    return padded[..., pixels + dy : images.shape[-2] + pixels + dy, pixels + dx : images.shape[-1] + pixels + dx]


def noisy(images: Tensor, rng: np.random.Generator, scale: float = 0.15) -> Tensor:
    """The batch with Gaussian noise, clipped to [-1, 1], then moved: the augmentation of judge B."""
    noise = torch.from_numpy(rng.standard_normal(images.shape, dtype=np.float32)).to(images.device)
    return shifted((images + scale * noise).clamp(-1, 1), rng)


def fit_judge(
    judge: Judge,
    images: np.ndarray,
    targets: np.ndarray,
    steps: int,
    seed: int,
    device: torch.device,
    augment: Callable[[Tensor, np.random.Generator], Tensor] = shifted,
    batch: int = 128,
    rate: float = 0.01,
    checkpoint: Path | None = None,
) -> Curve:
    """Train in place with AdamW and a one-cycle rate.

    images: uint8 (N, C, H, W); targets: int (N,) class numbers, or float (N, outputs) with 0 or 1 for each feature.
    """
    judge.to(device, memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(judge.parameters(), weight_decay=0.01)
    y = torch.from_numpy(targets).to(device)
    loss_of = cross_entropy if y.ndim == 1 else binary_cross_entropy_with_logits

    def step(i: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([seed, i])
        chosen = rng.integers(len(images), size=batch)
        x = augment(to_float(images[chosen]).to(device), rng).contiguous(memory_format=torch.channels_last)
        set_rate(optimiser, rate * one_cycle(i / steps))
        with autocast(device):
            logits = judge(x)
        loss = loss_of(logits.float(), y[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return {"judge": loss}

    settings = [seed, steps, batch, rate, judge.sizes, augment.__name__, fingerprint(images, targets)]
    curve = run_steps(step, {"judge": judge, "optimiser": optimiser}, steps, checkpoint, settings)
    judge.eval()
    return curve


def one_cycle(progress: float) -> float:
    """Rise linearly for the first three tenths, then fall along a cosine: a factor in [0, 1] for progress in [0, 1]."""
    return progress / 0.3 if progress < 0.3 else 0.5 * (1 + np.cos(np.pi * (progress - 0.3) / 0.7))


class Reading(NamedTuple):
    """features: float32 (N, 64) penultimate activations; logits: float32 (N, outputs)."""

    features: np.ndarray
    logits: np.ndarray

    @property
    def probabilities(self) -> np.ndarray:
        """Softmax of the logits in float64, (N, outputs): for the digit classifier."""
        return torch.from_numpy(self.logits).double().softmax(1).numpy()

    @property
    def classes(self) -> np.ndarray:
        """The likeliest class of each image, (N,)."""
        return self.logits.argmax(1)


@torch.no_grad()
def read(judge: nn.Module, images: Tensor, batch: int | None = None) -> Reading:
    """What the judge sees in float images (N, C, H, W) in [-1, 1]; ValueError for any others.

    In batches of 100 images, whose maps stay in a processor's cache, or as many as the judge says, unless another number is
    given.
    """
    check_images(images, judge.sizes["channels"], judge.sizes["size"])
    device = next(judge.parameters()).device
    parts = images.split(batch or getattr(judge, "batch", 100))
    features = torch.cat([judge.features(part.to(device, memory_format=torch.channels_last)) for part in parts])
    return Reading(features.cpu().numpy(), judge.head(features).cpu().numpy())


def error_counts(said: np.ndarray, truth: np.ndarray) -> Errors:
    """Compare a judge's verdicts (N,) with the truth (N,), both bool."""
    return Errors(int((said & truth).sum()), int(truth.sum()), int((said & ~truth).sum()), int((~truth).sum()))


def held_out(judge: nn.Module, images: Tensor, truth: np.ndarray) -> list[Errors]:
    """The errors of each of a judge's outputs on images it never saw; truth: bool (N, outputs)."""
    said = read(judge, images).logits > 0
    return [error_counts(*columns) for columns in zip(said.T, truth.T, strict=True)]


def judged(errors_file: Path) -> list[str]:
    """The features that judges A and B know, in the order of their outputs, from notebook 01's ``errors.json``."""
    return list(json.loads(errors_file.read_text()))


def require_known(errors_file: Path, features: list[str]) -> None:
    """Raise ValueError unless the judges beside ``errors.json`` were trained for these features in this order."""
    if judged(errors_file) != features:
        raise ValueError(
            f"{shown(errors_file.parent)}: its judges know {', '.join(judged(errors_file))}, not {', '.join(features)}: "
            "begin anew with START = 'scratch'."
        )


def save_judge(path: Path, judge: nn.Module) -> None:
    """Write a judge as safetensors."""
    save_module(path, judge, judge.kind, **judge.sizes)


def load_judge(path: Path, device: torch.device, build: type[nn.Module] = Judge) -> nn.Module:
    """Read a judge in eval mode; ValueError in one sentence for anything that is not one of the class ``build``."""
    return load_module(path, build, build.kind, device)
