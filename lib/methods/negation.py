"""Negation of a task vector: learn the feature, then walk the other way, θ0 - γ (θ₊ - θ0) (Ilharco et al., ICLR 2023).

"Extrapolation" in Tiwary et al. (2025). Deviation: θ₊, which shows the feature everywhere, is taught by the exact edit
turned round, so that the same recipe serves GANs and VAEs.
"""

import copy
from dataclasses import replace

import torch
from torch import nn

from lib.latent import Edit, projection
from lib.methods.task import Task
from lib.train import Curve


def towards(task: Task) -> Edit:
    """The edit that lifts every latent to the mean projection of those with the feature."""
    unit = task.direction.vector / task.direction.vector.norm()
    return Edit(-unit, -float(projection(task.labelled[0].cpu(), unit).mean()))


@torch.no_grad()
def unlearn(task: Task) -> tuple[nn.Module, Curve]:
    """``strength`` is γ; θ₊ is trained with α = 3."""
    with torch.enable_grad():
        adapted, curve = replace(task, strength=3.0).teach(towards(task))
    negated = copy.deepcopy(task.original)
    for weight, plus in zip(negated.parameters(), adapted.parameters(), strict=True):
        weight -= task.strength * (plus - weight)
    return negated.requires_grad_(False), curve
