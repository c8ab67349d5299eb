"""Where the feature lies in latent space: six answers from the same labels, each a unit vector (d,).

Beside ``latent.target_vector``, the paper's mean difference. Latents are float32 (N, d), labels bool (N,).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lib.evaluation import row
from lib.latent import angle_cosine, expected_left, halves, projection, target_vector


def mean_difference(z: Tensor, has_feature: Tensor) -> Tensor:
    """The paper's target vector, at unit length."""
    return nn.functional.normalize(target_vector(z, has_feature), dim=0)


def discriminant(z: Tensor, has_feature: Tensor, ridge: float = 0.01) -> Tensor:
    """Fisher's linear discriminant: (Σ_within + ridge I)⁻¹ times the mean difference. For latents from N(0, I) there is
    little to whiten; elsewhere there is."""
    with_, without = z[has_feature].double(), z[~has_feature].double()
    centred = torch.cat([with_ - with_.mean(0), without - without.mean(0)])
    within = centred.T @ centred / len(z) + ridge * torch.eye(z.shape[1], dtype=torch.float64)
    return nn.functional.normalize(torch.linalg.solve(within, target_vector(z, has_feature).double()), dim=0).float()


def logistic(z: Tensor, has_feature: Tensor, c: float = 0.01) -> Tensor:
    """Ridge logistic regression with balanced classes."""
    from sklearn.linear_model import LogisticRegression  # here: importing it takes a second

    fitted = LogisticRegression(C=c, class_weight="balanced", max_iter=1000).fit(z.numpy(), has_feature.numpy())
    return nn.functional.normalize(torch.from_numpy(fitted.coef_[0]).float(), dim=0)


def support_vector(z: Tensor, has_feature: Tensor, c: float = 0.01) -> Tensor:
    """The normal of a linear support vector machine with balanced classes (InterFaceGAN, Shen et al., 2020)."""
    from sklearn.svm import LinearSVC

    fitted = LinearSVC(C=c, class_weight="balanced", max_iter=20_000, random_state=0).fit(z.numpy(), has_feature.numpy())
    return nn.functional.normalize(torch.from_numpy(fitted.coef_[0]).float(), dim=0)


def joint(z: Tensor, has_feature: Tensor, attributes: Tensor, ridge: float = 1.0) -> Tensor:
    """Ridge regression of the label on the latent and on other attributes (N, k) at once: what the latent adds to what the
    attributes say already, a partial effect. Raises ValueError when there are too few rows for so many columns."""
    if len(z) <= z.shape[1] + attributes.shape[1]:
        raise ValueError(f"{len(z)} labels are too few for {z.shape[1]} latents and {attributes.shape[1]} attributes.")
    columns = torch.cat([z, (attributes - attributes.mean(0)) / attributes.std(0).clamp(min=1e-6)], 1).double()
    columns = columns - columns.mean(0)
    label = has_feature.double() - has_feature.double().mean()
    gram = columns.T @ columns + ridge * torch.eye(columns.shape[1], dtype=torch.float64)
    found = torch.linalg.solve(gram, columns.T @ label)[: z.shape[1]]
    return nn.functional.normalize(found, dim=0).float()


def slopes(z: Tensor, score: Callable[[Tensor], Tensor], device: torch.device, batch: int = 50) -> Tensor:
    """The gradients (N, d) of ``score`` at the latents z (N, d), each at unit length, on the CPU.

    score: latents on ``device`` -> (N,), differentiable: a judge's logit of the images that a generator makes of them.
    """
    found = []
    for part in z.split(batch):
        latent = part.to(device).requires_grad_(True)
        (slope,) = torch.autograd.grad(score(latent).sum(), latent)
        found.append(nn.functional.normalize(slope, dim=1).cpu())
    return torch.cat(found)


def gradient(found: Tensor) -> Tensor:
    """The mean of the ``slopes`` (N, d): no label, but a differentiable judge."""
    return nn.functional.normalize(found.sum(0), dim=0)


class Known(NamedTuple):
    """What a direction is found from.

    Latents z (N, d), their labels has_feature, bool (N,), the values of other attributes (N, k), the ``slopes`` (M, d) of a
    judge at some latents, and, where latents are sorted by how much they show, how many leading coordinates count.
    """

    z: Tensor
    has_feature: Tensor
    others: Tensor
    slopes: Tensor
    leading: int | None = None


DIRECTIONS: dict[str, Callable[[Known], Tensor]] = {
    "mean difference": lambda known: mean_difference(known.z, known.has_feature),
    "LDA": lambda known: discriminant(known.z, known.has_feature),
    "logistic": lambda known: logistic(known.z, known.has_feature),
    "SVM": lambda known: support_vector(known.z, known.has_feature),
    "joint": lambda known: joint(known.z, known.has_feature, known.others),
    "gradient": lambda known: gradient(known.slopes),
}


def find(name: str, known: Known) -> Tensor:
    """The direction ``DIRECTIONS[name]`` (d,), zero beyond the leading coordinates.

    Raises ValueError as ``target_vector`` and ``joint``.
    """
    within = known._replace(z=known.z[:, : known.leading], slopes=known.slopes[:, : known.leading])
    found = DIRECTIONS[name](within)
    return nn.functional.pad(found, (0, known.z.shape[1] - len(found)))


def every(known: Known) -> dict[str, Tensor]:
    """All directions (d,) by name; the joint regression only where there are labels enough for it."""
    columns = known.z[:, : known.leading].shape[1] + known.others.shape[1]
    names = [name for name in DIRECTIONS if name != "joint" or len(known.z) > columns]
    return {name: find(name, known) for name in names}


def agreement(known: Known, seed: int) -> dict[str, float]:
    """Cosine of each direction between two random halves of the labels, or of the slopes: 1 without noise in them.

    Where a half has too few labels for the joint regression, it has no entry. Raises ValueError as ``target_vector``.
    """
    first, second = (
        every(Known(known.z[rows], known.has_feature[rows], known.others[rows], known.slopes[some], known.leading))
        for rows, some in zip(halves(len(known.z), seed), halves(len(known.slopes), seed), strict=True)
    )
    return {name: angle_cosine(first[name], second[name]) for name in first}


def compare(known: Known, held_z: Tensor, held_labels: Tensor, leanings: Tensor, seed: int) -> dict[str, list[dict]]:
    """Metric rows of every direction: how well it orders held-out latents (M, d) by their labels, bool (M,), how it lies to
    the mean difference and to itself, what an edit along it would leave, and how far it moves other attributes.

    leanings: (k, d), of ``latent.leanings``. What is left is expected, as in ``latent.expected_left``.
    """
    from sklearn.metrics import roc_auc_score  # here: importing it takes a second

    found, stable, n = every(known), agreement(known, seed), len(known.z)
    rows = {}
    for name, vector in found.items():
        proj = projection(held_z, vector).numpy()
        thresholds, left = expected_left(held_z, held_labels, vector)
        middle = float(np.interp(np.median(proj), thresholds, left))
        cosine, moved = angle_cosine(vector, found["mean difference"]), float((leanings @ vector).norm())
        rows[name] = [
            row("AUC", float(roc_auc_score(held_labels, proj)), len(proj), "held-out samples"),
            row("cosine with the mean difference", cosine, n, "the same labels"),
            row("split-half cosine", stable.get(name, float("nan")), n, "two random halves"),
            row("share left (half edited)", middle, len(proj), "expected, threshold at the median of held-out samples"),
            row("least share left", float(left.min()), len(proj), "expected, best threshold on held-out samples"),
            row("others moved", moved, n, "norm of the changes of all other attributes (sd), a step of one"),
        ]
    return rows
