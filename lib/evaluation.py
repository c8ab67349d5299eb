"""From images to metric rows: what is seen of a set of images, and the rows of each kind of evidence.

A row is ``{"metric", "value", "low", "high", "n", "protocol"}``; the notebook adds dataset, model, feature, method, seed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lib import lite0, metrics
from lib.attacks import sampling_success
from lib.data import Table
from lib.domains import DOMAINS, Domain, attributes, codes, shares
from lib.features import rule
from lib.files import digest
from lib.judges import Reading, judged, load_judge, read
from lib.lite0 import Lite0
from lib.metrics import Errors, Interval
from lib.runs import find
from lib.tampering import relative_speed, steps_to

POINTS = "percentage points"  # protocol of the change of a share
LEAST = 65  # images a side for a distance in 64 features
TEST_N = 1000  # images a side of the permutation test: 500 relabellings of these take half a second


@dataclass(frozen=True)
class Bench:
    """What images are judged with: the data set's classifier, judges A and B and their column, the feature's exact rule;
    and the sha256 of the classifier's file, whose features serve the distances."""

    domain: Domain
    classifier: nn.Module
    a: nn.Module
    b: nn.Module
    column: int
    has: Callable[[Tensor, Table], np.ndarray]
    weights: str

    def score_a(self, images: Tensor) -> Tensor:
        """Judge A's logit for the feature, (N,), differentiable."""
        return self.a(images.clamp(-1, 1))[:, self.column]  # StyleGAN2 leaves the range a little


def load_bench(profile: str, dataset: str, feature: str, device: torch.device) -> Bench:
    """Read classifier, judges and cut-off.

    Raises FileNotFoundError naming notebook 01_data if one is missing, ValueError for a feature the judges do not know.
    """
    domain, cutoffs = DOMAINS[dataset], find(profile, dataset, "cutoffs.json")
    known = judged(find(profile, dataset, "errors.json"))
    if feature not in known:
        raise ValueError(f"the judges of {dataset} know {', '.join(known)} alone: run 01_data with START = 'scratch'.")
    files = [find(profile, dataset, f"{name}.safetensors") for name in ("classifier", "judge-a", "judge-b")]
    judges = [load_judge(file, device, domain.judge) for file in files]
    weights = digest(files[0])["sha256"]
    return Bench(domain, *judges, known.index(feature), rule(dataset, feature, cutoffs), weights)


@dataclass(frozen=True)
class Seen:
    """What is known of N images: the images, their attribute table, the classifier's reading, the verdicts of three judges.

    exact, a, b: bool (N,). ``exact`` is the measured rule; for a class or an attribute it is the classifier's decision.
    scores: judge B's logits for every feature of the data set, (N, features).
    """

    images: Tensor
    table: Table
    reading: Reading
    exact: np.ndarray
    a: np.ndarray
    b: np.ndarray
    scores: np.ndarray


def see(images: Tensor, bench: Bench) -> Seen:
    """Measure, read and judge float images (N, C, H, W) in [-1, 1]."""
    reading = read(bench.classifier, images)
    table = attributes(images, reading.logits, bench.domain)
    a, b = (read(judge, images).logits for judge in (bench.a, bench.b))
    return Seen(images, table, reading, bench.has(images, table), a[:, bench.column] > 0, b[:, bench.column] > 0, b)


def require_floors(pools: dict[str, np.ndarray], n: int) -> None:
    """Raise ValueError unless each set of images, as features (N, d), holds n, and for its floor more than d others."""
    for name, pool in pools.items():
        if len(pool) < n + LEAST:
            raise ValueError(f"there are {len(pool)} images of {name!r} and {n + LEAST} are needed: lower N or read more.")


def row(metric: str, interval: Interval | float, n: int, protocol: str) -> dict:
    """One metric row; an interval gives low and high as well."""
    value, low, high = interval if isinstance(interval, tuple) else (interval, "", "")
    return {"metric": metric, "value": value, "low": low, "high": high, "n": n, "protocol": protocol}


