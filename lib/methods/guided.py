"""Classifier-guided: no teacher image, only judge A, which has to say no.

After the "hat" variant of Mandal & Gottwald (2025), which pulls a classifier's output to the retained classes; here it is
one logit. What a classifier can be told by invisible changes, this method will find: compare judges A and B.
"""

from torch import nn
from torch.nn.functional import softplus

from lib.methods.task import Task
from lib.train import Curve


def unlearn(task: Task) -> tuple[nn.Module, Curve]:
    """``strength`` weighs softplus of judge A's logit, where the feature is, against reconstruction where it is not."""

    def loss(student: nn.Module, i: int) -> dict:
        score = task.score(task.made(student, task.forget(i)))
        terms = {"judge": softplus(score).mean(), "recon": task.recon(student, task.retain(i))}
        return {"total": task.strength * terms["judge"] + terms["recon"], **terms}

    return task.tune(loss)
