"""Ascent-descent: a step up on images with the feature, a step down on images without, by turns.

As in Mandal & Gottwald (2025), "A-D". Deviation: the likelihood is that of ``Task.unlikely``, of generated images.
"""

from torch import nn

from lib.methods.task import Task
from lib.train import Curve


def unlearn(task: Task) -> tuple[nn.Module, Curve]:
    """Even steps descend on latents without the feature, odd ones climb on those with it, ``strength`` as steeply."""

    def loss(student: nn.Module, i: int) -> dict:
        if i % 2:
            return {"total": -task.strength * task.unlikely(student, task.forget(i), i)}
        return {"total": task.unlikely(student, task.retain(i), i)}

    return task.tune(loss)
