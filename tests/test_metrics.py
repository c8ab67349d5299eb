"""Known answers first, then parity with public implementations, invariances and refusals."""

import numpy as np
import pytest
import pytorch_fid.inception
import pytorch_msssim
import torch
from prdc import compute_prdc
from pytorch_fid.fid_score import calculate_frechet_distance
from sklearn.metrics import cohen_kappa_score
from torchmetrics.image.kid import poly_mmd
from torchvision.models import inception_v3

from lib import metrics
from lib.metrics import Errors, Interval, Stats


def normal(n: int, d: int, seed: int, shift: float = 0.0) -> np.ndarray:
    mixing = np.random.default_rng(1000 + d).standard_normal((d, d)) / np.sqrt(d)
    return np.random.default_rng(seed).standard_normal((n, d)) @ mixing + shift


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Many small operations on a shared machine spend their time in thread barriers otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def images(n: int, side: int, seed: int, channels: int = 1) -> torch.Tensor:
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


# --- Ratio --------------------------------------------------------------------------------------------------


def test_wilson_matches_the_hand_calculation():
    # 10 of 100: centre (0.1 + 0.019208) / 1.038416, half width 1.96 sqrt(0.0009 + 0.00009604) / 1.038416
    assert metrics.wilson(10, 100) == pytest.approx((0.1, 0.055229, 0.174367), abs=1e-6)


def test_wilson_with_no_hits_has_the_closed_form_upper_end():
    assert metrics.wilson(0, 10_000) == pytest.approx((0, 0, 1.96**2 / (10_000 + 1.96**2)))
    assert metrics.wilson(0, 128).high == pytest.approx(0.0291, abs=1e-4)
    assert metrics.wilson(128, 128).high == 1


JUDGE = Errors(950, 1000, 30, 1000)


@pytest.mark.parametrize(("hits", "expected"), [(300, 0.0), (500, 0.02 / 0.92), (100, 0.0), (9800, 1.0)])
def test_rogan_gladen_corrects_the_ratio(hits: int, expected: float):
    corrected = metrics.rogan_gladen(hits, 10_000, JUDGE)
    assert corrected.value == pytest.approx(expected, abs=1e-12)
    assert 0 <= corrected.low <= corrected.value <= corrected.high <= 1


def test_rogan_gladen_with_a_certain_judge_is_the_plain_ratio():
    corrected = metrics.rogan_gladen(3000, 10_000, Errors(10**9, 10**9, 0, 10**9))
    assert corrected == pytest.approx(metrics.wilson(3000, 10_000), abs=1e-6)


def test_rogan_gladen_interval_matches_the_delta_method_for_large_counts():
    # ratio 0.5, TPR 0.9, FPR 0.1, so p = 0.5; both judge terms are p^2 0.09 / 10^5
    deviation = np.sqrt(0.25 / 10**6 + 2 * 0.25 * 0.09 / 10**5) / 0.8
    corrected = metrics.rogan_gladen(500_000, 10**6, Errors(90_000, 10**5, 10_000, 10**5))
    assert corrected.value == pytest.approx(0.5)
    assert (corrected.high - corrected.low) / 2 == pytest.approx(1.96 * deviation, rel=1e-3)


def test_rogan_gladen_interval_widens_when_the_judge_is_less_certain():
    wide = metrics.rogan_gladen(2000, 10_000, Errors(95, 100, 3, 100))
    narrow = metrics.rogan_gladen(2000, 10_000, Errors(9500, 10_000, 300, 10_000))
    assert wide.value == pytest.approx(narrow.value)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


@pytest.mark.parametrize(("truth", "tpr", "fpr"), [(0.001, 0.99, 0.001), (0.02, 0.95, 0.03), (0.3, 0.9, 0.1)])
def test_rogan_gladen_interval_covers_the_truth(truth: float, tpr: float, fpr: float):
    rng = np.random.default_rng(0)
    called, hits = truth * tpr + (1 - truth) * fpr, 0
    for _ in range(2000):
        judge = Errors(rng.binomial(1000, tpr), 1000, rng.binomial(4000, fpr), 4000)
        interval = metrics.rogan_gladen(rng.binomial(5000, called), 5000, judge)
        hits += interval.low <= truth <= interval.high
    assert 0.935 <= hits / 2000 <= 0.995


