"""A linear judge: the penalised solution it claims to be, honest out of sample, whole on disk."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeClassifier

from lib import linear_judge
from lib.linear_judge import cross_validate, fit
from lib.metrics import rogan_gladen

CPU = torch.device("cpu")


def samples(n=200, d=400, signal=1.0, seed=0):
    """Features with more dimensions than samples, of uneven scale; the first 20 tell a fifth of the samples apart."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 5 == 0
    features = rng.standard_normal((n, d))
    features[:, :20] += signal * labels[:, None]
    return (features * rng.uniform(0.1, 10, d) + 3).astype(np.float32), labels


def test_it_is_the_ridge_regression_of_standardised_features(monkeypatch):
    monkeypatch.setattr(linear_judge, "PENALTIES", np.array([0.1]))
    features, labels = samples(n=80, d=120)
    standard = (features - features.mean(0)) / features.std(0) / features.shape[1] ** 0.5
    direct = RidgeClassifier(alpha=0.1).fit(standard, labels)
    found, expected = fit(features, labels)(torch.from_numpy(features)).numpy(), direct.decision_function(standard)
    np.testing.assert_allclose(found - found.mean(), expected - expected.mean(), atol=1e-4)


def test_its_threshold_says_yes_as_often_as_the_labels_even_where_it_is_unsure():
    features, labels = samples(signal=0.3, n=400)
    found = cross_validate(features, labels)
    assert 0.14 < (found.logits > 0).mean() < 0.27  # a fifth is labelled
    assert found.errors().sensitivity < 0.8


def test_a_signal_is_found_out_of_sample_and_noise_is_not():
    assert cross_validate(*samples(signal=1.0)).auc > 0.9
    assert 0.3 < cross_validate(*samples(signal=0.0)).auc < 0.7


def test_errors_are_counted_at_the_threshold_and_serve_the_correction():
    found = cross_validate(*samples(signal=1.0))
    errors = found.errors()
    assert (errors.positives, errors.negatives) == (40, 160)
    assert errors.true_positives == sum(found.logits[found.labels] > 0)
    assert found.errors(-1e9)[::2] == (40, 160)  # says yes to everything
    said = int((found.logits > 0).sum())
    assert rogan_gladen(said, 200, errors).value == pytest.approx(0.2)


def test_the_same_seed_gives_the_same_judge():
    features, labels = samples()
    assert torch.equal(fit(features, labels, 1).weight, fit(features, labels, 1).weight)


def test_it_passes_gradients():
    features, labels = samples()
    judge = fit(features, labels)
    x = torch.from_numpy(features).requires_grad_()
    judge(x).sum().backward()
    torch.testing.assert_close(x.grad[0], judge.weight)


def test_too_few_labels_of_a_kind_are_refused():
    features, _ = samples(n=50)
    with pytest.raises(ValueError, match="labels must hold at least 10 samples with the feature"):
        fit(features, np.arange(50) < 9)


@pytest.mark.parametrize("positives", [10, 12])
def test_too_few_labels_to_leave_a_fifth_out_are_refused_before_any_fit(positives):
    features, _ = samples(n=50)
    with pytest.raises(ValueError, match=f"at least 13 samples with the feature and as many without, not {positives} and"):
        cross_validate(features, np.arange(50) < positives)


def test_thirteen_of_a_kind_are_enough():
    features, _ = samples(n=50)
    assert cross_validate(features, np.arange(50) < 13).logits.shape == (50,)
