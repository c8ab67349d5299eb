"""Metrics: features -> statistics -> distance, each with its uncertainty or its floor.

Features are (N, d) NumPy arrays and every sum over them is taken in float64. Images are (N, C, H, W) torch
tensors. A metric never sees a model; the one exception is the Inception section at the end of the file.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import entr, stdtrit
from torch import Tensor, nn
from torch.nn import functional as F

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
INCEPTION_WEIGHTS = Path("data/pretrained/inception/pt_inception-2015-12-05-6726825d.pth")
INCEPTION_FEATURES = 2048


class Interval(NamedTuple):
    """An estimate with the two ends of its confidence interval (95 % unless another z was asked for)."""

    value: float
    low: float
    high: float


# --- Ratio of images that show the feature ------------------------------------------------------------------


class Errors(NamedTuple):
    """What a judge classifier answered on labelled images, as counts.

    Count them on *generated* images: error rates measured on real images do not carry over.
    """

    true_positives: int
    positives: int
    false_positives: int
    negatives: int

    @property
    def sensitivity(self) -> float:
        return self.true_positives / self.positives

    @property
    def specificity(self) -> float:
        return 1 - self.false_positives / self.negatives


def wilson(hits: float, n: int, z: float = 1.96) -> Interval:
    """Share of hits among n images with Wilson's score interval (Wilson 1927), valid at 0 and at n hits.

    Raises ValueError unless 0 <= hits <= n and n >= 1.
    """
    _require_counts("hits", hits, "n", n)
    ratio = hits / n
    centre = (ratio + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * sqrt(ratio * (1 - ratio) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return Interval(ratio, max(0.0, min(ratio, centre - half)), min(1.0, max(ratio, centre + half)))


def rogan_gladen(hits: float, n: int, judge: Errors, z: float = 1.96) -> Interval:
    """Share of images that show the feature, given that the judge called `hits` of n so and makes errors.

    value = (hits/n - FPR) / (TPR - FPR) clipped to [0, 1] (Rogan & Gladen 1978; CLEAM, Teo et al. 2023).
    The interval carries the sampling error of hits, TPR and FPR through by the delta method. Each of the
    three is first shrunk by pseudo-counts (Lang & Reiczigel 2014), or 0 hits of n would have no variance.

    Raises ValueError for impossible counts, or if the judge is no better than chance.
    """
    _require_counts("hits", hits, "n", n)
    _require_counts("judge.true_positives", judge.true_positives, "judge.positives", judge.positives)
    _require_counts("judge.false_positives", judge.false_positives, "judge.negatives", judge.negatives)
    # A true ratio is never negative: fewer hits than the judge's false positives have the interval of a ratio of zero.
    ratio, ratio_variance = _shrunk(max(hits, n * (1 - judge.specificity)), n, z**2 / 2)
    tpr, tpr_variance = _shrunk(judge.true_positives, judge.positives, 1)
    fpr, fpr_variance = _shrunk(judge.false_positives, judge.negatives, 1)
    youden = judge.sensitivity + judge.specificity - 1
    if min(youden, tpr - fpr) <= 0:
        raise ValueError(
            "judge must have sensitivity + specificity > 1 to be corrected for, "
            f"got {judge.sensitivity:.3f} + {judge.specificity:.3f}: train or choose a better judge."
        )
    value = float(np.clip((hits / n + judge.specificity - 1) / youden, 0, 1))
    centre = (ratio - fpr) / (tpr - fpr)
    variance = ratio_variance + centre**2 * tpr_variance + (1 - centre) ** 2 * fpr_variance
    half = z * sqrt(variance) / (tpr - fpr)
    return Interval(value, max(0.0, min(value, centre - half)), min(1.0, max(value, centre + half)))


def resolvable(n: int, judge: Errors, z: float = 1.96) -> float:
    """Smallest ratio that n images and this judge can tell from zero.

    Defined as the upper end of `rogan_gladen` for a generator that never makes the feature, so that all hits
    are the judge's false positives. A corrected ratio below this number must be reported as "below it".
    """
    return rogan_gladen(n * (1 - judge.specificity), n, judge, z).high


def _shrunk(hits: float, n: int, pseudo: float) -> tuple[float, float]:
    """Proportion after adding `pseudo` hits and as many misses, and its variance (Agresti & Coull 1998)."""
    share = (hits + pseudo) / (n + 2 * pseudo)
    return share, share * (1 - share) / (n + 2 * pseudo)


def _require_counts(part_name: str, part: float, whole_name: str, whole: int) -> None:
    if not (whole >= 1 and 0 <= part <= whole):
        raise ValueError(f"{part_name} must lie between 0 and {whole_name} >= 1, got {part} of {whole}.")


def kappa(first: np.ndarray, second: np.ndarray, z: float = 1.96) -> Interval:
    """Cohen's kappa of two judges' verdicts (N,), bool: agreement beyond what their shares give by chance, in [-1, 1].

    The interval is the large-sample one of Fleiss, Cohen & Everitt (1969). Raises ValueError where both give one and the
    same verdict on every image, since chance then explains everything.
    """
    cells = np.bincount(2 * np.asarray(first, int) + np.asarray(second, int), minlength=4).reshape(2, 2) / len(first)
    rows, columns = cells.sum(1), cells.sum(0)
    agreed, chance = np.trace(cells), rows @ columns
    if chance == 1:
        raise ValueError("both judges give the same verdict on every image: kappa is not defined, report the agreement.")
    value = (agreed - chance) / (1 - chance)
    same = np.diag(cells) @ (1 - (rows + columns) * (1 - value)) ** 2
    apart = cells[0, 1] * (columns[0] + rows[1]) ** 2 + cells[1, 0] * (columns[1] + rows[0]) ** 2
    spread = same + (1 - value) ** 2 * apart - (value - chance * (1 - value)) ** 2
    half = z * sqrt(max(spread, 0) / len(first)) / (1 - chance)
    return Interval(float(value), float(max(-1, value - half)), float(min(1, value + half)))


# --- Classifier outputs -> inception score ------------------------------------------------------------------


def inception_score(probs: np.ndarray) -> float:
    """exp(mean KL(p(y|x) || p(y))) of class probabilities (N, K), in [1, K] (Salimans et al. 2016).

    Taken over all images at once, without splits. With a K-class domain classifier, removing one class lowers
    the attainable maximum to K - 1: "unchanged" can then hide a residue.
    Raises ValueError if rows are not probabilities.
    """
    probs = _probabilities(probs)
    return float(np.exp(entr(probs.mean(0)).sum() - entr(probs).sum(1).mean()))


def _probabilities(probs: np.ndarray) -> np.ndarray:
    probs = _rows("probs", probs)
    if probs.min() < 0 or not np.allclose(probs.sum(1), 1, atol=1e-3):
        raise ValueError("probs must be non-negative rows that sum to 1: apply softmax to logits first.")
    return probs / probs.sum(1, keepdims=True)


# --- Features -> statistics -> distance ---------------------------------------------------------------------


class Stats(NamedTuple):
    """Mean (d,), unbiased covariance (d, d) and sample size of a set of features."""

    mean: np.ndarray
    cov: np.ndarray
    n: int


def statistics(features: np.ndarray) -> Stats:
    """Gaussian statistics of features (N, d), float64. Raises ValueError unless N >= 2 and all are finite."""
    features = _rows("features", features)
    return Stats(features.mean(0), np.atleast_2d(np.cov(features, rowvar=False)), len(features))


def frechet(a: Stats, b: Stats) -> float:
    """Frechet distance ||m_a - m_b||^2 + tr(S_a + S_b - 2 (S_a^1/2 S_b S_a^1/2)^1/2) (Heusel et al. 2017).

    The trace comes from the eigenvalues of the symmetric product, clipped at 0: no imaginary part can arise.
    Compare distances only at the same n: the same-distribution floor is about c/n (see `halves`).
    Raises ValueError if d differs or if a covariance is rank-deficient (n < d + 1).
    """
    if len(a.mean) != len(b.mean):
        raise ValueError(f"a and b must share one extractor, got d = {len(a.mean)} and d = {len(b.mean)}.")
    for stats in (a, b):
        _require_full_rank(stats.n, len(stats.mean))
    scale, axes = np.linalg.eigh(a.cov)
    root = (axes * np.sqrt(scale.clip(0))) @ axes.T
    eigenvalues = np.linalg.eigvalsh(root @ b.cov @ root)
    mean_term = np.sum((a.mean - b.mean) ** 2)
    cov_term = np.trace(a.cov) + np.trace(b.cov) - 2 * np.sqrt(eigenvalues.clip(0)).sum()
    return float(max(0.0, mean_term + cov_term))


def kid(x: np.ndarray, y: np.ndarray, block: int = 256) -> float:
    """Kernel distance: unbiased squared MMD between features (M, d) and (N, d) with kernel (x.y/d + 1)^3.

    Every pair is used instead of random subsets (Binkowski et al. 2018), `block` rows at a time, so memory is
    block * max(M, N) floats. Unbiased at any n, hence slightly negative for equal distributions.
    Raises ValueError unless both sets have d columns and at least 2 rows.
    """
    x, y = _pair("x", x, "y", y)
    m, n = len(x), len(y)
    within_x, within_y = _kernel_within(x, block) / (m * (m - 1)), _kernel_within(y, block) / (n * (n - 1))
    return within_x + within_y - 2 * _kernel_sum(x, y, block) / (m * n)


def kid_test(x: np.ndarray, y: np.ndarray, seed: int, permutations: int = 500) -> float:
    """p-value of "both sets come from one distribution": the share of relabelled pools whose KID is as large (Gretton et
    al., JMLR 2012), the observed labelling counted among them.

    Equal n on both sides, at most 2000: the kernel matrix of the pool is kept. Raises ValueError otherwise.
    """
    x, y = _pair("x", x, "y", y)
    n = len(x)
    if len(y) != n or n > 2000:
        raise ValueError(f"x and y must have equal n of at most 2000 for the test, got {n} and {len(y)}: subsample.")
    pool = torch.cat([x, y])
    kernel = (pool @ pool.T / pool.shape[1] + 1).pow(3).fill_diagonal_(0)
    rng = np.random.default_rng(seed)
    orders = [np.arange(2 * n), *(rng.permutation(2 * n) for _ in range(permutations))]
    signs = torch.ones(2 * n, len(orders), dtype=kernel.dtype)
    for column, order in enumerate(orders):
        signs[order[n:], column] = -1
    # With labels of plus and minus one, s'Ks is the sum within the two sets minus that between them; the estimator weighs
    # these by 1 / (n (n - 1)) and 1 / n².
    signed, total = (signs * (kernel @ signs)).sum(0), kernel.sum()
    within, between = (total + signed) / 2, (total - signed) / 2
    values = within / (n * (n - 1)) - between / n**2
    return float((values >= values[0] - 1e-12 * abs(values[0])).double().mean())


def frechet_interval(x: np.ndarray, y: np.ndarray, blocks: int = 20, confidence: float = 0.95) -> Interval:
    """Frechet distance of features (N, d) and (M, d) with a jackknife interval: both sets lose one block at a time.

    It covers the distance that this n gives on average, not the one of infinite n. The percentile bootstrap would not even
    hold the estimate itself, since resampling adds the bias once more. Raises ValueError as ``frechet``.
    """
    whole = frechet(statistics(x), statistics(y))
    left = [frechet(*pair) for pair in zip(_leaving_out(x, blocks), _leaving_out(y, blocks), strict=True)]
    deviation = sqrt((blocks - 1) * np.var(left))
    reach = float(stdtrit(blocks - 1, (1 + confidence) / 2)) * deviation
    return Interval(whole, max(0.0, whole - reach), whole + reach)


def _leaving_out(features: np.ndarray, blocks: int) -> list[Stats]:
    """Statistics of features (N, d) without each of so many blocks of rows, from sums over the blocks."""
    features = _rows("features", features)
    centre = features.mean(0)  # taken off first, so that nothing cancels in the sums
    parts = np.array_split(features - centre, blocks)
    sums, products = (np.stack([turn(part) for part in parts]) for turn in (lambda p: p.sum(0), lambda p: p.T @ p))
    found = []
    for part, lost, lost_products in zip(parts, sums, products, strict=True):
        n = len(features) - len(part)
        mean = (sums.sum(0) - lost) / n
        cov = (products.sum(0) - lost_products - n * np.outer(mean, mean)) / (n - 1)
        found.append(Stats(centre + mean, cov, n))
    return found


def frechet_infinity(x: np.ndarray, y: np.ndarray, seed: int, sizes: int = 8) -> float:
    """Frechet distance extrapolated to infinite n: the intercept of a line through FD_n against 1 / n (Chong & Forsyth,
    CVPR 2020), n from a quarter of the smaller set to all of it, the same for both. May be slightly negative.

    Raises ValueError as ``frechet`` where a quarter is too small for a covariance of full rank.
    """
    rng = np.random.default_rng(seed)
    most = min(len(x), len(y))
    counts = np.linspace(most // 4, most, sizes).astype(int)
    distances = []
    for n in counts:
        pairs = [[side[rng.choice(len(side), n, replace=False)] for side in (x, y)] for _ in range(most // n)]
        distances.append(np.mean([frechet(statistics(a), statistics(b)) for a, b in pairs]))
    return float(np.polyfit(1 / counts, distances, 1)[1])


def _kernel_sum(x: Tensor, y: Tensor, block: int) -> float:
    one = torch.ones(1, dtype=x.dtype)
    return sum(torch.addmm(one, rows / x.shape[1], y.T).pow_(3).sum().item() for rows in x.split(block))


def _kernel_within(x: Tensor, block: int) -> float:
    """The kernel summed over all ordered pairs of different rows, each pair of blocks made once."""
    total = 0.0
    for start in range(0, len(x), block):
        rows, later = x[start : start + block], x[start + block :]
        total += _kernel_sum(rows, rows, block) - _kernel_diagonal(rows) + 2 * _kernel_sum(rows, later, block)
    return total


def _kernel_diagonal(x: Tensor) -> float:
    return (x.square().mean(1) + 1).pow(3).sum().item()


def prdc(real: np.ndarray, fake: np.ndarray, k: int = 5, block: int = 1024) -> dict[str, float]:
    """Precision, recall (Kynkaanniemi et al. 2019), density, coverage (Naeem et al. 2020) from k-NN balls.

    Features are (N, d) each, with equal N because recall and coverage grow with it; density may exceed 1.
    Distances are formed `block` rows at a time. Raises ValueError if the sizes differ or N <= k.
    """
    real, fake = _pair("real", real, "fake", fake)
    if len(real) != len(fake) or len(real) <= k:
        raise ValueError(f"real and fake must have equal n > {k}, got {len(real)} and {len(fake)}: subsample one.")
    real_radii, fake_radii = _neighbour_radii(real, k, block), _neighbour_radii(fake, k, block)
    balls_around_fake = torch.zeros(len(fake))
    covered = recalled = 0
    for rows, radii in zip(real.split(block), real_radii.split(block), strict=True):
        distances = torch.cdist(rows, fake)
        inside = distances < radii[:, None]
        balls_around_fake += inside.sum(0)
        covered += inside.any(1).sum().item()
        recalled += (distances < fake_radii).any(1).sum().item()
    return {
        "precision": (balls_around_fake > 0).double().mean().item(),
        "recall": recalled / len(real),
        "density": balls_around_fake.double().mean().item() / k,
        "coverage": covered / len(real),
    }


def _neighbour_radii(x: Tensor, k: int, block: int) -> Tensor:
    """Distance of each row to its k-th nearest other row (rank k + 1, since a row is its own nearest)."""
    return torch.cat([torch.cdist(rows, x).topk(k + 1, largest=False).values[:, -1] for rows in x.split(block)])


def halves(features: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two disjoint random halves (N // 2, d) of one sample: their distance is a metric's floor at N // 2.

    The floor belongs to that sample size: print it next to distances measured with N // 2 images per side.
    """
    order = np.random.default_rng(seed).permutation(len(features))
    middle = len(features) // 2
    return features[order[:middle]], features[order[middle : 2 * middle]]