def removal_rows(seen: Seen, errors_b: Errors, before: Seen | None = None) -> list[dict]:
    """Target-feature ratio by the exact rule and by judge B, raw and corrected; miss and creation rates where the images
    are paired with those of ``before`` (the original on the same latents)."""
    n = len(seen.exact)
    hits = int(seen.b.sum())
    rows = [
        row("ratio exact", metrics.wilson(int(seen.exact.sum()), n), n, "Wilson 95 %"),
        row("ratio B", metrics.wilson(hits, n), n, "Wilson 95 %"),
        row("ratio B corrected", metrics.rogan_gladen(hits, n, errors_b), n, "Rogan-Gladen, errors of the table of judges"),
        row(
            "resolvable ratio B", metrics.resolvable(n, errors_b), n, "upper end of the corrected interval at true ratio 0"
        ),
    ]
    if before is not None:
        had, had_not = int(before.exact.sum()), int((~before.exact).sum())
        miss = metrics.wilson(int((seen.exact & before.exact).sum()), max(had, 1))
        creation = metrics.wilson(int((seen.exact & ~before.exact).sum()), max(had_not, 1))
        rows += [row("miss rate", miss, had, "exact judge, latents with the feature in G0")] if had else []
        rows += [row("creation rate", creation, had_not, "exact judge, latents without it in G0")] if had_not else []
    return rows


def agreement_rows(seen: Seen) -> list[dict]:
    """How far each two of the judges exact, A and B agree: share of equal verdicts; Cohen's kappa where it is defined."""
    rows, n = [], len(seen.exact)
    for (one, first), (other, second) in combinations({"exact": seen.exact, "A": seen.a, "B": seen.b}.items(), 2):
        same = metrics.wilson(int((first == second).sum()), n)
        rows.append(row(f"agreement {one}, {other}", same, n, "share of equal verdicts, Wilson 95 %"))
        if 0 < first.mean() + second.mean() < 2:
            beyond = metrics.kappa(first, second)
            rows.append(row(f"kappa {one}, {other}", beyond, n, "Cohen's kappa, large-sample 95 %"))
    return rows


def read_with(domain: Domain, weights: str, d: int, n: int) -> str:
    """What a protocol says of how a distance was read: extractor, dimension, n a side, image size, weights' sha256."""
    return f"{domain.classifier} features, d={d}, {n} against {n}, {domain.size} px, sha256 {weights}"


