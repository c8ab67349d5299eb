"""The paper's idea with its two slips mended: a unit vector, and a threshold calibrated on held-out labels.

The edited latent lands exactly on the threshold, and the threshold is as high as the wanted residual ratio allows.
"""

from torch import nn

from lib.latent import Direction, Edit
from lib.methods.task import Task
from lib.train import Curve


def edit(direction: Direction) -> Edit:
    """The edit along z_e / ||z_e||, beyond the calibrated threshold."""
    return Edit(direction.vector / direction.vector.norm(), direction.calibrated)


def unlearn(task: Task) -> tuple[nn.Module, Curve]:
    """The paper's training towards this edit; ``strength`` is α."""
    return task.teach(edit(task.direction))
