"""What every unlearning method is given, and the two ways to train: towards an edit, or down a loss of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lib import train
from lib.domains import DOMAINS
from lib.evaluation import Bench
from lib.latent import Direction, Edit, latents, prior, stream
from lib.losses import loss_recon
from lib.models import Discriminator, load_generator
from lib.runs import find
from lib.train import Curve, autocast
from lib.weights import load_module

NEAR = 0.3  # prior standard deviations between a latent and those that stand in for its posterior


@dataclass(frozen=True)
class Task:
    """A generator that has to forget, and what is known of the feature.

    original: G0, which no method changes. direction: what notebook 03 found, with the labels of the labelling stream.
    judge: judge A, images -> logits (N, features of the data set), differentiable; column: that of the feature. critic: the
    discriminator of a GAN, where there is one. steps, batch, rate: the budget, the same for every method. strength: the
    method's own weight, whatever it weighs; each method says what.
    """

    original: nn.Module
    direction: Direction
    judge: Callable[[Tensor], Tensor]
    column: int
    steps: int
    batch: int
    rate: float
    strength: float
    seed: int
    device: torch.device
    critic: nn.Module | None = None
    checkpoint: Path | None = None

    @cached_property
    def labelled(self) -> tuple[Tensor, Tensor]:
        """The labelled latents with the feature and those without, (n, d) each."""
        has = self.direction.labels
        z = prior(self.original, len(has), stream(self.seed, "label"))
        return z[has].to(self.device), z[~has].to(self.device)

    def draw(self, count: int, size: int, i: int, purpose: int) -> Tensor:
        """``size`` random row numbers below ``count`` for step i, others for every purpose."""
        return torch.from_numpy(np.random.default_rng([self.seed, i, purpose]).integers(count, size=size)).to(self.device)

    def fresh(self, i: int) -> Tensor:
        """Fresh latents (batch, d) of step i."""
        return prior(self.original, self.batch, [self.seed, i]).to(self.device)

    def forget(self, i: int) -> Tensor:
        """Labelled latents (batch, d) whose images have the feature, drawn anew at step i."""
        return self.labelled[0][self.draw(len(self.labelled[0]), self.batch, i, 0)]

    def retain(self, i: int) -> Tensor:
        """Labelled latents (batch, d) whose images lack the feature, drawn anew at step i."""
        return self.labelled[1][self.draw(len(self.labelled[1]), self.batch, i, 1)]

    @torch.no_grad()
    def shown(self, z: Tensor) -> Tensor:
        """What G0 shows at z: images (N, C, H, W)."""
        with autocast(self.device):
            return self.original(z).float()

    def made(self, student: nn.Module, z: Tensor) -> Tensor:
        """What the student shows at z, differentiable."""
        with autocast(self.device):
            image = student(z)
        return image.float()

    def verdicts(self, images: Tensor) -> Tensor:
        """Judge A's logits for images (N, C, H, W), (N, features), differentiable."""
        with autocast(self.device):
            return self.judge(images.clamp(-1, 1)).float()  # StyleGAN2 leaves the range a little

    def score(self, images: Tensor) -> Tensor:
        """Judge A's logit for the feature in images (N, C, H, W), (N,), differentiable."""
        return self.verdicts(images)[:, self.column]

    def unlikely(self, student: nn.Module, z: Tensor, i: int) -> Tensor:
        """How badly the student explains G0's images of z: the squared error summed over an image, mean over the batch.

        Many baselines need -log p(x), which neither a GAN nor a lone decoder has. Up to constants this is the likelihood
        term of a VAE whose encoder gives G0(z) the posterior N(z, NEAR² I), an image of G0's and Gaussian pixels.
        """
        near = z + NEAR * latents(*z.shape, [self.seed, i, 2]).to(z)
        return (self.made(student, near) - self.shown(z)).square().flatten(1).sum(1).mean()

    def recon(self, student: nn.Module, z: Tensor) -> Tensor:
        """L_recon over all of z: mean distance to what G0 shows."""
        return loss_recon(self.made(student, z), self.shown(z), z.new_zeros(len(z)))

    def teach(self, edit: Edit) -> tuple[nn.Module, Curve]:
        """The paper's training towards the edit; ``strength`` is its α."""
        budget = (self.steps, self.seed, self.device, self.strength, self.batch, self.rate, self.checkpoint)
        return train.unlearn(self.original, edit, *budget)

    def tune(self, loss: Callable[[nn.Module, int], dict[str, Tensor]]) -> tuple[nn.Module, Curve]:
        """Train a copy of G0 down ``loss``: (the copy, step) -> named losses, among them "total"."""
        labels = train.fingerprint(self.direction.vector, self.direction.labels)
        settings = [self.seed, self.batch, self.strength, labels]
        return train.tune(self.original, loss, self.steps, self.device, self.rate, self.checkpoint, settings)


def load_task(
    profile: str,
    dataset: str,
    model: str,
    seed: int,
    feature: str,
    bench: Bench,
    steps: int,
    batch: int,
    device: torch.device,
) -> Task:
    """The task of a chain, from its files, with rate 1e-3 and strength 1, for a method's own to replace.

    Raises FileNotFoundError naming the notebook that makes a missing one.
    """
    home = (profile, dataset, model, seed)
    original = load_generator(find(*home, "generator.safetensors"), model, device)
    direction, critic = Direction.load(find(*home, feature, "direction.safetensors")), None
    if model == "gan" and model not in DOMAINS[dataset].generators:
        critic = load_module(find(*home, "discriminator.safetensors"), Discriminator, "discriminator", device)
    return Task(original, direction, bench.a, bench.column, steps, batch, 1e-3, 1.0, seed, device, critic)