def _rows(name: str, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(f"{name} must be a finite (N >= 2, d) array, got shape {values.shape}: flatten each image.")
    return values


def _pair(x_name: str, x: np.ndarray, y_name: str, y: np.ndarray) -> tuple[Tensor, Tensor]:
    # Copied because torch takes neither read-only nor reversed NumPy arrays.
    x, y = (torch.from_numpy(_rows(name, values).copy()) for name, values in ((x_name, x), (y_name, y)))
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"{x_name} and {y_name} must share one extractor, got d = {x.shape[1]} and {y.shape[1]}.")
    return x, y


def _require_full_rank(n: int, d: int) -> None:
    if n < d + 1:
        raise ValueError(
            f"n = {n} images cannot give a full-rank covariance of d = {d} features: "
            f"use at least {d + 1} images, or KID, which is unbiased at any n."
        )


# --- Attributes: what else moved --------------------------------------------------------------------------------


def divergence(before: np.ndarray, after: np.ndarray) -> float:
    """KL(before || after) in nats between the frequencies of codes, (N,) and (M,) of any hashable kind; half a count is
    added to each code that either set has, so that a code which vanished does not make it infinite."""
    kinds, where = np.unique(np.concatenate([before, after]), return_inverse=True)
    counts = [np.bincount(part, minlength=len(kinds)) + 0.5 for part in (where[: len(before)], where[len(before) :])]
    p, q = (count / count.sum() for count in counts)
    return float((p * np.log(p / q)).sum())


