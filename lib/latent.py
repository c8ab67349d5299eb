"""Latents, the target vector, the threshold, and the edit that takes the feature out of a latent.

Symbols as in Moon, Cho & Kim (AAAI 2024): latent z, target vector z_e, projection proj(z), threshold t, edited latent ẑ.
Latents are float32 (N, d) from N(0, I).
"""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lib.weights import load_tensors, save_tensors


def latents(n: int, dim: int, seed: int | list[int]) -> Tensor:
    """n latents (n, dim) from N(0, I), made on the CPU by a generator of their own.

    Prefix-stable: ``latents(10, d, s)`` are the first ten of ``latents(100, d, s)``, on every device.
    """
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, dim), dtype=np.float32))


@torch.no_grad()
def prior(generator: nn.Module, n: int, seed: int | list[int]) -> Tensor:
    """n latents (n, d) such as the generator was made for: N(0, I), mapped by its method ``enter`` where it has one.

    A generator seen from StyleGAN's w enters there. Prefix-stable as ``latents``, on the CPU.
    """
    z = latents(n, generator.latent_dim, seed)
    if not hasattr(generator, "enter"):
        return z
    device = next(generator.parameters()).device
    return torch.cat([generator.enter(part.to(device)).cpu() for part in z.split(1000)])


def whitening(w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """centre (d,), colour and white (d, d) of latents w (N, d): (w - centre) @ white has mean 0 and covariance I, as z has,
    its coordinates the principal components of w, the largest first; centre + z @ colour is the way back."""
    w = w.double()
    power, axes = (part.flip(-1) for part in torch.linalg.eigh(w.T.cov()))
    deviation = power.clamp(min=1e-6 * power[0]).sqrt()
    return w.mean(0), deviation[:, None] * axes.T, axes / deviation


@torch.no_grad()
def whiten(generator: nn.Module, w: Tensor) -> nn.Module:
    """The generator, ready to sample, with the ``whitening`` of w (N, d) in its buffers centre, colour and white."""
    for buffer, found in zip((generator.centre, generator.colour, generator.white), whitening(w), strict=True):
        buffer.copy_(found)
    return generator.eval()


def stream(seed: int, purpose: str) -> list[int]:
    """A seed for one purpose ("label", "evaluate", ...), so that no two uses of a seed see the same latents."""
    return [seed, zlib.crc32(purpose.encode())]


def projection(z: Tensor, vector: Tensor) -> Tensor:
    """proj(z) = <z, z_e> / ||z_e||, the length of z (N, d) along the target vector (d,), as (N,)."""
    return z @ vector / vector.norm()


def require_both(has_feature: Tensor) -> None:
    """Raise ValueError unless some of the labelled samples (N,) have the feature and some have not."""
    if not has_feature.any():
        raise ValueError("no labelled sample has the feature: label more samples, or choose a feature the generator shows.")
    if has_feature.all():
        raise ValueError("every labelled sample has the feature: label samples without it as well.")


def target_vector(z: Tensor, has_feature: Tensor, leading: int | None = None) -> Tensor:
    """z_e = mean of the latents with the feature minus mean of those without (Radford et al., 2016), as (d,).

    z: (N, d); has_feature: bool (N,). With ``leading`` all but the first so many coordinates of z_e are zero: of latents
    sorted by how much they show. Raises ValueError when one of the two groups is empty.
    """
    require_both(has_feature)
    vector = z[has_feature].mean(0) - z[~has_feature].mean(0)
    if leading:
        vector[leading:] = 0
    return vector


def mean_threshold(z: Tensor, vector: Tensor) -> float:
    """The paper's rule: t = mean projection over all labelled samples."""
    return float(projection(z, vector).mean())


def expected_left(z: Tensor, has_feature: Tensor, vector: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds t (n,), ascending, and the share of the samples expected to have the feature after editing beyond each.

    P(feature | projection) is read off held-out labels by logistic regression on the projection and its square: smooth,
    and less noisy than isotonic regression where positives are rare. The edit turns a projection p into min(p, t), so
    the expected share left is the mean of that curve at min(p, t). Every t spares at least one latent in fifty. Raises
    ValueError where the held-out labels are of one kind.
    """
    require_both(has_feature)
    from sklearn.linear_model import LogisticRegression  # here: importing it takes a second, and few stages need it

    proj = projection(z, vector).double().numpy()
    curve = LogisticRegression(C=1e6).fit(np.stack([proj, proj**2], 1), has_feature.numpy())
    thresholds = np.quantile(proj, np.linspace(0.02, 1, 197))
    edited = np.minimum(proj, thresholds[:, None])
    left = curve.predict_proba(np.stack([edited, edited**2], -1).reshape(-1, 2))[:, 1].reshape(edited.shape).mean(1)
    return thresholds, left


def calibrated_threshold(z: Tensor, has_feature: Tensor, vector: Tensor, residual: float = 0.01) -> float:
    """The largest t at which editing is expected to leave no more than ``residual`` of the samples with the feature.

    Raises ValueError where no t that spares one latent in fifty gets there: the direction does not carry the feature.
    """
    thresholds, left = expected_left(z, has_feature, vector)
    enough = thresholds[left <= residual]
    if not len(enough):
        raise ValueError(
            f"no threshold along this direction leaves as little as {residual:g} of the samples with the feature "
            "(held-out labels): label more samples, raise RESIDUAL, or choose a feature that one direction carries."
        )
    return float(enough.max())


def leanings(z: Tensor, attributes: np.ndarray, leading: int | None = None) -> Tensor:
    """How attributes (N, k) lean on the latents z (N, d): slopes (k, d) of their standardised values.

    For latents from N(0, I) the norm of a row is the correlation that a linear map of z can reach; a step s changes an
    attribute by <row, s> of its standard deviations. Of a yes-or-no attribute the row points along its target vector.
    ``leading`` as in ``target_vector``.
    """
    values = torch.from_numpy(attributes).to(z)
    values = (values - values.mean(0)) / values.std(0, correction=0)
    slopes = values.T @ (z - z.mean(0)) / len(z)
    if leading:
        slopes[:, leading:] = 0
    return slopes


class Edit(NamedTuple):
    """Which latents to change and how far: the vector (d,) to project on, the threshold t, and ``move`` (d,), what a latent
    loses for every unit beyond t: the vector itself if None."""

    vector: Tensor
    threshold: float
    move: Tensor | None = None

    def excess(self, z: Tensor) -> Tensor:
        """proj(z) - t, (N,): how far z lies beyond the threshold; negative on the side without the feature."""
        return projection(z, self.vector) - self.threshold

    def similar(self, z: Tensor) -> Tensor:
        """sim(z, z_e) = 1[proj(z) >= t], float (N,)."""
        return (self.excess(z) >= 0).to(z.dtype)

    def __call__(self, z: Tensor) -> Tensor:
        """ẑ = z - (proj(z) - t) z_e where sim = 1, z elsewhere, (N, d).

        With a unit vector the edited latent lands exactly on the threshold. With the paper's un-normalised z_e it moves
        ||z_e|| times as far, past the threshold wherever ||z_e|| > 1.
        """
        return z - self.excess(z).clamp(min=0)[:, None] * (self.vector if self.move is None else self.move)

    def to(self, device: torch.device) -> "Edit":
        """The same edit for latents on ``device``."""
        return Edit(self.vector.to(device), self.threshold, None if self.move is None else self.move.to(device))


def rejected(generator: nn.Module, z: Tensor, seed: int | list[int], edit: Edit) -> Tensor:
    """The control that trains nothing (FAST, Panda & Prathosh, 2024): latents (n, d), those with sim = 1 replaced by the
    first of another stream with sim = 0.

    Raises ValueError when fewer than one latent in fifty of that stream would be kept.
    """
    z, refused = z.clone(), edit.similar(z) == 1
    n = int(refused.sum())
    for factor in (2, 5, 50):
        other = prior(generator, factor * n, seed)
        other = other[edit.similar(other) == 0]
        if len(other) >= n:
            z[refused] = other[:n]
            return z
    raise ValueError("the threshold rejects more than 98 % of the latents: raise RESIDUAL in notebook 03_direction.")


@dataclass(frozen=True)
class Direction:
    """What notebook 03 found: z_e (d,), the paper's threshold (mean) and the calibrated one, both for unit projections, the
    ``leanings`` (k, d) of the other attributes, and the labels, bool (N,), of the labelling stream."""

    vector: Tensor
    mean: float
    calibrated: float
    others: Tensor
    labels: Tensor

    def save(self, path: Path, **about: object) -> None:
        """Write as safetensors; ``about`` goes into the header (feature, label counts)."""
        thresholds = torch.tensor([self.mean, self.calibrated], dtype=torch.float64)
        tensors = {"vector": self.vector, "thresholds": thresholds, "others": self.others, "labels": self.labels}
        save_tensors(path, tensors, {"kind": "direction", **about})

    @staticmethod
    def load(path: Path) -> "Direction":
        """Read what ``save`` wrote; ValueError if the file is damaged or something else."""
        tensors, _ = load_tensors(path, kind="direction")
        return Direction(tensors["vector"], *tensors["thresholds"].tolist(), tensors["others"], tensors["labels"])


def angle_cosine(a: Tensor, b: Tensor) -> float:
    """Cosine between two vectors (d,)."""
    return float(torch.nn.functional.cosine_similarity(a, b, dim=0))


def split_half_cosine(z: Tensor, has_feature: Tensor, seed: int, leading: int | None = None) -> float:
    """Cosine between the target vectors of two random halves of the labelled samples: 1 without label noise."""
    return angle_cosine(*(target_vector(z[half], has_feature[half], leading) for half in halves(len(z), seed)))


def halves(n: int, seed: int) -> tuple[Tensor, ...]:
    """The numbers 0 .. n - 1 in two random halves."""
    return torch.from_numpy(np.random.default_rng(seed).permutation(n)).tensor_split([n // 2])


def random_vector(dim: int, norm: float, seed: int) -> Tensor:
    """The control: a vector (dim,) of the given norm in a uniformly random direction."""
    vector = latents(1, dim, seed)[0]
    return vector / vector.norm() * norm


def expected_cosine(norm: float, dim: int, positives: int, negatives: int) -> float:
    """cos(z_e, true direction) = ||m|| / sqrt(||m||² + d (1/n₊ + 1/n₋)) for a true mean difference m in N(0, I_d)."""
    return norm / (norm**2 + dim * (1 / positives + 1 / negatives)) ** 0.5
