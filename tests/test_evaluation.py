"""Rows of evidence: distances and what they were read with, agreement, divergences, likeness, full size, attacks."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from lib import evaluation, features, metrics
from lib.avatars import draw
from lib.data import jpeg, to_float
from lib.domains import DOMAINS
from lib.evaluation import (
    agreement_rows,
    dependency_rows,
    distance_rows,
    divergence_rows,
    error_rows,
    full_size_rows,
    histogram_codes,
    independent_rows,
    likeness_rows,
)
from lib.judges import Reading, require_known
from lib.lite0 import load_lite0
from lib.metrics import Errors
from lib.report import attack_table, build_tables, read_table
from lib.runs import ROOT, shipped

DIGITS = DOMAINS["mnist"]


CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def faces():
    """Four cartoon faces (4, 3, 64, 64)."""
    return to_float(draw(4, 0).images)


def test_jpeg_changes_images_a_little_and_more_at_lower_quality(faces):
    change = [(jpeg(faces, quality) - faces).abs().mean() for quality in (95, 75, 5)]
    assert 0 < change[0] < change[1] < change[2]
    assert change[1] < 0.1


def test_likeness_is_one_for_the_same_images_and_falls_with_the_change(faces):
    seen = {"same": faces, "jpeg": jpeg(faces, 75), "others": faces.roll(1, 0)}
    rows = {row["method"]: row for row in likeness_rows(faces, seen, load_lite0(torch.device("cpu")))}
    assert rows["same"]["value"] == pytest.approx(1)
    assert rows["others"]["value"] < rows["jpeg"]["value"] < 1
    assert all(row["metric"] == "likeness" and row["n"] == 4 for row in rows.values())


def test_full_size_shares_are_those_of_the_two_judges():
    seen = SimpleNamespace(exact=np.array([True, False, False, False]), b=np.array([True, True, False, False]))
    exact, b = full_size_rows(seen)
    assert (exact["metric"], exact["value"], exact["n"]) == ("ratio exact, full size", 0.25, 4)
    assert (b["metric"], b["value"]) == ("ratio B, full size", 0.5)
    assert exact["low"] < 0.25 < exact["high"]


def test_a_feature_that_no_test_image_has_gives_no_false_negative_rate():
    assert [row["metric"] for row in error_rows(Errors(0, 0, 3, 40), "B")] == ["judge B false-positive rate"]
    rows = error_rows(Errors(9, 10, 3, 40), "B")
    assert [row["value"] for row in rows] == [0.1, 3 / 40]


def normal(n, d, seed, shift=0.0):
    return np.random.default_rng(seed).standard_normal((n, d)) + shift


def by_metric(rows):
    return {row["metric"]: row for row in rows}


def test_distances_carry_their_interval_and_what_they_were_read_with():
    x, y = normal(300, 4, 0), normal(250, 4, 1, 0.5)
    fd, kid = distance_rows(x, y, "feature-free", DIGITS, "ab" * 32)
    assert fd["metric"] == "FD-cnn64-n250 to feature-free"
    assert (fd["value"], fd["low"], fd["high"]) == metrics.frechet_interval(x[:250], y)
    assert 0 < fd["low"] < fd["value"] < fd["high"]
    assert (kid["metric"], kid["value"]) == ("KID-cnn64-n250 to feature-free", metrics.kid(x[:250], y))
    for row in (fd, kid):
        assert f"digit CNN features, d=4, 250 against 250, 32 px, sha256 {'ab' * 32}" in row["protocol"]


def test_a_distance_of_barely_enough_images_has_no_interval():
    (fd, _) = distance_rows(normal(21, 20, 0), normal(21, 20, 1), "feature-free", DIGITS, "ab" * 32)
    assert fd["value"] > 0
    assert (fd["low"], fd["high"]) == ("", "")
    assert "jackknife" not in fd["protocol"]


def test_independent_samples_of_one_distribution_are_not_told_apart_and_a_shift_is():
    bench = SimpleNamespace(domain=DIGITS, weights="cd" * 32)
    p, limit = independent_rows(normal(1200, 4, 0), normal(1200, 4, 1), "feature-free", 0, bench)
    assert (p["metric"], p["n"]) == ("KID p-cnn64-n1000 to feature-free", 1000)
    assert (limit["metric"], limit["n"]) == ("FD extrapolated-cnn64 to feature-free", 1200)
    assert p["value"] > 0.05
    assert abs(limit["value"]) < 0.02
    assert "1000 against 1000" in p["protocol"]
    p, limit = independent_rows(normal(1200, 4, 0), normal(1200, 4, 1, 0.5), "feature-free", 0, bench)
    assert p["value"] == pytest.approx(1 / 501)
    assert limit["value"] == pytest.approx(4 * 0.5**2, abs=0.15)


def test_too_few_images_are_tested_and_not_extrapolated():
    bench = SimpleNamespace(domain=DIGITS, weights="cd" * 32)
    (p,) = independent_rows(normal(30, 8, 0), normal(30, 8, 1), "feature-free", 0, bench)
    assert p["metric"] == "KID p-cnn64-n30 to feature-free"


def test_agreement_and_kappa_of_three_judges_by_hand():
    # Of ten images two judges flag 2 and 2, one of them in common: 8 of 10 agree, chance gives 0.04 + 0.64.
    exact, a = (np.isin(np.arange(10), flagged) for flagged in ([0, 1], [1, 2]))
    rows = by_metric(agreement_rows(SimpleNamespace(exact=exact, a=a, b=exact)))
    assert len(rows) == 6
    assert rows["agreement exact, A"]["value"] == 0.8
    assert rows["kappa exact, A"]["value"] == pytest.approx((0.8 - 0.68) / 0.32)
    assert rows["kappa exact, B"]["value"] == pytest.approx(1)
    assert rows["agreement A, B"]["value"] == rows["agreement exact, A"]["value"]


def test_judges_that_never_see_the_feature_agree_without_a_kappa():
    never = np.zeros(10, bool)
    rows = agreement_rows(SimpleNamespace(exact=never, a=never, b=never))
    assert [row["metric"] for row in rows] == ["agreement exact, A", "agreement exact, B", "agreement A, B"]
    assert all(row["value"] == 1 for row in rows)


def test_measures_are_coded_by_the_tenths_of_the_original():
    before = {"digit": np.arange(10.0), "thickness": np.arange(10.0)}
    coded = histogram_codes({"digit": np.array([3.0, 3.0]), "thickness": np.array([-5.0, 50.0])}, before, DIGITS)
    assert coded["thickness"].tolist() == [0, 9]
    assert coded["digit"].tolist() == [3, 3]
    assert histogram_codes(before, before, DIGITS)["thickness"].tolist() == list(range(10))


def test_divergences_are_zero_without_change_and_name_what_moved():
    rng = np.random.default_rng(0)
    before = {"digit": rng.integers(0, 10, 500).astype(np.float32)}
    before |= {"thickness": rng.standard_normal(500), "slant": rng.standard_normal(500)}
    assert all(row["value"] == pytest.approx(0) for row in divergence_rows(before, before, DIGITS))
    rows = by_metric(divergence_rows({**before, "thickness": before["thickness"] - 1}, before, DIGITS))
    assert rows["SaD of digit"]["value"] == rows["SaD of slant"]["value"] == pytest.approx(0)
    assert rows["SaD"]["value"] == pytest.approx(rows["SaD of thickness"]["value"] / 3)
    assert "thickness" in rows["PaD, largest"]["protocol"]
    assert rows["PaD, largest"]["value"] >= rows["PaD"]["value"] > 0


def test_divergence_of_one_attribute_by_hand_has_no_pairs():
    counts = np.full(10, 0.5)
    p, q = counts + np.eye(10)[0] * 4, counts + np.eye(10)[1] * 4
    domain = DIGITS._replace(categories={"digit": DIGITS.categories["digit"]})
    rows = by_metric(divergence_rows({"digit": np.ones(4)}, {"digit": np.zeros(4)}, domain))
    assert set(rows) == {"SaD", "SaD of digit"}
    kinds = [0, 1]  # only codes that either set has are counted
    p, q = p[kinds] / p[kinds].sum(), q[kinds] / q[kinds].sum()
    assert rows["SaD"]["value"] == pytest.approx(float((p * np.log(p / q)).sum()))


def test_dependency_by_hand_and_none_where_the_target_stays():
    before = np.array([[0.0, 0.0, 0.0], [2.0, 4.0, 2.0]])  # standard deviations 1, 2, 1
    original = SimpleNamespace(scores=before)
    (row,) = dependency_rows(SimpleNamespace(scores=before + np.array([3.0, 2.0, 0.0])), original, 0)
    assert (row["metric"], row["n"]) == ("attribute dependency", 2)
    assert row["value"] == pytest.approx((1 + 0) / 2 / 3)
    assert dependency_rows(SimpleNamespace(scores=before + np.array([0.0, 2.0, 0.0])), original, 0) == []


def test_rows_reach_their_tables_and_leave_the_headline_alone():
    frames = [read_table(ROOT / "results" / "cpu" / f"{kind}.csv") for kind in ("metrics", "attacks", "costs")]
    chain = {"dataset": "mnist", "model": "gan", "feature": "thick", "method": "exact", "seed": "0"}
    before = {"digit": np.arange(40) % 10, "thickness": np.arange(40.0)}
    exact, scores = np.arange(40) < 4, normal(40, 3, 0)
    rows = [
        *independent_rows(
            normal(40, 4, 0), normal(40, 4, 1), "feature-free", 0, SimpleNamespace(domain=DIGITS, weights="ef" * 32)
        ),
        *agreement_rows(SimpleNamespace(exact=exact, a=exact, b=exact)),
        *divergence_rows(before, before, DIGITS),
        *dependency_rows(SimpleNamespace(scores=scores + 1), SimpleNamespace(scores=scores), 0),
    ]
    known = frames[0][~frames[0].metric.isin([row["metric"] for row in rows])]
    old, new = (
        build_tables(metrics, *frames[1:]) for metrics in (known, pd.concat([known, pd.DataFrame(rows).assign(**chain)]))
    )
    pd.testing.assert_frame_equal(old["headline"], new["headline"])
    assert set(new["quality"]) - set(old["quality"]) == {rows[0]["metric"], rows[1]["metric"]}
    assert set(new["drift"]) - set(old["drift"]) >= {"SaD", "SaD of thickness", "PaD", "attribute dependency"}
    assert {"agreement A, B", "kappa A, B"} <= set(new["removal"].metric)
    assert len(new["card"]) == len(old["card"]) + 2


def seen(exact, b=None, images=None):
    """What three judges say of images that nobody looks at; judge A sees the feature everywhere."""
    exact = np.array(exact, bool)
    b = exact if b is None else np.array(b, bool)
    images = torch.zeros(len(exact), 1, 2, 2) if images is None else images
    reading = Reading(np.arange(len(exact))[:, None], np.arange(len(exact))[:, None])
    return evaluation.Seen(
        images, {"area": np.arange(len(exact))}, reading, exact, np.ones(len(exact), bool), b, np.zeros((len(exact), 1))
    )


def test_a_part_keeps_the_chosen_rows_of_everything_and_none_gives_no_rows():
    few = evaluation.part(seen([1, 0, 1]), np.array([False, False, True]))
    assert (len(few.images), few.table["area"].tolist(), few.reading.logits.tolist()) == (1, [2], [[2]])
    rows = evaluation.attack_rows(few, "latent search, recover", "no attack")
    assert {row["judge"]: row["value"] for row in rows} == {"exact": 1, "B": 1, "A": 1}
    assert evaluation.attack_rows(evaluation.part(few, np.array([False])), "", "") == []


def test_asking_twice_finds_more_and_its_interval_follows():
    once, _, _, twice, *_ = evaluation.sampling_rows(seen([1, 0, 0, 0]), [1, 2])
    assert (once["budget"], twice["budget"], once["judge"], twice["judge"]) == ("1 samples", "2 samples", "exact", "exact")
    assert (once["value"], twice["value"]) == (0.25, pytest.approx(1 - 0.75**2))
    assert twice["low"] == pytest.approx(1 - (1 - once["low"]) ** 2)
    assert twice["low"] < twice["value"] < twice["high"]


def test_the_area_is_the_mean_height():
    curve = [seen([0, 0], [1, 1]), seen([1, 0], [1, 1]), seen([1, 1], [1, 1])]
    exact, b = evaluation.area_rows([0.0, 1.0, 4.0], curve, "latent search", "radius 0 to 4")
    assert (exact["judge"], exact["value"]) == ("exact", pytest.approx((0.25 + 3 * 0.75) / 4))
    assert (b["judge"], b["value"]) == ("B", 1)


def test_the_selective_gap_is_the_difference_of_the_two_errors():
    had = np.array([True, True, False, False])
    images = torch.tensor([0.4, 0.2, 0.1, 0.1])[:, None, None, None].expand(4, 1, 2, 2)
    rows = evaluation.inversion_rows(seen([1, 0, 1, 1]), images, had, "2 and 2 images")
    values = {(row["metric"], row["judge"]): row["value"] for row in rows}
    assert values["success", "exact"] == 0.5  # of the two images that had the feature
    assert values["reconstruction L1, with the feature", ""] == pytest.approx(0.3)
    assert values["reconstruction L1, without it", ""] == pytest.approx(0.1)
    gap = next(row for row in rows if row["metric"] == "selective reconstruction gap")
    assert gap["value"] == pytest.approx(0.2)
    assert (gap["high"] - gap["low"]) / 2 == pytest.approx(1.96 * 0.1)  # sd 0.1414 over the root of two


def test_relearning_counts_steps_to_the_goal():
    curve = {0: seen([0, 0]), 5: seen([1, 0]), 10: seen([1, 1])}
    rows = evaluation.relearning_rows(curve, "relearning", 3, 0.5)
    half = next(row for row in rows if row["metric"] == "steps to half")
    assert (half["value"], half["budget"], half["judge"]) == (5, "3 images", "exact")
    success = [(row["budget"], row["value"]) for row in rows if row["metric"] == "success" and row["judge"] == "exact"]
    assert success == [("3 images, 5 steps", 0.5), ("3 images, 10 steps", 1)]
    never = evaluation.relearning_rows({0: seen([0]), 5: seen([0])}, "relearning", 3, 0.5)
    assert next(row["value"] for row in never if row["metric"] == "steps to half") == float("inf")


def attacked(method, hits, n, steps):
    rows = evaluation.attack_rows(seen([1] * hits + [0] * (n - hits)), "relearning", "3 images, 5 steps")
    half = {"attack": "relearning", "budget": "3 images", "judge": "exact"} | evaluation.row("steps to half", steps, n, "")
    return [{"method": method} | row for row in [*rows, half]]


def test_differences_to_gold_have_the_interval_of_newcombes_example():
    rows = evaluation.beyond_gold(attacked("exact", 56, 70, 5.0) + attacked("gold retrain", 48, 80, 20.0))
    assert [(row["method"], row["metric"], row["judge"]) for row in rows] == [
        ("exact", "success minus gold", "exact"),
        ("exact", "success minus gold", "B"),
        ("exact", "speed relative to gold", "exact"),
    ]
    difference, _, speed = rows
    assert [round(difference[name], 4) for name in ("value", "low", "high")] == [0.2, 0.0524, 0.3339]
    assert speed["value"] == 4
    assert evaluation.beyond_gold(attacked("exact", 1, 2, 5.0)) == []


def test_the_table_of_attacks_says_what_is_no_success():
    rows = attacked("exact", 1, 2, 5.0) + attacked("gold retrain", 1, 4, 20.0)
    chain = {"dataset": "mnist", "model": "gan", "feature": "thick", "seed": "0"}
    frame = pd.DataFrame([chain | row for row in rows])
    table = attack_table(frame).set_index(["attack", "judge"])
    assert table.loc[("relearning", "exact"), "exact"] == 0.5
    assert table.loc[("relearning: steps to half", "exact"), ["exact", "gold retrain"]].tolist() == [5, 20]


def test_a_judge_is_asked_by_name_whatever_the_order_of_the_features(monkeypatch):
    before = evaluation.load_bench("none", "mnist", "left-slanted", CPU)
    moved = dict(reversed(features.FEATURES["mnist"].items()))
    monkeypatch.setitem(features.FEATURES, "mnist", moved)
    assert evaluation.load_bench("none", "mnist", "left-slanted", CPU).column == before.column == 1


def test_a_feature_that_the_judges_were_not_trained_for_is_refused(monkeypatch):
    monkeypatch.setitem(features.FEATURES["mnist"], "new", features.FEATURES["mnist"]["thick"])
    with pytest.raises(ValueError, match=r"judges of mnist know thick, left-slanted, digit-1 alone: run 01_data"):
        evaluation.load_bench("none", "mnist", "new", CPU)


def test_shipped_judges_of_other_features_are_no_start():
    known = list(features.FEATURES["mnist"])
    require_known(shipped("mnist", "errors.json"), known)
    with pytest.raises(ValueError, match=r"data/pretrained/mnist: its judges know thick, .* START = 'scratch'"):
        require_known(shipped("mnist", "errors.json"), [*known, "new"])


def test_too_few_images_for_a_floor_are_said_to_be_so():
    evaluation.require_floors({"real": torch.zeros(165, 1)}, 100)
    with pytest.raises(ValueError, match=r"there are 164 images of 'real' and 165 are needed"):
        evaluation.require_floors({"real": torch.zeros(164, 1)}, 100)