def attribute_divergences(before: dict, after: dict) -> dict[tuple[str, ...], float]:
    """``divergence`` of every attribute and of every pair of attributes, by their names, after SaD and PaD of Kim et al.
    (ICML 2024). before, after: name -> codes (N,). Deviation: a classifier's codes in place of CLIP similarities."""
    names = sorted(before)
    found = {(name,): divergence(before[name], after[name]) for name in names}
    for i, first in enumerate(names):
        base = int(max(before[first].max(), after[first].max())) + 1
        for second in names[i + 1 :]:
            pairs = (side[first].astype(int) + base * side[second].astype(int) for side in (before, after))
            found[first, second] = divergence(*pairs)
    return found


def attribute_dependency(before: np.ndarray, after: np.ndarray, target: int) -> float:
    """How much the other attributes change for each unit that the target changes: mean |Δl_i| / σ_i over images and i ≠ t,
    divided by the mean |Δl_t| / σ_t (Wu et al., CVPR 2021). before, after: a classifier's logits (N, k) of the same
    latents. Raises ValueError when the target does not change at all."""
    change = np.abs(after - before) / before.std(0).clip(1e-9)
    own, others = change[:, target].mean(), np.delete(change, target, 1).mean()
    if own == 0:
        raise ValueError("the target's logit is the same before and after: attribute dependency is not defined.")
    return float(others / own)


