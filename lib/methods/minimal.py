"""Minimal edits: every latent moves just as far, and just in the direction, as judge A needs to say no.

The paper's edit is one hyperplane for all latents: where it separates badly, it leaves the feature or moves half of all
latents. Here the teacher is G0 at ẑ(z), the nearest latent at which judge A is sure that the feature is absent, found by a
few steps towards the judge's own boundary (DeepFool, Moosavi-Dezfooli et al., CVPR 2016). Of every batch half are latents
with the feature, however rare they are, a part of these found by a search in the latent space of the student itself (Madry
et al., ICLR 2018); the others are taught to stay as they were. Whether that beats the exact edit, no table has shown yet.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from lib.attacks import latent_search
from lib.latent import prior
from lib.losses import loss_total
from lib.methods.task import Task
from lib.train import Curve, autocast

MARGIN = 2.0  # logit below zero at which judge A is sure
MOVES = 6  # steps of an edit
STRIDE = 1.5  # longest step, in prior standard deviations
POOL = 8_000  # latents that judge A reads before training
ROUNDS = 4  # times that the student's own latents are searched
SEARCHED = 256  # latents a search starts from
RADIUS = 2.0  # of a search, in prior standard deviations


def logit(task: Task, generator: nn.Module, z: Tensor) -> Tensor:
    """Judge A's logit for what the generator shows at z, (N,)."""
    with autocast(task.device):
        return task.score(generator(z)).float()


def slope(task: Task, generator: nn.Module, z: Tensor) -> tuple[Tensor, Tensor]:
    """That logit (N,) and its gradient in the latent (N, d)."""
    z = z.detach().requires_grad_(True)
    value = logit(task, generator, z)
    (gradient,) = torch.autograd.grad(value.sum(), z)
    return value.detach(), gradient


def minimal_edit(task: Task, z: Tensor, margin: float = MARGIN) -> Tensor:
    """ẑ (N, d): z moved to where judge A's logit of G0 is -margin or less, each step to the boundary of the linearised
    logit, z - (logit + margin) ∇ / |∇|², at most STRIDE long; latents that are there already stay."""
    for _ in range(MOVES):
        value, gradient = slope(task, task.original, z)
        length = ((value + margin) / gradient.norm(dim=1).clamp(min=1e-6)).clamp(0, STRIDE)
        z = z - length[:, None] * gradient / gradient.norm(dim=1, keepdim=True).clamp(min=1e-6)
    return z.detach()


@torch.no_grad()
def divided(task: Task, generator: nn.Module, z: Tensor, margin: float = MARGIN) -> tuple[Tensor, Tensor]:
    """The latents of z at which judge A is not sure that the generator's image lacks the feature, and the others."""
    doubt = torch.cat([logit(task, generator, part) for part in z.split(500)]) > -margin
    return z[doubt], z[~doubt]


class Lessons:
    """Latents that have to change, with the images they shall show: a pool that grows as the student is searched."""

    def __init__(self, task: Task) -> None:
        self.task, self.seed = task, task.seed
        pool = prior(task.original, POOL, [task.seed, 2**31]).to(task.device)
        doubtful, self.kept = divided(task, task.original, pool)
        self.z, self.targets = doubtful, self.taught(doubtful)

    def taught(self, z: Tensor) -> Tensor:
        """What G0 shows at the minimal edits of latents z (N, d)."""
        return torch.cat([self.task.shown(minimal_edit(self.task, part)) for part in z.split(250)])

    def search(self, student: nn.Module, number: int) -> None:
        """Add what brings the feature back: fresh latents that still show it, and those an attack finds near the pool's."""
        fresh = prior(self.task.original, POOL // 2, [self.seed, 2**31 + 1 + number]).to(self.task.device)
        left, _ = divided(self.task, student, fresh, 0.0)
        starts = self.z[self.task.draw(len(self.z), SEARCHED, number, 5)].cpu()
        found = latent_search(student, self.task.score, starts, RADIUS, 4, 1, self.seed)
        again, _ = divided(self.task, student, found.to(self.task.device), 0.0)
        more = torch.cat([left, again])
        if len(more):
            self.z, self.targets = torch.cat([self.z, more]), torch.cat([self.targets, self.taught(more)])

    def batch(self, i: int) -> tuple[Tensor, Tensor, Tensor]:
        """Latents (batch, d), their target images, and 1 where these are not G0's: for half of the batch."""
        half = self.task.batch // 2
        chosen = self.task.draw(len(self.z), half, i, 0)
        stay = self.kept[self.task.draw(len(self.kept), self.task.batch - half, i, 1)]
        z = torch.cat([self.z[chosen], stay])
        moved = z.new_ones(len(z))
        moved[half:] = 0
        return z, torch.cat([self.targets[chosen], self.task.shown(stay)]), moved


def unlearn(task: Task) -> tuple[nn.Module, Curve]:
    """``strength`` is the paper's α. Not resumable: the pool is not in a checkpoint, and seconds are soon repeated."""
    lessons = Lessons(task)
    when = {round(task.steps * (k + 1) / (ROUNDS + 1)): k for k in range(ROUNDS)}

    def loss(student: nn.Module, i: int) -> dict:
        if i in when:
            lessons.search(student, when[i])
        z, target, moved = lessons.batch(i)
        return loss_total(task.made(student, z), target, moved, task.strength)

    return replace(task, checkpoint=None).tune(loss)
