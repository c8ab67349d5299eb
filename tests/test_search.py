"""The search: the same points for every method, and a score that says what it should of known outcomes."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from lib import report, search
from lib.evaluation import load_bench, see
from lib.latent import prior
from lib.methods import METHODS, Method
from lib.methods.task import load_task
from lib.models import sample
from lib.pipeline import load_profile, methods_of
from lib.runs import ROOT, read_rows


@pytest.fixture
def mnist_task():
    """The shipped GAN of digits, to unlearn thick strokes in no time, with what a method of it is scored by."""
    cell, device = ("smoke", "mnist", "gan", 0, "thick"), torch.device("cpu")
    bench = load_bench("smoke", "mnist", "thick", device)
    task = load_task(*cell, bench, 2, 8, device)
    z = prior(task.original, 300, 5)
    before = see(sample(task.original, z), bench)
    reference = before.reading.features[~before.exact][:200]
    return task, z, before, reference, bench


def test_all_methods_are_tried_at_the_same_points_but_for_their_pace_and_scale():
    one, ten = (search.trials(Method(None, scale), 6) for scale in (1.0, 10.0))
    assert [rate for rate, _ in one] == [rate for rate, _ in ten]
    slow = search.trials(Method(None, pace=3e-6), 6)
    assert [rate for rate, _ in slow] == pytest.approx([rate / 100 for rate, _ in one], rel=0.02)
    for (_, strength), (_, larger) in zip(one, ten, strict=True):
        assert larger == pytest.approx(10 * strength, rel=0.02)
    assert all(3e-5 <= rate <= 3e-3 for rate, _ in one)
    assert search.trials(Method(None), 3) == one[:3]


def test_the_first_points_halve_and_third_the_square():
    # Halton: 1/2, 1/4, 3/4 in base 2; 1/3, 2/3, 1/9 in base 3. Rates span two decades, as strengths do.
    rates, strengths = zip(*search.trials(Method(None), 3), strict=True)
    assert rates == pytest.approx([3e-5 * 10 ** (2 * x) for x in (1 / 2, 1 / 4, 3 / 4)], rel=0.05)
    assert strengths == pytest.approx([0.1 * 10 ** (2 * x) for x in (1 / 3, 2 / 3, 1 / 9)], rel=0.05)


def test_the_original_scores_one_and_a_trial_that_diverges_infinity(mnist_task):
    task, z, before, reference, bench = mnist_task
    idle = Method(lambda task: (copy.deepcopy(task.original), type("Curve", (), {"seconds": 0.0})))
    assert search.tried(task, idle, z, before, reference, bench)["score"] == pytest.approx(1)

    def diverges(task):
        raise FloatingPointError("loss became nan")

    row = search.tried(task, Method(diverges), z, before, reference, bench)
    assert row["score"] == np.inf
    rows = search.run(replace(task, steps=2), METHODS["exact"], 2, z, before, reference, bench)
    assert [row["trial"] for row in rows] == [0, 1]
    assert all(np.isfinite(row["score"]) for row in rows)


def test_rates_and_strengths_of_the_methods_are_those_of_the_best_published_trials():
    """Those of the paper's own edits stay where the published runs of all data sets have them."""
    rows = read_rows(ROOT / "results" / "methods" / "trials.csv")
    searched = {row["method"] for row in rows}
    assert searched == set(methods_of(load_profile("methods"), "mnist", "gan")) == set(METHODS)
    for name in searched - {"literal", "exact", "conditional", "sham"}:
        best = min((row for row in rows if row["method"] == name), key=lambda row: float(row["score"]))
        assert (METHODS[name].rate, METHODS[name].strength) == (float(best["rate"]), float(best["strength"])), name
    counts = {name: sum(row["method"] == name for row in rows) for name in searched}
    assert len(set(counts.values())) == 1


def test_the_table_of_the_best_trials_is_made_from_the_trials_alone(tmp_path):
    home = ROOT / "results" / "methods"
    report.write_table(tmp_path, "trials", report.best_trials(report.read_table(home / "trials.csv")))
    for name in ("trials.csv", "trials.md"):
        assert (tmp_path / name).read_bytes() == (home / "tables" / name).read_bytes()
