"""Rows of evidence about foreign faces: likeness and full size."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lib.avatars import draw
from lib.data import jpeg, to_float
from lib.evaluation import error_rows, full_size_rows, likeness_rows
from lib.lite0 import load_lite0
from lib.metrics import Errors


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
