"""Attacks on the weights: what a file that is passed on, compressed or trained a little further gives back.

Every one takes a generator and returns another; the given one stays as it is. Counted by a judge that gave no gradient, and
run on the gold retrain too, which never knew the feature.
"""

import copy
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from lib.latent import latents, prior
from lib.losses import loss_percep, loss_recon
from lib.train import autocast, descend, student_of

NEAR = 0.3  # prior standard deviations around a latent that shall show its image too


def layers(generator: nn.Module) -> Iterator[Tensor]:
    """The weights of two dimensions or more, frozen ones too: matrices, kernels, StyleGAN's constant and noise."""
    return (weight for weight in generator.parameters() if weight.ndim > 1)


def changed(generator: nn.Module, change: Callable[[Tensor, int], Tensor]) -> nn.Module:
    """A copy of the generator with ``change(weight, number)`` in place of each of its ``layers``."""
    copied = copy.deepcopy(generator)
    with torch.no_grad():
        for number, weight in enumerate(layers(copied)):
            weight.copy_(change(weight, number))
    return copied.eval().requires_grad_(False)


def noisy(generator: nn.Module, share: float, seed: int) -> nn.Module:
    """Normal noise on every weight, ``share`` of its layer's root mean square strong."""

    def change(weight: Tensor, number: int) -> Tensor:
        noise = latents(1, weight.numel(), [seed, number]).reshape(weight.shape).to(weight)
        return weight + share * weight.square().mean().sqrt() * noise

    return changed(generator, change)


def pruned(generator: nn.Module, share: float) -> nn.Module:
    """The smallest weights of each layer set to zero, ``share`` of them (magnitude pruning, Han et al., 2015)."""

    def change(weight: Tensor, _: int) -> Tensor:
        bound = weight.abs().flatten().kthvalue(max(1, round(share * weight.numel()))).values
        return torch.where(weight.abs() <= bound, 0, weight) if share else weight

    return changed(generator, change)


def rounded(generator: nn.Module, bits: int) -> nn.Module:
    """Each layer rounded to the nearest of 2^bits - 1 levels, symmetric, one scale a layer (post-training quantisation)."""

    def change(weight: Tensor, _: int) -> Tensor:
        step = step_of(weight, bits)
        return (weight / step).round() * step

    return changed(generator, change)


def step_of(weight: Tensor, bits: int) -> Tensor:
    """The distance between two levels of a layer's weights rounded to so many bits."""
    return weight.abs().max().clamp(min=1e-12) / (2 ** (bits - 1) - 1)


def same_level(unlearned: nn.Module, original: nn.Module, bits: int) -> float:
    """Share of the weights that rounding sends to the same level as the original's, in the original's steps: where it is
    high, rounding gives the original back (Zhang et al., ICLR 2025)."""
    same = total = 0
    for ours, old in zip(layers(unlearned), layers(original), strict=True):
        step = step_of(old, bits)
        same += int(((ours / step).round() == (old / step).round()).sum())
        total += old.numel()
    return same / total


def interpolated(unlearned: nn.Module, original: nn.Module, share: float) -> nn.Module:
    """The way back for who has both: (1 - share) θ + share θ0."""
    back = list(layers(original))
    return changed(unlearned, lambda weight, number: torch.lerp(weight, back[number].to(weight), share))


def relearn(
    generator: nn.Module,
    images: Tensor,
    start: Tensor,
    steps: int,
    seed: int,
    device: torch.device,
    batch: int = 32,
    rate: float = 1e-3,
) -> Iterator[nn.Module]:
    """Train a copy to show K images (K, C, H, W) at K latents (K, d) of theirs, beside its own images elsewhere; yields the
    copy before the first step and after each.

    The images may have the feature (relearning) or lack it (benign fine-tuning). Latents near the given ones show them too:
    each step moves them a little, so that what is learned is more than K points.
    """
    learner, adam = student_of(generator, rate, device)
    images, start = images.to(device), start.to(device)
    yield learner
    for i in range(steps):
        chosen = torch.from_numpy(np.random.default_rng([seed, i, 2]).integers(len(images), size=batch)).to(device)
        near = start[chosen] + NEAR * latents(batch, start.shape[1], [seed, i, 0]).to(device)
        elsewhere = prior(generator, batch, [seed, i, 1]).to(device)
        with autocast(device):
            with torch.no_grad():
                kept = generator(elsewhere)
            made = learner(torch.cat([near, elsewhere]))
        shown, stayed = made.float().split(batch)
        everything = torch.ones(batch, device=device)
        loss = loss_recon(shown, images[chosen], 0 * everything) + loss_percep(shown, images[chosen], everything)
        descend(loss + loss_recon(stayed, kept.float(), 0 * everything), adam)
        yield learner


def steps_to(ratios: list[float], steps: list[int], goal: float) -> float:
    """The first of ``steps`` at which the ratio reaches ``goal``; infinity if none does."""
    return next((step for step, ratio in zip(steps, ratios, strict=True) if ratio >= goal), float("inf"))


def relative_speed(gold: float, unlearned: float) -> float:
    """Steps to half of who never knew the feature over those of the unlearned one: 1 as forgotten as if never known, above
    1 dormant. NaN where neither gets there, or both are there from the start."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.float64(gold) / unlearned)
