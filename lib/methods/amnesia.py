"""Selective Amnesia (Heng & Soh, NeurIPS 2023), and its weight anchor on the paper's method.

Selective Amnesia: latents with the feature get uniform noise as their target, latents without keep their images, and the
weights that mattered for G0's images are held by λ Σ F (θ - θ0)² with the Fisher information F. Deviations: decoder only,
generated images, F from ``Task.unlikely`` in batches of one.
"""

import numpy as np
import torch
from torch import Tensor, nn

from lib.losses import loss_total
from lib.methods import exact
from lib.methods.task import Task
from lib.train import Curve

FISHER_SAMPLES = 128


def fisher(task: Task) -> list[Tensor]:
    """The diagonal Fisher information of G0's weights, mean square gradient over images without the feature; scaled so
    that its mean over all weights is one."""
    generator = task.original.requires_grad_(True)
    weights = list(generator.parameters())
    total = [torch.zeros_like(weight) for weight in weights]
    for i in range(FISHER_SAMPLES):
        found = torch.autograd.grad(task.unlikely(generator, task.retain(i)[:1], i), weights, allow_unused=True)
        for sum_, g in zip(total, found, strict=True):
            sum_ += 0 if g is None else g.square()
    generator.requires_grad_(False)
    mean = sum(float(t.sum()) for t in total) / sum(t.numel() for t in total)
    return [t / max(mean, 1e-20) for t in total]


def anchor(task: Task, student: nn.Module, importance: list[Tensor]) -> Tensor:
    """Σ F (θ - θ0)² / number of weights."""
    pairs = zip(importance, student.parameters(), task.original.parameters(), strict=True)
    total = sum((f * (weight - old.detach()).square()).sum() for f, weight, old in pairs)
    return total / sum(f.numel() for f in importance)


def unlearn(task: Task) -> tuple[nn.Module, Curve]:
    """``strength`` is λ, in units in which the mean weight has F = 1 and the anchor is a mean over weights."""
    importance = fisher(task)

    def loss(student: nn.Module, i: int) -> dict:
        z = task.forget(i)
        image = task.made(student, z)
        rng = np.random.default_rng([task.seed, i, 3])
        noise = torch.from_numpy(rng.uniform(-1, 1, image.shape)).to(image)
        terms = {"noise": (image - noise).square().mean(), "recon": task.recon(student, task.retain(i))}
        terms["anchor"] = anchor(task, student, importance)
        return {"total": terms["noise"] + terms["recon"] + task.strength * terms["anchor"], **terms}

    return task.tune(loss)


def unlearn_anchored(task: Task) -> tuple[nn.Module, Curve]:
    """The exact method with the anchor: the loss of the paper at α = 3 and ``strength`` times the anchor."""
    importance, edit = fisher(task), exact.edit(task.direction).to(task.device)

    def loss(student: nn.Module, i: int) -> dict:
        z = task.fresh(i)
        terms = loss_total(task.made(student, z), task.shown(edit(z)), edit.similar(z), 3.0)
        terms["anchor"] = anchor(task, student, importance)
        return {**terms, "total": terms["total"] + task.strength * terms["anchor"]}

    return task.tune(loss)
