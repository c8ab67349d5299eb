"""Fine-tuning on images without the feature and nothing else: how far naive forgetting gets."""

from torch import nn

from lib.methods.task import Task
from lib.train import Curve


def unlearn(task: Task) -> tuple[nn.Module, Curve]:
    """Descend ``Task.unlikely`` on latents without the feature; ``strength`` scales it."""
    return task.tune(lambda student, i: {"total": task.strength * task.unlikely(student, task.retain(i), i)})
