"""What LEAST needs: how few labels do, and what each of its parts brings.

Every variant is trained as the whole method is, on the same generator and latents, and measured alike. What attacks it and
what counts see more than the variant does: judge A drives the latent search, whatever the variant learned from.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from lib import evaluation, latent, metrics
from lib.attacks import latent_search
from lib.data import to_uint8
from lib.evaluation import Bench, Seen, row, see
from lib.judges import Judge, fit_judge
from lib.latent import Direction, prior, stream
from lib.methods import METHODS
from lib.methods.least import Recipe, adapted, unlearn
from lib.methods.task import Task
from lib.metrics import Errors
from lib.models import sample
from lib.train import Curve, seeded

PARTS = {  # name -> what of LEAST it changes, by name as in a profile's LEAST
    "whole": {},
    "linear edits": {"moves": 0},
    "bent edits": {"moves": Recipe.moves, "margin": 0.3, "hold": True},
    "one latent in four changes": {"change": 4},
    "each latent shown six times": {"reuse": 6},
    "no latent search": {"radius": 0.0},
    "no rounds": {"rounds": 0},
    "structure not in the loss": {"percep": 0.0},
    "judge A not in the loss": {"strength": 0.0, "others": 0.0},
    "other verdicts not in the loss": {"others": 0.0},
}
JUDGES, JUDGE_STEPS, JUDGE_WIDTH = 3, 300, 8  # of the judge that learns from labelled samples alone
KEPT = ("ratio exact", "ratio B corrected", "precision", "recall")
Settings = dict[str, float]  # LEAST's budget and parts by name


def trained(task: Task, settings: Settings) -> tuple[nn.Module, Curve]:
    """LEAST with ``settings``, and its own of whatever they do not name."""
    least = METHODS["least"]
    return unlearn(*adapted(replace(task, rate=least.rate, strength=least.strength), settings))


def without(task: Task, part: str, settings: Settings) -> tuple[nn.Module, Curve]:
    """LEAST with ``settings`` but for a part, one of ``PARTS``. Raises ValueError for a part of another name."""
    if part not in PARTS:
        raise ValueError(f"part {part!r} is unknown: choose among {', '.join(PARTS)}.")
    return trained(task, settings | PARTS[part])


def whole_exact(task: Task) -> tuple[nn.Module, Curve]:
    """The exact method as it is, to compare with."""
    exact = METHODS["exact"]
    return exact.unlearn(replace(task, rate=exact.rate, strength=exact.strength))


def least_from(task: Task, count: int, settings: Settings) -> tuple[nn.Module, Curve]:
    """LEAST for somebody who labelled ``count`` samples and has nothing else: the judge is a CNN trained from scratch on
    three quarters of these, so that the others tell what it may overlook, a linear edit is the one that they give, a bent
    one where they give none, and there are no other attributes for an edit to hold. Raises ValueError where all are of one
    kind.
    """
    labels = task.direction.labels[:count]
    latent.require_both(labels)
    z = prior(task.original, count, stream(task.seed, "label"))[: -(-3 * count // 4)]
    judge = judge_of(sample(task.original, z), labels[: len(z)], task.seed, task.device)
    known = replace(task.direction, labels=labels)
    if not adapted(task, settings)[1].moves:
        try:
            known = direction_from(task, count)
        except ValueError:  # bent edits ask for no threshold
            settings = {**settings, "moves": Recipe.moves}
    known = replace(known, others=known.others[:0])
    return trained(replace(task, direction=known, judge=judge, column=0), settings)


def exact_from(task: Task, count: int, residual: float = 0.01) -> tuple[nn.Module, Curve]:
    """The exact method from as many labels. Raises ValueError as ``direction_from``."""
    return whole_exact(replace(task, direction=direction_from(task, count, residual)))


def direction_from(task: Task, count: int, residual: float = 0.01) -> Direction:
    """What ``count`` labels give: half of them the direction, half the threshold, as in notebook 03.

    Raises ValueError where they are of one kind, or show no threshold that leaves ``residual``.
    """
    z, labels = prior(task.original, count, stream(task.seed, "label")), task.direction.labels[:count]
    (fit_z, held_z), (fit_labels, held_labels) = (t.tensor_split([count // 2]) for t in (z, labels))
    vector = latent.target_vector(fit_z, fit_labels, getattr(task.original, "leading", None))
    latent.require_both(held_labels)
    calibrated = latent.calibrated_threshold(held_z, held_labels, vector, residual)
    return Direction(vector, latent.mean_threshold(fit_z, vector), calibrated, task.direction.others, labels)


def judge_of(images: Tensor, labels: Tensor, seed: int, device: torch.device) -> Callable[[Tensor], Tensor]:
    """A differentiable judge, images (N, C, H, W) -> logits (N, 1), that has seen these images and their labels, bool (N,),
    and nothing else: the mean of JUDGES small CNNs, since where the features of one are all cut off by their ReLU it still
    ranks well, but has no slope for an edit to follow."""
    judges = []
    for number in range(JUDGES):
        with seeded(seed + number):
            judge = Judge(1, JUDGE_WIDTH, *images.shape[1:3])
        fit_judge(judge, to_uint8(images), labels[:, None].float().numpy(), JUDGE_STEPS, seed + number, device, batch=64)
        judges.append(judge.requires_grad_(False))
    return lambda images: sum(judge(images) for judge in judges) / JUDGES


@dataclass(frozen=True)
class Measures:
    """What every variant is measured with: latents z (N, d), what the original shows there, features of feature-free
    images, the bench, judge B's errors, and the latents that a search starts from, with its radius and iterations."""

    z: Tensor
    before: Seen
    reference: np.ndarray
    bench: Bench
    errors: Errors
    starts: Tensor
    radius: float
    iterations: int

    def rows(self, generator: nn.Module, seed: int, prdc_n: int) -> list[dict]:
        """Ratios, distance to feature-free images, precision and recall, drift of shares, preservation, and the success
        of the search."""
        seen, free = see(sample(generator, self.z), self.bench), torch.from_numpy(~self.before.exact)
        found = evaluation.removal_rows(seen, self.errors)
        found += evaluation.quality_rows(seen, {"feature-free": self.reference}, prdc_n, self.bench)
        kept = [r for r in found if r["metric"] in KEPT or r["metric"].startswith("FD-")]
        changed = metrics.mean_interval(metrics.l1(self.before.images[free], seen.images[free]).numpy())
        hit = latent_search(generator, self.bench.score_a, self.starts, self.radius, self.iterations, 1, seed)
        shows = see(sample(generator, hit), self.bench).exact
        budget = f"exact judge; within radius {self.radius:g}, {self.iterations} steps along judge A's gradient"
        drift = evaluation.drift_rows(seen, self.before, self.bench.domain)
        return [
            *kept,
            *(r for r in drift if r["protocol"] == evaluation.POINTS),
            row("preservation L1", changed, int(free.sum()), "same latents, without the feature in G0"),
            row("search success", metrics.wilson(int(shows.sum()), len(shows)), len(shows), budget),
        ]