# --- Paired preservation: x = G_0(z) against y = G_theta(z) for the same z ----------------------------------


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference per image: (N, ...) x 2 -> (N,), in [0, 2] for images in [-1, 1]."""
    _require_same_shape(x, y)
    return (x - y).abs().flatten(1).mean(1)


def ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    """Multi-scale structural similarity per image: (N, C, H, W) in [-1, 1] x 2 -> (N,) in [0, 1].

    Wang, Simoncelli & Bovik 2003 with the usual 11-tap Gaussian window (sigma 1.5), differentiable.
    The pyramid is fitted to the image: s scales need a side above 10 * 2^(s-1), that is 2 scales for 28 or 32
    pixels, 3 for 64 and 5 above 160; the first s standard weights are renormalised to sum to 1.
    Written out here because `pytorch_msssim` refuses sides up to 160; equal to it above.
    Raises ValueError for different shapes or sides of 10 pixels or less.
    """
    _require_same_shape(x, y)
    weights = _scale_weights(min(x.shape[-2:])).to(x)
    x, y = x + 1, y + 1
    factors = []
    for _ in weights[1:]:
        factors.append(_similarity(x, y)[1])
        x, y = (F.avg_pool2d(image, 2, padding=[side % 2 for side in image.shape[2:]]) for image in (x, y))
    factors.append(_similarity(x, y)[0])
    return (torch.stack(factors).relu() ** weights[:, None, None]).prod(0).mean(1)


def _scale_weights(side: int) -> Tensor:
    scales = sum(side > 10 * 2**s for s in range(len(MS_SSIM_WEIGHTS)))
    if scales == 0:
        raise ValueError(f"x must be larger than 10 pixels on each side for MS-SSIM, got {side}: upsample it first.")
    weights = torch.tensor(MS_SSIM_WEIGHTS[:scales])
    return weights / weights.sum()


def _similarity(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM and its contrast-structure factor per image and channel, each (N, C), for values in [0, 2]."""
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    mean_x, mean_y, xx, yy, xy = _blur(torch.cat([x, y, x * x, y * y, x * y])).chunk(5)
    contrast = (2 * (xy - mean_x * mean_y) + c2) / (xx - mean_x**2 + yy - mean_y**2 + c2)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return (luminance * contrast).mean((2, 3)), contrast.mean((2, 3))


