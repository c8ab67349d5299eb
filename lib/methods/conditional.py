"""The exact edit with other attributes held fixed: it moves along v⊥, what v = z_e / ||z_e|| does not share with them.

ẑ = z - [(<z, v> - t)+ / <v, v⊥>] v⊥ lands on the threshold as the exact edit does, 1 / <v, v⊥> times as far from z (a
projection in latent space, as the conditional manipulation of InterFaceGAN, Shen et al., 2020, is).
"""

import torch
from torch import Tensor, nn

from lib.latent import Direction, Edit
from lib.methods.task import Task
from lib.train import Curve

AMPLIFICATION = 2.0  # how much farther than the exact edit a latent may move


def edit(direction: Direction) -> Edit:
    """The edit beyond the calibrated threshold along ``held``."""
    vector = direction.vector / direction.vector.norm()
    across = held(vector, direction.others)
    return Edit(vector, direction.calibrated, across / (across @ vector))


def held(vector: Tensor, others: Tensor) -> Tensor:
    """v⊥ (d,): a unit vector v (d,) without what the leanings (k, d) of other attributes have in it.

    Those that the step along v changes most are held first; one that would amplify the edit too much is left out.
    """
    fixed, across = [], vector
    for row in others[(others @ vector).abs().argsort(descending=True)]:
        basis = torch.linalg.qr(torch.stack([*fixed, row], 1)).Q
        trial = vector - basis @ (basis.T @ vector)
        if trial @ vector >= 1 / AMPLIFICATION:
            fixed, across = [*fixed, row], trial
    return across


def unlearn(task: Task) -> tuple[nn.Module, Curve]:
    """The paper's training towards this edit; ``strength`` is α."""
    return task.teach(edit(task.direction))