def test_resolvable_is_limited_by_n_and_by_the_judge():
    perfect, real = Errors(10_000, 10_000, 0, 10_000), Errors(9900, 10_000, 50, 10_000)
    assert metrics.resolvable(10_000, perfect) < 5e-4
    assert metrics.resolvable(128, perfect) > 0.02
    assert metrics.resolvable(10_000, perfect) < metrics.resolvable(10_000, real)
    assert metrics.resolvable(10_000, real) == pytest.approx(metrics.rogan_gladen(50, 10_000, real).high)


def test_impossible_counts_and_useless_judges_are_refused():
    with pytest.raises(ValueError, match="hits must lie between 0 and n"):
        metrics.wilson(11, 10)
    with pytest.raises(ValueError, match="hits must lie between 0 and n"):
        metrics.wilson(0, 0)
    with pytest.raises(ValueError, match=r"judge\.true_positives"):
        metrics.rogan_gladen(1, 10, Errors(11, 10, 0, 10))
    with pytest.raises(ValueError, match=r"sensitivity \+ specificity > 1"):
        metrics.rogan_gladen(1, 10, Errors(30, 100, 70, 100))


# --- Inception score ----------------------------------------------------------------------------------------


def test_inception_score_closed_forms():
    assert metrics.inception_score(np.tile(np.eye(10), (3, 1))) == pytest.approx(10)
    assert metrics.inception_score(np.full((7, 4), 0.25)) == pytest.approx(1)


def test_inception_score_matches_the_hand_calculation():
    probs = np.array([[0.9, 0.1], [0.2, 0.8]])  # marginal (0.55, 0.45)
    first = 0.9 * np.log(0.9 / 0.55) + 0.1 * np.log(0.1 / 0.45)
    second = 0.2 * np.log(0.2 / 0.55) + 0.8 * np.log(0.8 / 0.45)
    assert metrics.inception_score(probs) == pytest.approx(np.exp((first + second) / 2))


def test_logits_are_refused_as_probabilities():
    with pytest.raises(ValueError, match="apply softmax"):
        metrics.inception_score(np.array([[2.0, -1.0], [0.0, 3.0]]))


# --- Frechet ------------------------------------------------------------------------------------------------


def test_frechet_of_equal_covariances_is_the_squared_mean_difference():
    cov = np.cov(normal(500, 6, 0), rowvar=False)
    a, b = Stats(np.zeros(6), cov, 500), Stats(np.arange(6.0), cov, 500)
    assert metrics.frechet(a, b) == pytest.approx(55)
    assert metrics.frechet(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_in_one_dimension():
    a, b = Stats(np.array([1.0]), np.array([[4.0]]), 9), Stats(np.array([3.0]), np.array([[25.0]]), 9)
    assert metrics.frechet(a, b) == pytest.approx((1 - 3) ** 2 + (2 - 5) ** 2)


def test_frechet_of_commuting_covariances_is_the_difference_of_deviations():
    a, b = Stats(np.zeros(3), np.diag([1.0, 4, 9]), 9), Stats(np.zeros(3), np.diag([4.0, 4, 1]), 9)
    assert metrics.frechet(a, b) == pytest.approx(1 + 0 + 4)


@pytest.mark.parametrize(("d", "n"), [(8, 200), (64, 2000), (100, 150)])
def test_frechet_agrees_with_pytorch_fid(d: int, n: int):
    a = metrics.statistics(normal(n, d, 1))
    b = metrics.statistics(1.3 * normal(n, d, 2, shift=0.1))
    reference = calculate_frechet_distance(a.mean, a.cov, b.mean, b.cov)
    assert metrics.frechet(a, b) == pytest.approx(reference, rel=1e-4)


def test_statistics_ignore_row_order_and_input_precision():
    features = normal(400, 5, 3).astype(np.float32)
    mean, cov, n = metrics.statistics(features)
    shuffled = metrics.statistics(np.random.default_rng(0).permutation(features))
    np.testing.assert_allclose(mean, shuffled.mean, atol=1e-12)
    np.testing.assert_allclose(cov, shuffled.cov, atol=1e-12)
    assert n == 400
    assert mean.dtype == cov.dtype == np.float64


def test_frechet_refuses_rank_deficient_covariances():
    small, enough = metrics.statistics(normal(16, 16, 0)), metrics.statistics(normal(17, 16, 1))
    assert metrics.frechet(enough, enough) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match=r"n = 16 .* d = 16 .* at least 17 images"):
        metrics.frechet(enough, small)
    with pytest.raises(ValueError, match="share one extractor"):
        metrics.frechet(enough, metrics.statistics(normal(30, 4, 0)))


