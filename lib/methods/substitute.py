"""Substitute targets: a latent with the feature gets the image of some latent without it.

After the substitution mechanism of cascaded unlearning (Sun et al., 2023). The control that asks whether the latent edit
matters. Deviations: no discriminator; every labelled latent keeps one random substitute all along.
"""

import torch
from torch import nn

from lib.losses import loss_recon, loss_unlearn
from lib.methods.task import Task
from lib.train import Curve


def unlearn(task: Task) -> tuple[nn.Module, Curve]:
    """``strength`` weighs the substitutes against reconstruction."""
    with_feature, without = task.labelled
    partner = torch.randperm(len(without), generator=torch.Generator().manual_seed(task.seed))
    substitutes = without[partner.to(without.device)].repeat(len(with_feature) // len(without) + 1, 1)

    def loss(student: nn.Module, i: int) -> dict:
        rng = torch.Generator().manual_seed(task.seed * 1_000_003 + i)
        chosen = torch.randint(len(with_feature), (task.batch,), generator=rng).to(with_feature.device)
        everything = with_feature.new_ones(task.batch)
        target = task.shown(substitutes[chosen])
        removal = loss_unlearn(task.made(student, with_feature[chosen]), target, everything)
        kept = task.retain(i)
        recon = loss_recon(task.made(student, kept), task.shown(kept), 0 * everything)
        return {"total": task.strength * removal + recon, "unlearn": removal, "recon": recon}

    return task.tune(loss)