def _blur(x: Tensor) -> Tensor:
    """Gaussian average of every full 11 x 11 window, by matrix products: faster than convolution."""
    height, width = x.shape[-2:]
    return _windows(height).to(x) @ x @ _windows(width).to(x).T


def _windows(side: int) -> Tensor:
    """Weights (side - 10, side) of the 11-tap Gaussian (sigma 1.5) at each of its positions along a side."""
    offset = torch.arange(side, dtype=torch.float64) - torch.arange(5, side - 5)[:, None]
    weights = torch.exp(-(offset**2) / (2 * 1.5**2)) * (offset.abs() <= 5)
    return weights / weights.sum(1, keepdim=True)


def feature_cosine(fx: np.ndarray, fy: np.ndarray) -> np.ndarray:
    """Cosine similarity of matching rows: features (N, d) x 2 -> (N,) in [-1, 1], 0 for an all-zero row."""
    fx, fy = np.asarray(fx, np.float64), np.asarray(fy, np.float64)
    _require_same_shape(fx, fy)
    norms = np.linalg.norm(fx, axis=1) * np.linalg.norm(fy, axis=1)
    return np.divide((fx * fy).sum(1), norms, out=np.zeros(len(fx)), where=norms > 0)


def mean_interval(values: Sequence[float] | np.ndarray | Tensor) -> Interval:
    """Mean of (N,) independent values with its 95 % Student t interval. Raises ValueError if N < 2."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"values must be one-dimensional with at least 2 entries, got shape {values.shape}.")
    half = float(stdtrit(len(values) - 1, 0.975)) * values.std(ddof=1) / sqrt(len(values))
    return Interval(float(values.mean()), float(values.mean() - half), float(values.mean() + half))


class Band(NamedTuple):
    """Mean of a quantity over the n latents whose distance d from the threshold has low <= d < high."""

    low: float
    high: float
    interval: Interval
    n: int


def by_distance(values: np.ndarray, distance: np.ndarray, edges: Sequence[float]) -> list[Band]:
    """Preservation profile: mean of values (N,) in bands of signed distance (N,) = projection - threshold.

    Bands are half-open, so distance 0 (which the edit treats as positive) opens the band above the threshold.
    Over-unlearning at e is the one band `by_distance(values, distance, [-e, 0])`: feature-free but close.
    Values outside the edges are left out; a band with fewer than 2 values has a NaN interval.
    Raises ValueError if lengths differ or the edges do not increase.
    """
    values, distance = np.asarray(values, np.float64), np.asarray(distance, np.float64)
    _require_same_shape(values, distance)
    if len(edges) < 2 or not np.all(np.diff(edges) > 0):
        raise ValueError(f"edges must be at least 2 increasing numbers, got {list(edges)}.")
    return [_band(values[(low <= distance) & (distance < high)], low, high) for low, high in pairwise(edges)]


def _band(values: np.ndarray, low: float, high: float) -> Band:
    interval = mean_interval(values) if len(values) >= 2 else Interval(np.nan, np.nan, np.nan)
    return Band(float(low), float(high), interval, len(values))


def _require_same_shape(x: Tensor | np.ndarray, y: Tensor | np.ndarray) -> None:
    if x.shape != y.shape:
        raise ValueError(f"x and y must be paired and of equal shape, got {tuple(x.shape)} and {tuple(y.shape)}.")


# --- FID on Inception features (the only functions that see a model) ----------------------------------------


def inception_network(weights: Path, device: torch.device | str) -> nn.Module:
    """The FID Inception network of pytorch-fid from a local file: (N, 3, 299, 299) in [-1, 1] -> (N, 2048).

    torchvision's Inception with pytorch-fid's patched pooling blocks, put together here because pytorch-fid's
    own constructor downloads. Raises FileNotFoundError if the file is missing.
    """
    # Here: importing these takes two seconds, and few stages need them.
    from pytorch_fid.inception import FIDInceptionA, FIDInceptionC, FIDInceptionE_1, FIDInceptionE_2
    from torchvision.models import inception_v3

    if not Path(weights).is_file():
        raise FileNotFoundError(f"{weights} is missing: put pytorch-fid's {INCEPTION_WEIGHTS.name} at {INCEPTION_WEIGHTS}.")
    network = inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
    network.Mixed_5b = FIDInceptionA(192, pool_features=32)
    network.Mixed_5c = FIDInceptionA(256, pool_features=64)
    network.Mixed_5d = FIDInceptionA(288, pool_features=64)
    network.Mixed_6b = FIDInceptionC(768, channels_7x7=128)
    network.Mixed_6c = FIDInceptionC(768, channels_7x7=160)
    network.Mixed_6d = FIDInceptionC(768, channels_7x7=160)
    network.Mixed_6e = FIDInceptionC(768, channels_7x7=192)
    network.Mixed_7b = FIDInceptionE_1(1280)
    network.Mixed_7c = FIDInceptionE_2(2048)
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    network.fc = nn.Identity()
    return network.eval().requires_grad_(False).to(device)


@torch.no_grad()
def inception_features(images: Tensor, network: nn.Module, batch: int = 50) -> np.ndarray:
    """Pool features (N, 2048) of images (N, 1 or 3, H, W) in [0, 1]; gray is repeated to 3 channels.

    Resized to 299 pixels bilinearly without antialiasing, as pytorch-fid does (unlike clean-fid).
    Raises ValueError for other channel counts or values outside [0, 1].
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or images.min() < 0 or images.max() > 1:
        raise ValueError("images must be (N, 1 or 3, H, W) in [0, 1]: map images in [-1, 1] with (x + 1) / 2.")
    device = next(network.parameters()).device
    features = []
    for part in images.split(batch):
        part = part.to(device).expand(-1, 3, -1, -1)
        part = F.interpolate(part, size=(299, 299), mode="bilinear", align_corners=False)
        features.append(network(2 * part - 1).cpu().numpy())
    return np.concatenate(features)


def fid_inception(images_a: Tensor, images_b: Tensor, weights: Path, device: torch.device | str, batch: int = 50) -> float:
    """FID of two sets of images (N, 1 or 3, H, W) in [0, 1] by pytorch-fid's network and preprocessing.

    Not advised as the headline on digits (pytorch-fid's own author says so): use domain features there.
    Raises FileNotFoundError without the weights file, ValueError for fewer than 2049 images on a side.
    """
    network = inception_network(weights, device)
    for images in (images_a, images_b):
        _require_full_rank(len(images), INCEPTION_FEATURES)
    a, b = (statistics(inception_features(images, network, batch)) for images in (images_a, images_b))
    return frechet(a, b)
