"""Attacks: can the feature be brought back by choosing the latent?

An attack takes a generator, start latents and a budget and returns latents; it may use the gradient of judge A. Success is
counted by judges that gave no gradient. Every attack is also run on the gold retrain: what succeeds there fools the judge.
Our design after UnlearnDiffAtk's reporting standard; the algorithm of the paper's own attack is not publicly known.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lib.latent import latents, prior
from lib.train import autocast


def typical_radii(dim: int) -> tuple[float, float]:
    """The norms between which a latent from N(0, I_d) is typical: √d ± 3 · 0.71 (its standard deviation is about 0.71)."""
    return max(dim**0.5 - 3 * 0.71, 0.0), dim**0.5 + 3 * 0.71


def typical(z: Tensor) -> Tensor:
    """The latents (N, d) pulled radially to a typical norm where theirs is not."""
    norm = z.norm(dim=1, keepdim=True)
    return z * (norm.clamp(*typical_radii(z.shape[1])) / norm.clamp(min=1e-9))


def start_latents(generator: nn.Module, n: int, seed: int | list[int]) -> Tensor:
    """The first n latents of the stream that are typical themselves, (n, d); of N(0, I) 99.7 % are."""
    z = prior(generator, 4 * n + 20, seed)
    low, high = typical_radii(z.shape[1])
    norm = z.norm(dim=1)
    return z[(norm >= low) & (norm <= high)][:n]


def within(z: Tensor, start: Tensor, radius: float) -> Tensor:
    """The latents brought back into the L2 ball of ``radius`` around ``start`` (prior standard deviations), and typical.

    Shrinking to the ball may leave the typical shell and the reverse, so the two alternate; what is then still outside
    the ball returns to its start, which lies in both.
    """
    for _ in range(3):
        offset = z - start
        z = typical(start + offset * (radius / offset.norm(dim=1, keepdim=True).clamp(min=1e-9)).clamp(max=1))
    inside = (z - start).norm(dim=1, keepdim=True) <= radius * 1.001
    return torch.where(inside, z, start)


def latent_search(
    generator: nn.Module,
    score: Callable[[Tensor], Tensor],
    start: Tensor,
    radius: float,
    iterations: int,
    restarts: int,
    seed: int,
    batch: int = 250,
) -> Tensor:
    """Search each start latent's L2 ball for a latent whose image scores high: normalised gradient ascent.

    score: images -> (N,), differentiable (a logit of judge A); start: typical latents (N, d). The first run starts in the
    middle, the others at random points seven tenths out; steps are 2.5 radius / iterations long. Returns
    the best latents (N, d).
    """
    best, best_score = start.clone(), torch.full((len(start),), -torch.inf)
    for restart in range(restarts):
        noise = latents(*start.shape, [seed, restart])
        away = 0.0 if restart == 0 else 0.7 * radius
        z = within(start + away * noise / noise.norm(dim=1, keepdim=True), start, radius)
        parts = zip(z.split(batch), start.split(batch), strict=True)
        runs = [ascend(generator, score, part, centre, radius, iterations) for part, centre in parts]
        found, value = (torch.cat(column) for column in zip(*runs, strict=True))
        better = value > best_score
        best[better], best_score[better] = found[better], value[better]
    return best


def ascend(
    generator: nn.Module, score: Callable[[Tensor], Tensor], z: Tensor, start: Tensor, radius: float, iterations: int
) -> tuple[Tensor, Tensor]:
    """Gradient ascent from z inside the ball around start; the best latents seen and their scores, on the CPU."""
    device = next(generator.parameters()).device
    z, start = z.to(device), start.to(device)
    best, best_score = z, torch.full((len(z),), -torch.inf, device=device)
    for i in range(iterations + 1):
        z = z.detach().requires_grad_(True)
        with autocast(device):
            value = score(generator(z)).float()
        better = (value > best_score).detach()
        best = torch.where(better[:, None], z, best).detach()
        best_score = torch.where(better, value, best_score).detach()
        if i < iterations:
            (gradient,) = torch.autograd.grad(value.sum(), z)
            unit = gradient / gradient.norm(dim=1, keepdim=True).clamp(min=1e-12)
            z = within(z.detach() + 2.5 * radius / iterations * unit, start, radius)
    return best.cpu(), best_score.cpu()


def amplify(z: Tensor, vector: Tensor, strength: float) -> Tensor:
    """z + strength · z_e / ||z_e|| (N, d), pulled back to a typical norm: no gradient, only the direction (Ring-A-Bell)."""
    return typical(z + strength * vector / vector.norm())
