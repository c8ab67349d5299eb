"""The search of every method's rate and strength: few trials, the same points for all, on one generator and feature."""

from dataclasses import replace
from time import perf_counter

import numpy as np
import torch
from scipy.stats import qmc
from torch import Tensor

from lib import metrics
from lib.evaluation import Bench, Seen, see
from lib.methods import Method, Task
from lib.models import sample

FACTORS = (0.1, 10.0)  # the range of rates and strengths, as multiples of a method's pace and scale, on a logarithmic scale


def trials(method: Method, n: int) -> list[tuple[float, float]]:
    """The first n (rate, strength) to try: points of a Halton sequence, the same for each but for pace and scale."""
    points = qmc.Halton(2, scramble=False).random(n + 1)[1:]  # the first is the corner of the square
    low, high = np.log(FACTORS)
    pairs = np.exp(low + points * (high - low)) * [method.pace, method.scale]
    return [(float(f"{rate:.2g}"), float(f"{strength:.2g}")) for rate, strength in pairs]


def score(left: float, further: float, changed: float) -> float:
    """What a trial is chosen by, the lower the better, 1 for the original: the worst of the share of the feature left,
    the relative growth of the distance to feature-free images, and the change of images that never had the feature as a
    share of that between unrelated ones. No gain on one makes up for a loss on another."""
    return max(left, further, changed)


def tried(task: Task, method: Method, z: Tensor, before: Seen, reference: np.ndarray, bench: Bench) -> dict:
    """One trial: ratio (exact judge), distance of features to the reference (n, d), preservation (paired L1 on the latents
    z whose original image, ``before``, lacks the feature), score, and the seconds of the training with all that comes
    before its first step. A trial that diverges scores infinity."""
    lost = {"ratio": np.nan, "distance": np.nan, "preservation": np.nan, "score": np.inf, "seconds": np.nan}
    start = perf_counter()
    try:
        unlearned, _ = method.unlearn(task)
    except FloatingPointError:
        return lost
    spent = perf_counter() - start
    images = sample(unlearned, z)
    if not images.isfinite().all():
        return lost
    seen, free = see(images, bench), torch.from_numpy(~before.exact)
    goal, kept = metrics.statistics(reference), before.images[free]
    distance, own = (metrics.frechet(metrics.statistics(s.reading.features), goal) for s in (seen, before))
    preservation = float(metrics.l1(kept, seen.images[free]).mean())
    unrelated = float(metrics.l1(kept, kept.roll(1, 0)).mean())
    ratio = float(seen.exact.mean())
    total = score(ratio / float(before.exact.mean()), distance / own - 1, preservation / unrelated)
    return {"ratio": ratio, "distance": distance, "preservation": preservation, "score": total, "seconds": spent}


def run(task: Task, method: Method, n: int, *seen_with: object) -> list[dict]:
    """All n trials of a method as rows; ``seen_with`` as the last four arguments of ``tried``."""
    rows = []
    for number, (rate, strength) in enumerate(trials(method, n)):
        found = tried(replace(task, rate=rate, strength=strength), method, *seen_with)
        rows.append({"trial": number, "rate": rate, "strength": strength, **found})
    return rows
