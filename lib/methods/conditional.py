"""The exact edit with other attributes held: it moves along v⊥, what v = z_e / ||z_e|| hardly shares with them.

ẑ = z - [(<z, v> - t)+ / <v, v⊥>] v⊥ lands on the threshold as the exact edit does, ||v⊥|| / <v, v⊥> times as far from z
(the conditional manipulation of InterFaceGAN, Shen et al., 2020, with a ridge in place of its projection).
"""

import torch
from torch import Tensor, nn

from lib.latent import Direction, Edit
from lib.methods.task import Task
from lib.train import Curve

RIDGE = 0.03  # square of the leaning, in sd of an attribute a prior sd, that is half held


def edit(direction: Direction) -> Edit:
    """The edit beyond the calibrated threshold along ``held``."""
    vector = direction.vector / direction.vector.norm()
    across = held(vector, direction.others)
    return Edit(vector, direction.calibrated, across / (across @ vector))


def held(vector: Tensor, others: Tensor) -> Tensor:
    """v⊥ (..., d): vectors v (..., d) less what the leanings L (k, d) of others have in them, (I + LᵀL / RIDGE)⁻¹ v.

    With a RIDGE of 0 it would be the projection that no attribute leans on, and where they are many, the way to the
    threshold along it endless. A ridge holds those most that the step would change most for the way that it costs.
    """
    gram = torch.eye(vector.shape[-1], dtype=torch.float64, device=vector.device) + (others.T @ others).double() / RIDGE
    return (vector.double() @ torch.linalg.inv(gram)).float()  # the matrix is symmetric


def unlearn(task: Task) -> tuple[nn.Module, Curve]:
    """The paper's training towards this edit; ``strength`` is α."""
    return task.teach(edit(task.direction))