def test_statistics_refuse_images_and_non_finite_features():
    with pytest.raises(ValueError, match="features must be a finite"):
        metrics.statistics(np.zeros((4, 1, 8, 8)))
    with pytest.raises(ValueError, match="features must be a finite"):
        metrics.statistics(np.array([[1.0, np.nan], [0, 1]]))


def test_halves_are_disjoint_seeded_and_give_the_floor():
    features = normal(4001, 4, 5)
    a, b = metrics.halves(features, seed=0)
    assert len(a) == len(b) == 2000
    assert len(np.unique(np.concatenate([a, b]), axis=0)) == 4000
    np.testing.assert_array_equal(a, metrics.halves(features, seed=0)[0])
    assert not np.array_equal(a, metrics.halves(features, seed=1)[0])
    floor = metrics.frechet(metrics.statistics(a), metrics.statistics(b))
    assert 0 < floor < 0.02 < metrics.frechet(metrics.statistics(a), metrics.statistics(b + 1))


# --- KID ----------------------------------------------------------------------------------------------------


def test_kid_matches_the_hand_calculation():
    # d = 1, k(a, b) = (ab + 1)^3: within {0, 1} = 1, within {1, 2} = 27, across = (1 + 1 + 8 + 27) / 4
    assert metrics.kid(np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])) == pytest.approx(1 + 27 - 2 * 37 / 4)


def test_kid_agrees_with_torchmetrics():
    x, y = normal(700, 64, 1), normal(700, 64, 2, shift=0.3)
    reference = poly_mmd(torch.from_numpy(x), torch.from_numpy(y)).item()
    assert metrics.kid(x, y) == pytest.approx(reference, rel=1e-9)


def test_kid_ignores_blocks_order_and_precision_and_takes_unequal_sizes():
    x, y = normal(300, 8, 1), normal(211, 8, 2, shift=0.5)
    expected = metrics.kid(x, y)
    assert metrics.kid(x, y, block=7) == pytest.approx(expected, rel=1e-10)
    assert metrics.kid(y, x[::-1], block=64) == pytest.approx(expected, rel=1e-10)
    assert metrics.kid(x.astype(np.float32), y.astype(np.float32)) == pytest.approx(expected, rel=1e-4)


def test_kid_is_unbiased_for_equal_distributions():
    draws = [metrics.kid(normal(50, 4, 2 * seed), normal(50, 4, 2 * seed + 1)) for seed in range(200)]
    interval = metrics.mean_interval(draws)
    assert min(draws) < 0
    assert interval.low < 0 < interval.high


def test_kid_refuses_different_extractors():
    with pytest.raises(ValueError, match="x and y must share one extractor"):
        metrics.kid(normal(10, 4, 0), normal(10, 5, 0))


# --- Precision, recall, density, coverage -------------------------------------------------------------------


def test_prdc_of_far_apart_sets_is_zero_and_of_one_set_with_itself_is_one():
    x = normal(200, 4, 0)
    assert set(metrics.prdc(x, x + 1000).values()) == {0.0}
    same = metrics.prdc(x, x)
    assert same["precision"] == same["recall"] == same["coverage"] == 1


@pytest.mark.parametrize(("n", "d", "k"), [(500, 16, 5), (333, 64, 3)])
def test_prdc_agrees_with_the_reference_package(n: int, d: int, k: int):
    real, fake = normal(n, d, 1), 0.8 * normal(n, d, 2, shift=0.05)
    ours, reference = metrics.prdc(real, fake, k), compute_prdc(real, fake, k)
    assert ours == pytest.approx(reference, abs=1e-12)
    assert 0 < ours["recall"] < 1


def test_prdc_ignores_blocks_and_order():
    real, fake = normal(300, 8, 1), normal(300, 8, 2, shift=0.2)
    expected = metrics.prdc(real, fake)
    assert metrics.prdc(real, fake, block=17) == pytest.approx(expected)
    assert metrics.prdc(real[::-1], np.random.default_rng(0).permutation(fake)) == pytest.approx(expected)


def test_prdc_refuses_unequal_or_too_few_samples():
    with pytest.raises(ValueError, match="equal n > 5"):
        metrics.prdc(normal(20, 4, 0), normal(21, 4, 0))
    with pytest.raises(ValueError, match="equal n > 5"):
        metrics.prdc(normal(5, 4, 0), normal(5, 4, 0))


# --- Paired preservation ------------------------------------------------------------------------------------


