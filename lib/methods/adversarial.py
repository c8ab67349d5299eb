"""Two methods that go on with a GAN's own game, for generators whose discriminator is at hand.

Data Redaction (Kong & Chaudhuri, SaTML 2023): images with the feature count as fake. Adapt-then-Unlearn (Tiwary et al.,
TMLR 2025): first adapt to images with the feature, then play for those without and keep away from the adapted weights.
Deviation of both: generated images stand in for real ones.
"""

import copy
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from lib.losses import loss_discriminator, loss_generator
from lib.methods import amnesia
from lib.methods.task import Task
from lib.train import Curve, descend


def play(
    task: Task,
    real: Callable[[int], Tensor],
    also_fake: Callable[[int], Tensor] | None = None,
    more: Callable[[nn.Module], Tensor] | None = None,
) -> tuple[nn.Module, Curve]:
    """Go on with the game from G0 and a copy of its discriminator.

    real, also_fake: step -> images (N, C, H, W) that the discriminator is told are real, or fake as the generator's own.
    more: the student -> a loss beside the generator's. Not resumable: the discriminator is not in a checkpoint. Raises
    ValueError when there is no discriminator.
    """
    require_critic(task)
    critic = copy.deepcopy(task.critic).to(task.device).train().requires_grad_(True)
    adam = torch.optim.Adam(critic.parameters(), task.rate, (0.5, 0.99))

    def loss(student: nn.Module, i: int) -> dict:
        fake = task.made(student, task.fresh(i))
        shown = [fake.detach()] + ([also_fake(i)] if also_fake else [])
        loss_d = loss_discriminator(critic(real(i)), torch.cat([critic(images) for images in shown]))
        descend(loss_d, adam)
        critic.requires_grad_(False)
        loss_g = loss_generator(critic(fake))
        critic.requires_grad_(True)
        return {"total": loss_g + (more(student) if more else 0), "discriminator": loss_d}

    return replace(task, checkpoint=None).tune(loss)


def require_critic(task: Task) -> None:
    """Raise ValueError when there is no discriminator."""
    if task.critic is None:
        raise ValueError("this method needs the GAN's discriminator: choose another one for this generator.")


def redact(task: Task) -> tuple[nn.Module, Curve]:
    """Data Redaction; ``strength`` is the number of images with the feature a batch, as a share of it."""
    count = max(1, round(task.strength * task.batch))
    return play(task, lambda i: task.shown(task.retain(i)), lambda i: task.shown(task.forget(i)[:count]))


def adapt(task: Task) -> tuple[nn.Module, Curve]:
    """Adapt-then-Unlearn, "EL2": L = L_G + exp(-γ Δ), Δ the square distance of the weights to the adapted ones in units of
    the adaptation's own; ``strength`` is γ. A third of the steps adapts, under the weight anchor of ``amnesia``."""
    require_critic(task)
    importance = amnesia.fisher(task)
    first = replace(task, steps=max(1, task.steps // 3))
    adapted, learned = play(
        first, lambda i: task.shown(task.forget(i)), more=lambda student: amnesia.anchor(task, student, importance)
    )

    def apart(a: nn.Module, b: nn.Module) -> Tensor:
        pairs = zip(a.parameters(), b.parameters(), strict=True)
        return sum((x - y).square().sum() for x, y in pairs)

    own = apart(adapted, task.original).detach().clamp(min=1e-12)
    second = replace(task, steps=task.steps - first.steps)
    unlearned, curve = play(
        second,
        lambda i: task.shown(task.retain(i)),
        more=lambda student: (-task.strength * apart(student, adapted) / own).exp(),
    )
    return unlearned, replace(curve, seconds=curve.seconds + learned.seconds)
