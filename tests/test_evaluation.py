"""Rows of evidence about foreign faces (likeness and full size) and about attacks."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from lib import evaluation
from lib.avatars import draw
from lib.data import jpeg, to_float
from lib.evaluation import error_rows, full_size_rows, likeness_rows
from lib.judges import Reading
from lib.lite0 import load_lite0
from lib.metrics import Errors
from lib.report import attack_table


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


def seen(exact, b=None, images=None):
    """What three judges say of images that nobody looks at; judge A sees the feature everywhere."""
    exact = np.array(exact, bool)
    b = exact if b is None else np.array(b, bool)
    images = torch.zeros(len(exact), 1, 2, 2) if images is None else images
    reading = Reading(np.arange(len(exact))[:, None], np.arange(len(exact))[:, None])
    return evaluation.Seen(images, {"area": np.arange(len(exact))}, reading, exact, np.ones(len(exact), bool), b)


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
    frame = pd.DataFrame([{"dataset": "mnist", "model": "gan", "feature": "thick"} | row for row in rows])
    table = attack_table(frame).set_index(["attack", "judge"])
    assert table.loc[("relearning", "exact"), "exact"] == 0.5
    assert table.loc[("relearning: steps to half", "exact"), ["exact", "gold retrain"]].tolist() == [5, 20]
