"""Gradient surgery: take out of one gradient what points along the other, then step (Bae et al., 2023).

With g_f and g_r the gradients of ``Task.unlikely`` on latents with and without the feature:
ascent (Bae et al.): climb g_f - (<g_f, g_r> / |g_r|²) g_r;   descent ("S" of Mandal & Gottwald, 2025): descend
g_r - (<g_r, g_f> / |g_f|²) g_f. Deviation: generated images, and a likelihood without encoder.
"""

from functools import partial

import torch
from torch import Tensor, nn

from lib.methods.task import Task
from lib.train import Curve


def without(g: Tensor, other: Tensor) -> Tensor:
    """g (k,) minus its projection on other (k,)."""
    return g - (g @ other) / (other @ other).clamp(min=1e-20) * other


def gradients(task: Task, student: nn.Module, i: int, graph: bool = False) -> tuple[Tensor, Tensor, list[Tensor]]:
    """g_f and g_r at step i as flat vectors (k,), and the weights they belong to."""
    weights = [weight for weight in student.parameters() if weight.requires_grad]
    flat = []
    for z in (task.forget(i), task.retain(i)):
        found = torch.autograd.grad(task.unlikely(student, z, i), weights, create_graph=graph)
        flat.append(torch.cat([g.flatten() for g in found]))
    return *flat, weights


def unlearn(task: Task, ascent: bool) -> tuple[nn.Module, Curve]:
    """Step along the projected gradient; ``strength`` scales it (Adam makes little of that)."""

    def loss(student: nn.Module, i: int) -> dict:
        g_f, g_r, weights = gradients(task, student, i)
        step = -without(g_f, g_r) if ascent else without(g_r, g_f)
        flat = torch.cat([weight.flatten() for weight in weights])
        return {"total": task.strength * (flat @ step)}  # the gradient of this is the step itself

    return task.tune(loss)


unlearn_ascent, unlearn_descent = partial(unlearn, ascent=True), partial(unlearn, ascent=False)
