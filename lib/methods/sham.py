"""The sham: the exact method along a random direction. What it changes, fine-tuning changes by itself."""

import torch
from torch import nn

from lib.latent import Edit, projection, random_vector
from lib.methods import exact
from lib.methods.task import Task
from lib.train import Curve


def edit(task: Task) -> Edit:
    """A random unit vector, beyond the threshold that flags as many labelled latents as the exact edit does."""
    z = torch.cat(task.labelled).cpu()
    flagged = float(exact.edit(task.direction).similar(z).mean())
    vector = random_vector(z.shape[1], 1.0, task.seed)
    return Edit(vector, float(torch.quantile(projection(z, vector), 1 - flagged)))


def unlearn(task: Task) -> tuple[nn.Module, Curve]:
    """``strength`` is the paper's α."""
    return task.teach(edit(task))
