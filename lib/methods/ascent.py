"""Gradient ascent: make images with the feature unlikely, and nothing else.

The crudest baseline of machine unlearning (Thudi et al., 2022; for VAEs in Mandal & Gottwald, 2025). Deviation: the
likelihood is that of ``Task.unlikely``, of generated images.
"""

from torch import nn

from lib.methods.task import Task
from lib.train import Curve


def unlearn(task: Task) -> tuple[nn.Module, Curve]:
    """Climb the squared error on latents with the feature; ``strength`` scales it."""
    return task.tune(lambda student, i: {"total": -task.strength * task.unlikely(student, task.forget(i), i)})