def test_l1_is_the_mean_absolute_difference_of_each_image():
    x = torch.zeros(2, 1, 4, 4)
    y = torch.stack([torch.full((1, 4, 4), -0.5), torch.eye(4)[None]])
    torch.testing.assert_close(metrics.l1(x, y), torch.tensor([0.5, 0.25]))


@pytest.mark.parametrize("side", [11, 28, 32, 64, 128])
def test_ms_ssim_is_one_for_identical_images_and_falls_with_noise(side: int):
    x = images(3, side, 0)
    torch.testing.assert_close(metrics.ms_ssim(x, x), torch.ones(3))
    little = metrics.ms_ssim(x, x + 0.1 * images(3, side, 1))
    much = metrics.ms_ssim(x, x + 0.5 * images(3, side, 1))
    assert (little < 1).all()
    assert (little > much).all()
    assert (much > 0).all()


@pytest.mark.parametrize(("side", "scales"), [(20, 1), (28, 2), (32, 2), (64, 3), (128, 4), (161, 5), (256, 5)])
def test_ms_ssim_fits_its_scales_to_the_image(side: int, scales: int):
    weights = metrics._scale_weights(side)
    assert len(weights) == scales
    assert weights.sum().item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("side", "channels"), [(176, 1), (165, 3)])
def test_ms_ssim_agrees_with_pytorch_msssim(side: int, channels: int):
    x = images(2, side, 0, channels)
    y = (x + 0.4 * images(2, side, 1, channels)).clamp(-1, 1)
    weights = list(metrics._scale_weights(side))
    reference = pytorch_msssim.ms_ssim(x + 1, y + 1, data_range=2, size_average=False, weights=weights)
    torch.testing.assert_close(metrics.ms_ssim(x, y), reference, rtol=1e-4, atol=1e-5)


def test_one_scale_ms_ssim_agrees_with_pytorch_ssim():
    x, y = images(4, 20, 0), images(4, 20, 0) + 0.3 * images(4, 20, 1)
    reference = pytorch_msssim.ssim(x + 1, y + 1, data_range=2, size_average=False)
    torch.testing.assert_close(metrics.ms_ssim(x, y), reference, rtol=1e-4, atol=1e-5)


def test_ms_ssim_has_a_true_gradient():
    x = images(1, 22, 0).double()
    y = (x + 0.3 * images(1, 22, 1)).requires_grad_()
    assert torch.autograd.gradcheck(lambda image: metrics.ms_ssim(x, image), y, fast_mode=True)


@pytest.mark.parametrize("other", [lambda x: -x, torch.zeros_like, lambda x: x, lambda x: -torch.ones_like(x)])
def test_ms_ssim_gradient_is_finite_where_the_similarity_vanishes(other):
    x = images(4, 32, 0)
    y = other(x).clone().requires_grad_()
    metrics.ms_ssim(x, y).sum().backward()
    assert y.grad.isfinite().all()


