"""Where the feature lies in latent space: six answers from the same labels, each a unit vector (d,).

Beside ``latent.target_vector``, the paper's mean difference. Latents are float32 (N, d), labels bool (N,).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lib.latent import target_vector


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


def gradient(z: Tensor, generator: nn.Module, score: Callable[[Tensor], Tensor], batch: int = 250) -> Tensor:
    """The mean gradient of a judge's logit in the latent, at unit length each: no label, but a differentiable judge."""
    device, total = next(generator.parameters()).device, torch.zeros(z.shape[1])
    for part in z.split(batch):
        latent = part.to(device).requires_grad_(True)
        (slope,) = torch.autograd.grad(score(generator(latent)).sum(), latent)
        total += nn.functional.normalize(slope, dim=1).sum(0).cpu()
    return nn.functional.normalize(total, dim=0)
