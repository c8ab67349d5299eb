"""Closed-form rewrite of the first layer: no gradient, one linear system.

The layer is a linear memory of latents (Bau et al., ECCV 2020): with keys k, edited keys k̂ and s = 1 where the exact edit
moves, W = argmin E[s |W k - W0 k̂|²] + λ E[(1 - s) |(W - W0) k|²]. Deviation: the whole layer in closed form, where the
source makes low-rank updates by gradient steps.
"""

import copy
import time

import torch
from torch import Tensor, nn

from lib.latent import prior, stream
from lib.methods import exact
from lib.methods.task import Task
from lib.train import Curve

COUNT = 20_000


def solved(w: Tensor, keys: Tensor, edited: Tensor, moved: Tensor, weight: float) -> Tensor:
    """The W above: w (m, k), keys and edited keys (N, k), moved (N,) of 0 and 1, λ = weight."""
    scale = moved + weight * (1 - moved)
    targets = torch.where(moved[:, None] > 0, edited, keys)
    cross = targets.T @ (scale[:, None] * keys) / len(keys)
    gram = keys.T @ (scale[:, None] * keys) / len(keys)
    return w @ torch.linalg.solve(gram, cross, left=False)


@torch.no_grad()
def unlearn(task: Task) -> tuple[nn.Module, Curve]:
    """``strength`` is λ. Raises ValueError for a generator whose first layer is not linear in its latents."""
    start = time.perf_counter()
    rewritten = copy.deepcopy(task.original)
    if not hasattr(rewritten, "project"):
        raise ValueError("method 'rewrite' needs a generator with a linear first layer: choose another for a StyleGAN.")
    keys_of = getattr(rewritten, "encoded", nn.Identity())
    edit = exact.edit(task.direction).to(task.device)
    z = prior(task.original, COUNT, stream(task.seed, "rewrite")).to(task.device)
    parts = (keys_of(z).double(), keys_of(edit(z)).double(), edit.similar(z).double())
    rewritten.project.weight.copy_(solved(rewritten.project.weight.double(), *parts, task.strength))
    return rewritten.requires_grad_(False), Curve([0], {"total": [0.0]}, time.perf_counter() - start)