def test_ms_ssim_scores_each_image_by_itself():
    x, y = images(5, 32, 0), images(5, 32, 1)
    y = 0.5 * (x + y)
    alone = torch.cat([metrics.ms_ssim(x[i : i + 1], y[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(metrics.ms_ssim(x, y), alone)


def test_unpaired_or_tiny_images_are_refused():
    with pytest.raises(ValueError, match="x and y must be paired"):
        metrics.l1(images(2, 8, 0), images(3, 8, 0))
    with pytest.raises(ValueError, match="larger than 10 pixels"):
        metrics.ms_ssim(images(2, 10, 0), images(2, 10, 0))


def test_feature_cosine_of_parallel_orthogonal_opposite_and_zero_rows():
    fx = np.array([[1.0, 0], [1, 0], [1, 1], [0, 0]])
    fy = np.array([[3.0, 0], [0, 2], [-2, -2], [1, 0]])
    np.testing.assert_allclose(metrics.feature_cosine(fx, fy), [1, 0, -1, 0], atol=1e-12)


def test_mean_interval_matches_the_hand_calculation():
    # mean 3, standard deviation sqrt(2.5), t(0.975; 4) = 2.776445
    half = 2.776445 * np.sqrt(2.5) / np.sqrt(5)
    assert metrics.mean_interval([1, 2, 3, 4, 5]) == pytest.approx((3, 3 - half, 3 + half), abs=1e-5)
    with pytest.raises(ValueError, match="at least 2 entries"):
        metrics.mean_interval([1.0])


def test_by_distance_averages_half_open_bands():
    distance = np.array([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 7.0])
    values = np.array([9.0, 1.0, 3.0, 10.0, 20.0, 5.0, 99.0])
    below, above, single = metrics.by_distance(values, distance, [-1, 0, 1, 2])
    assert (below.low, below.high, below.n) == (-1, 0, 2)
    assert below.interval.value == 2
    assert above.n == 2
    assert above.interval == metrics.mean_interval([10.0, 20.0])
    assert single.n == 1
    assert np.isnan(single.interval).all()
    assert isinstance(single.interval, Interval)


def test_by_distance_refuses_decreasing_edges_and_unpaired_values():
    with pytest.raises(ValueError, match="edges must be"):
        metrics.by_distance(np.zeros(3), np.zeros(3), [0, -1])
    with pytest.raises(ValueError, match="x and y must be paired"):
        metrics.by_distance(np.zeros(3), np.zeros(4), [0, 1])


# --- FID on Inception features ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory):
    """A file in the format of pytorch-fid's weights, made from a randomly initialised network."""
    torch.manual_seed(0)
    network = inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):  # keeps activations near 1: the default lets them underflow
            torch.nn.init.kaiming_normal_(layer.weight)
    path = tmp_path_factory.mktemp("inception") / metrics.INCEPTION_WEIGHTS.name
    torch.save(network.state_dict(), path)
    return path


def test_inception_features_agree_with_pytorch_fid(weights, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pytorch_fid.inception, "load_state_dict_from_url", lambda *_, **__: torch.load(weights))
    reference = pytorch_fid.inception.InceptionV3().eval()
    pixels = (images(2, 28, 0) + 1) / 2
    ours = metrics.inception_features(pixels, metrics.inception_network(weights, "cpu"), batch=1)
    expected = reference(pixels.repeat(1, 3, 1, 1))[0].flatten(1).numpy()
    assert ours.shape == (2, metrics.INCEPTION_FEATURES)
    assert ours.std() > 0
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)


def test_fid_inception_is_the_frechet_distance_of_the_features(weights, monkeypatch: pytest.MonkeyPatch):
    # Pixels stand in for the forward pass of 2 x 2049 images, which takes minutes on a CPU.
    monkeypatch.setattr(metrics, "inception_features", lambda batch, *_: batch.flatten(1).numpy())
    a, b = torch.rand(2049, 1, 2, 2), torch.rand(2049, 1, 2, 2) ** 2
    expected = metrics.frechet(metrics.statistics(a.flatten(1)), metrics.statistics(b.flatten(1)))
    assert metrics.fid_inception(a, b, weights, "cpu") == pytest.approx(expected)


def test_fid_inception_refuses_missing_weights_few_images_and_wrong_ranges(weights, tmp_path):
    few = torch.rand(4, 1, 28, 28)
    with pytest.raises(FileNotFoundError, match=r"data/pretrained/inception/pt_inception-2015-12-05-6726825d\.pth"):
        metrics.fid_inception(few, few, tmp_path / "absent.pth", "cpu")
    with pytest.raises(ValueError, match="at least 2049 images"):
        metrics.fid_inception(few, few, weights, "cpu")
    with pytest.raises(ValueError, match=r"map images in \[-1, 1\] with"):
        metrics.inception_features(few - 1, torch.nn.Identity())


# --- Tests and intervals of distances -------------------------------------------------------------------------


def white(n, d, seed, shift=0.0):
    return np.random.default_rng(seed).standard_normal((n, d)) + shift


def test_the_permutation_test_of_kid_agrees_with_relabelling_by_hand():
    x, y = white(6, 2, 0), white(6, 2, 1, 0.7)
    rng = np.random.default_rng(3)
    pool = np.concatenate([x, y])
    values = [metrics.kid(x, y)]
    for _ in range(40):
        order = rng.permutation(12)
        values.append(metrics.kid(pool[order[:6]], pool[order[6:]]))
    assert metrics.kid_test(x, y, 3, 40) == pytest.approx(np.mean(np.array(values) >= values[0] - 1e-9))


def test_the_permutation_test_sees_a_shift_and_holds_its_level():
    assert metrics.kid_test(white(200, 8, 0), white(200, 8, 1, 0.4), 0, 200) < 0.02
    same = [metrics.kid_test(white(60, 4, 2 * k), white(60, 4, 2 * k + 1), k, 60) for k in range(60)]
    assert np.mean(np.array(same) < 0.2) == pytest.approx(0.2, abs=0.15)
    with pytest.raises(ValueError, match="subsample"):
        metrics.kid_test(white(20, 4, 0), white(21, 4, 1), 0)


def test_the_jackknife_interval_covers_the_mean_distance_at_this_n():
    pairs = [(white(400, 4, 2 * k), white(400, 4, 2 * k + 1, 0.3)) for k in range(60)]
    intervals = [metrics.frechet_interval(x, y, 10) for x, y in pairs]
    centre = np.mean([interval.value for interval in intervals])
    covered = np.mean([interval.low <= centre <= interval.high for interval in intervals])
    assert covered > 0.85
    assert intervals[0].value == metrics.frechet(*map(metrics.statistics, pairs[0]))


def test_extrapolation_removes_the_bias_of_small_samples():
    x, y = white(2000, 16, 0), white(2000, 16, 1, 0.1)
    plug_in, truth = metrics.frechet(metrics.statistics(x), metrics.statistics(y)), 16 * 0.1**2
    assert plug_in > truth + 0.03
    assert metrics.frechet_infinity(x, y, 0) == pytest.approx(truth, abs=0.05)


def test_divergence_of_codes_by_hand():
    before, after = np.array([0, 0, 0, 1]), np.array([0, 1, 1, 1])
    p, q = np.array([3.5, 1.5]) / 5, np.array([1.5, 3.5]) / 5
    assert metrics.divergence(before, after) == pytest.approx(float((p * np.log(p / q)).sum()))
    assert metrics.divergence(before, before) == 0
    assert np.isfinite(metrics.divergence(np.zeros(10), np.ones(10)))


def test_pairs_see_what_single_attributes_do_not():
    rng = np.random.default_rng(0)
    a = rng.integers(0, 2, 4000)
    before = {"a": a, "b": rng.integers(0, 2, 4000)}
    after = {"a": a, "b": a}  # the same frequencies, but now b follows a
    found = metrics.attribute_divergences(before, after)
    assert found["a",] < 0.001
    assert found["b",] < 0.001
    assert found["a", "b"] > 0.5


def test_attribute_dependency_by_hand():
    before = np.array([[0.0, 0.0, 0.0], [2.0, 4.0, 2.0]])  # standard deviations 1, 2, 1
    after = before + np.array([3.0, 2.0, 0.0])
    assert metrics.attribute_dependency(before, after, 0) == pytest.approx((1 + 0) / 2 / 3)
    with pytest.raises(ValueError, match="not defined"):
        metrics.attribute_dependency(before, before, 0)


def test_the_jackknife_leaves_out_what_it_says():
    x = white(103, 3, 0) + 1e4  # far from the origin, where sums of squares cancel
    parts = np.array_split(np.arange(103), 20)
    for stats, lost in zip(metrics._leaving_out(x, 20), parts, strict=True):
        expected = metrics.statistics(np.delete(x, lost, 0))
        assert stats.n == expected.n
        np.testing.assert_allclose(stats.mean, expected.mean, rtol=1e-12)
        np.testing.assert_allclose(stats.cov, expected.cov, atol=1e-9)


# --- Agreement of judges --------------------------------------------------------------------------------------


def verdicts(both, first, second, neither):
    """Two judges' verdicts with so many images in each cell."""
    return np.repeat([True, True, False, False], [both, first, second, neither]), np.repeat(
        [True, False, True, False], [both, first, second, neither]
    )


def test_kappa_agrees_with_scikit_learn_and_is_symmetric():
    first, second = verdicts(40, 9, 6, 45)
    value, low, high = metrics.kappa(first, second)
    assert value == pytest.approx(cohen_kappa_score(first, second))
    assert metrics.kappa(second, first) == pytest.approx((value, low, high))
    assert low < value < high


def test_kappa_is_one_for_equal_and_minus_one_for_opposite_and_zero_for_independent_verdicts():
    half = np.arange(100) < 50
    assert metrics.kappa(half, half) == pytest.approx((1, 1, 1))
    assert metrics.kappa(half, ~half).value == pytest.approx(-1)
    assert metrics.kappa(*verdicts(4, 16, 16, 64)).value == pytest.approx(0)
    with pytest.raises(ValueError, match="kappa is not defined"):
        metrics.kappa(np.zeros(5, bool), np.zeros(5, bool))


def test_kappas_interval_is_the_spread_over_repeated_samples():
    rng, shares = np.random.default_rng(0), [0.12, 0.03, 0.05, 0.8]
    found = [metrics.kappa(*verdicts(*rng.multinomial(500, shares))) for _ in range(400)]
    half = np.mean([interval.high - interval.low for interval in found]) / 2
    assert half == pytest.approx(1.96 * np.std([interval.value for interval in found]), rel=0.12)
