"""UNO: descend on images without the feature while the two gradients are kept orthogonal (Mandal & Gottwald, 2025).

L = L_retain + λ cos²(g_f, g_r), differentiated through the gradients. UNO-S takes it in turns with gradient surgery
(descent). Deviations: generated images, the likelihood of ``Task.unlikely``, and a cosine where λ is 1e5 there.
"""

from functools import partial

import torch
from torch import nn

from lib.methods import surgery
from lib.methods.task import Task
from lib.train import Curve


def unlearn(task: Task, alternating: bool) -> tuple[nn.Module, Curve]:
    """``strength`` is λ."""

    def loss(student: nn.Module, i: int) -> dict:
        if alternating and i % 2:
            g_f, g_r, weights = surgery.gradients(task, student, i)
            return {"total": torch.cat([weight.flatten() for weight in weights]) @ surgery.without(g_r, g_f)}
        g_f, g_r, _ = surgery.gradients(task, student, i, graph=True)
        cosine = torch.nn.functional.cosine_similarity(g_f, g_r, dim=0)
        return {"total": task.unlikely(student, task.retain(i), i) + task.strength * cosine.square()}

    return task.tune(loss)


unlearn_uno, unlearn_uno_s = partial(unlearn, alternating=False), partial(unlearn, alternating=True)