def distance_rows(features: np.ndarray, reference: np.ndarray, name: str, domain: Domain, weights: str) -> list[dict]:
    """Fréchet distance and KID in the classifier's features, equal numbers of rows from both sides.

    The distance has a jackknife interval where the features that are left, 19 of 20, still give a covariance of full rank.
    weights: the sha256 of the classifier's file.
    """
    n, d = min(len(features), len(reference)), features.shape[1]
    x, y, protocol = features[:n], reference[:n], read_with(domain, weights, d, n)
    if n - -(-n // 20) > d:
        fd, how = metrics.frechet_interval(x, y), ", jackknife 95 % of the distance at this n"
    else:
        fd, how = metrics.frechet(metrics.statistics(x), metrics.statistics(y)), ""
    return [
        row(f"FD-{domain.extractor}-n{n} to {name}", fd, n, protocol + how),
        row(f"KID-{domain.extractor}-n{n} to {name}", metrics.kid(x, y), n, protocol + ", unbiased, cubic kernel"),
    ]


def independent_rows(features: np.ndarray, reference: np.ndarray, name: str, seed: int, bench: Bench) -> list[dict]:
    """What needs images drawn independently of the reference's: the p-value of KID's permutation test on up to 1000 a side,
    and the Fréchet distance extrapolated to infinite n, where a quarter of n is enough for a covariance of full rank."""
    n, d = min(len(features), len(reference)), features.shape[1]
    few = min(n, TEST_N)
    p = metrics.kid_test(features[:few], reference[:few], seed)
    domain, weights = bench.domain, bench.weights
    protocol = read_with(domain, weights, d, few) + ", 500 relabellings, smallest possible 1/501"
    rows = [row(f"KID p-{domain.extractor}-n{few} to {name}", p, few, protocol)]
    if n // 4 > d:
        limit = metrics.frechet_infinity(features[:n], reference[:n], seed)
        protocol = read_with(domain, weights, d, n) + ", line through 8 sizes from n/4 to n against 1/n"
        rows.append(row(f"FD extrapolated-{domain.extractor} to {name}", limit, n, protocol))
    return rows


def score_rows(seen: Reading, name: str, domain: Domain, protocol: str) -> list[dict]:
    """The Inception Score under ``name`` where the classifier has classes, else no row."""
    if not domain.exclusive:
        return []
    return [row(name, metrics.inception_score(seen.probabilities), len(seen.logits), protocol)]


def share_rows(table: Table, domain: Domain, protocol: str) -> list[dict]:
    """The share of the images that have each label, in 0..1; ``protocol`` names who says so."""
    n = len(next(iter(table.values())))
    return [row(f"share of {label}", share, n, protocol) for label, share in shares(table, domain).items()]


def quality_rows(seen: Seen, references: dict[str, np.ndarray], prdc_n: int, bench: Bench) -> list[dict]:
    """Inception Score, distances to each named reference, and precision, recall, density, coverage to ``feature-free``."""
    n = len(seen.exact)
    protocol = "10-class digit CNN, no splits; real digits below 10; falls when a class goes"
    rows = score_rows(seen.reading, "inception score", bench.domain, protocol)
    for name, reference in references.items():
        rows += distance_rows(seen.reading.features, reference, name, bench.domain, bench.weights)
    k = min(prdc_n, n, len(references["feature-free"]))
    quartet = metrics.prdc(references["feature-free"][:k], seen.reading.features[:k])
    return rows + [row(name, value, k, f"5 neighbours, {k} against {k} feature-free") for name, value in quartet.items()]


def preservation_rows(seen: Seen, before: Seen, distance: np.ndarray, edges: list[float], domain: Domain) -> list[dict]:
    """Paired change on latents whose original image lacks the feature: L1, MS-SSIM, feature cosine; L1 by distance.

    distance: (N,) proj(z) - t in prior standard deviations; edges: borders of the bands.
    """
    kept = ~before.exact
    x, y = before.images[kept], seen.images[kept]
    l1 = metrics.l1(x, y).numpy()
    cosine = metrics.feature_cosine(before.reading.features[kept], seen.reading.features[kept])
    parts = zip(x.split(50), y.split(50), strict=True)  # what fits in a processor's cache: half the time of a thousand
    similarity = torch.cat([metrics.ms_ssim(*pair) for pair in parts]).numpy()
    protocol = "same latents, without the feature in G0"
    rows = [
        row("preservation L1", metrics.mean_interval(l1), len(l1), protocol + ", images in [-1, 1]"),
        row("preservation MS-SSIM", metrics.mean_interval(similarity), len(l1), protocol),
        row("preservation cosine", metrics.mean_interval(cosine), len(l1), protocol + f", {domain.extractor} features"),
    ]
    for band in metrics.by_distance(l1, distance[kept], edges):
        if band.n >= 2:
            rows.append(row(f"preservation L1 {band.low:+g}..{band.high:+g}", band.interval, band.n, "by proj(z) - t"))
    return rows


def likeness_rows(before: Tensor, faces: dict[str, Tensor], network: Lite0) -> list[dict]:
    """How much each method's images show the same as ``before``: mean cosine of Lite0's pooled features, 1 for the same.

    before, faces: images (N, 3, H, W) in [-1, 1] of the same latents.
    """
    known = lite0.features(network, before)
    rows = []
    for name, images in faces.items():
        cosine = metrics.feature_cosine(known, lite0.features(network, images))
        protocol = "cosine of Lite0's pooled features, latents without the feature in G0"
        rows.append({"method": name} | row("likeness", metrics.mean_interval(cosine), len(cosine), protocol))
    return rows


def full_size_rows(seen: Seen) -> list[dict]:
    """Share of full-size images, judged after downsampling, that show the feature."""
    n = len(seen.exact)
    verdicts = {"exact": seen.exact, "B": seen.b}
    protocol = "1024 px, area-downsampled for the judge; latents with the feature in G0's read-out"
    return [
        row(f"ratio {name}, full size", metrics.wilson(int(said.sum()), n), n, protocol) for name, said in verdicts.items()
    ]


def drift_rows(seen: Seen, before: Seen, domain: Domain) -> list[dict]:
    """Change against the original: shares of labels in percentage points, measures in units of their spread in G0."""
    n = len(seen.exact)
    old, new = shares(before.table, domain), shares(seen.table, domain)
    rows = [row(f"drift {label}", 100 * (new[label] - old[label]), n, POINTS) for label in old]
    for name in sorted(set(seen.table) - set(domain.categories)):
        change = (seen.table[name].mean() - before.table[name].mean()) / before.table[name].std()
        rows.append(row(f"drift {name}", float(change), n, "means, in sd of G0"))
    return rows


def histogram_codes(table: Table, before: Table, domain: Domain) -> Table:
    """Attribute -> code (N,): categories as they are, measures by the tenth of ``before``'s values that they fall in."""
    found = {name: table[name].astype(int) for name in domain.categories}
    for name in set(table) - set(domain.categories):
        found[name] = np.searchsorted(np.quantile(before[name], np.linspace(0.1, 0.9, 9)), table[name])
    return found


def divergence_rows(table: Table, before: Table, domain: Domain) -> list[dict]:
    """How far the histograms of attributes moved: KL(before || after) in nats of each, their mean (SaD), and the mean (PaD)
    and the largest over pairs of attributes."""
    codes_before, codes_after = (histogram_codes(side, before, domain) for side in (before, table))
    found, n = metrics.attribute_divergences(codes_before, codes_after), len(next(iter(table.values())))
    single = {names[0]: value for names, value in found.items() if len(names) == 1}
    pairs = {" with ".join(names): value for names, value in found.items() if len(names) == 2}
    protocol = "KL(before || after), nats; measures in tenths of the original's values"
    rows = [row("SaD", float(np.mean(list(single.values()))), n, f"mean of {len(single)} attributes; {protocol}")]
    rows += [row(f"SaD of {name}", value, n, protocol) for name, value in single.items()]
    if pairs:
        widest = max(pairs, key=pairs.get)
        rows.append(row("PaD", float(np.mean(list(pairs.values()))), n, f"mean of {len(pairs)} pairs; {protocol}"))
        rows.append(row("PaD, largest", pairs[widest], n, f"{widest}; {protocol}"))
    return rows


def dependency_rows(seen: Seen, before: Seen, column: int) -> list[dict]:
    """How much judge B's other logits change for each unit that the target's, in ``column``, does, on the same latents; no
    row where the target's does not change at all."""
    if np.array_equal(seen.scores[:, column], before.scores[:, column]):
        return []
    others = seen.scores.shape[1] - 1
    value = metrics.attribute_dependency(before.scores, seen.scores, column)
    return [
        row("attribute dependency", value, len(seen.scores), f"judge B's logits in sd of G0, {others} others over target")
    ]


def error_rows(errors: Errors, judge: str) -> list[dict]:
    """A judge's false-negative and false-positive rates with Wilson intervals; no row for a rate without samples."""
    rates = {
        "false-negative": (errors.positives - errors.true_positives, errors.positives),
        "false-positive": (errors.false_positives, errors.negatives),
    }
    return [
        row(f"judge {judge} {name} rate", metrics.wilson(wrong, n), n, "against the exact rule")
        for name, (wrong, n) in rates.items()
        if n
    ]


def accuracy_rows(reading: Reading, table: Table, domain: Domain) -> list[dict]:
    """How often the classifier is right about each category of images whose attributes are known."""
    rows, n = [], len(reading.logits)
    for name, said in codes(reading.logits, domain).items():
        metric = "classifier accuracy" if domain.exclusive else f"classifier accuracy, {name}"
        rows.append(row(metric, metrics.wilson(int((said == table[name]).sum()), n), n, f"real test {domain.images}"))
    return rows


def inception_rows(images: Tensor, reference: Tensor, weights: Path, device: torch.device) -> list[dict]:
    """FID in pytorch-fid's own Inception features if its weights file is there, else no row."""
    if not weights.is_file():
        return []
    n = min(len(images), len(reference))
    fid = metrics.fid_inception((images[:n] + 1) / 2, (reference[:n] + 1) / 2, weights, device)
    protocol = f"pytorch-fid Inception features, d=2048, {n} against {n}, gray repeated, sha256 {digest(weights)['sha256']}"
    return [row(f"FID-inception2048-n{n} to feature-free", fid, n, protocol)]


def attack_rows(seen: Seen, attack: str, budget: str, protocol: str = "judge A gave the gradient") -> list[dict]:
    """Success of an attack: the share of its images that show the feature, by each judge; no rows without images."""
    n = len(seen.exact)
    if not n:
        return []
    verdicts = {"exact": seen.exact, "B": seen.b, "A": seen.a}
    return [
        {"attack": attack, "budget": budget, "judge": judge}
        | row("success", metrics.wilson(int(said.sum()), n), n, f"Wilson 95 %; {protocol}")
        for judge, said in verdicts.items()
    ]


def part(seen: Seen, chosen: np.ndarray) -> Seen:
    """What is known of the images where ``chosen``, bool (N,), is true."""
    reading = Reading(seen.reading.features[chosen], seen.reading.logits[chosen])
    table = {name: column[chosen] for name, column in seen.table.items()}
    images = seen.images[torch.from_numpy(chosen)]
    return Seen(images, table, reading, seen.exact[chosen], seen.a[chosen], seen.b[chosen], seen.scores[chosen])


def sampling_rows(seen: Seen, samples: list[int]) -> list[dict]:
    """Success of asking k times, for each k of ``samples``: in closed form from the ratio without an attack."""
    return [
        found
        | {"budget": f"{k} samples", "protocol": "1 - (1 - p)^k, p of n latents with its Wilson 95 % interval"}
        | {name: sampling_success(found[name], k) for name in ("value", "low", "high")}
        for k in samples
        for found in attack_rows(seen, "sampling", "")
    ]


def area_rows(x: list[float], curve: list[Seen], attack: str, budget: str) -> list[dict]:
    """Area under success against the budget x, ascending, over the whole range: a mean height in 0..1, by judges exact and
    B."""
    heights = {"exact": [float(s.exact.mean()) for s in curve], "B": [float(s.b.mean()) for s in curve]}
    return [
        {"attack": attack, "budget": budget, "judge": judge}
        | row("area under the curve", float(np.trapezoid(y, x)) / (x[-1] - x[0]), len(curve[0].exact), "trapezoids / range")
        for judge, y in heights.items()
    ]


def inversion_rows(seen: Seen, images: Tensor, had: np.ndarray, budget: str) -> list[dict]:
    """How well given images (N, C, H, W) came back: the share of those with the feature (``had``, bool (N,)) that show it,
    the errors of both kinds, and the selective gap: error with it minus error without."""
    error = metrics.l1(seen.images, images).numpy()
    kinds = {"with the feature": error[had], "without it": error[~had]}
    gap = float(error[had].mean() - error[~had].mean())
    half = 1.96 * float(sum(e.var(ddof=1) / len(e) for e in kinds.values())) ** 0.5
    intervals = {f"reconstruction L1, {kind}": (metrics.mean_interval(e), len(e)) for kind, e in kinds.items()}
    intervals["selective reconstruction gap"] = (Interval(gap, gap - half, gap + half), len(error))
    protocol = "pixels in [-1, 1], normal 95 %"
    return attack_rows(part(seen, had), "inversion", budget, "gradients of the pixels' error") + [
        {"attack": "inversion", "budget": budget, "judge": ""} | row(name, interval, n, protocol)
        for name, (interval, n) in intervals.items()
    ]


def relearning_rows(curve: dict[int, Seen], attack: str, count: int, goal: float) -> list[dict]:
    """Success after so many steps on ``count`` images, the area under it, and the first step at which the exact ratio
    reaches ``goal``; ``curve``: step -> what is seen, from step 0, which is no attack."""
    budget, steps = f"{count} images", list(curve)
    reached = steps_to([float(s.exact.mean()) for s in curve.values()], steps, goal)
    half = row("steps to half", float(reached), len(curve[0].exact), f"ratio {goal:.3g}, half of G0's; counted at {steps}")
    rows = area_rows(steps, list(curve.values()), attack, budget)
    rows += [{"attack": attack, "budget": budget, "judge": "exact"} | half]
    for step, seen in curve.items():
        rows += attack_rows(seen, attack, f"{budget}, {step} steps", "fresh latents, no judge") if step else []
    return rows


def beyond_gold(rows: list[dict]) -> list[dict]:
    """Every success minus the gold retrain's under the same attack, budget and judge, and the speed of relearning beside
    its own, by judges exact and B; none without a gold retrain. The rows given have a method.

    Differences have Newcombe's interval (1998, method 10), made from the ends of the two.
    """
    gold = {tuple(r[k] for k in ("metric", "attack", "budget", "judge")): r for r in rows if r["method"] == "gold retrain"}
    found = []
    for ours in rows:
        key = tuple(ours[k] for k in ("metric", "attack", "budget", "judge"))
        if ours["method"] == "gold retrain" or ours["judge"] == "A" or key not in gold:
            continue
        known = gold[key]
        kept = {name: ours[name] for name in ("method", "attack", "budget", "judge")}
        if ours["metric"] == "success":
            value = ours["value"] - known["value"]
            low = value - np.hypot(ours["value"] - ours["low"], known["high"] - known["value"])
            high = value + np.hypot(ours["high"] - ours["value"], known["value"] - known["low"])
            interval = Interval(value, float(low), float(high))
            found.append(kept | row("success minus gold", interval, ours["n"], "Newcombe 95 %"))
        elif ours["metric"] == "steps to half":
            speed = relative_speed(known["value"], ours["value"])
            protocol = "steps of the gold retrain / steps"
            found += [kept | row("speed relative to gold", speed, ours["n"], protocol)] if speed == speed else []
    return found
