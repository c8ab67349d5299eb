"""Substitute targets: a latent with the feature gets the image of some latent without it.

After the substitution mechanism of cascaded unlearning (Sun et al., 2023). The control that asks whether the latent edit
matters. Deviations: no discriminator; every labelled latent keeps one random substitute all along.
"""

from torch import nn

from lib.losses import loss_recon, loss_unlearn
from lib.methods.task import Task
from lib.train import Curve


def unlearn(task: Task) -> tuple[nn.Module, Curve]:
    """``strength`` weighs the substitutes against reconstruction."""
    with_feature, without = task.labelled
    substitutes = without[task.draw(len(without), len(with_feature), 0, 4)]

    def loss(student: nn.Module, i: int) -> dict:
        chosen = task.draw(len(with_feature), task.batch, i, 0)
        everything = with_feature.new_ones(task.batch)
        target = task.shown(substitutes[chosen])
        removal = loss_unlearn(task.made(student, with_feature[chosen]), target, everything)
        kept = task.retain(i)
        recon = loss_recon(task.made(student, kept), task.shown(kept), 0 * everything)
        return {"total": task.strength * removal + recon, "unlearn": removal, "recon": recon}

    return task.tune(loss)
