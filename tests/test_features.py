"""Features, cut-offs and the embedded data."""

import json

import numpy as np
import pytest
import torch

from lib import data, features
from lib.judges import error_counts
from lib.runs import ROOT


def test_the_embedded_mnist_is_the_real_one():
    mnist = data.read_mnist(ROOT / "data" / "mnist")
    assert mnist.images.shape == (70000, 1, 32, 32)
    train = mnist.rows(mnist.train)
    counts = np.bincount(train.table["digit"].astype(int)).tolist()
    assert counts == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    inner = train.images[..., 2:-2, 2:-2] / 255
    assert inner.mean() == pytest.approx(0.1307, abs=1e-4)
    assert inner.std() == pytest.approx(0.3081, abs=1e-4)
    assert train.images.sum() == train.images[..., 2:-2, 2:-2].sum()  # padding is empty


def test_uint8_and_float_images_are_each_others_inverse():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    floats = data.to_float(levels)
    assert (floats.min(), floats.max()) == (-1, 1)
    assert np.array_equal(data.to_uint8(floats), levels)


def test_the_cutoff_leaves_the_top_tenth():
    table = {"thickness": np.arange(1000, dtype=np.float32), "digit": np.zeros(1000)}
    images = torch.zeros(1000, 1, 32, 32)
    cut = features.cutoff(features.named("mnist", "thick"), images, table)
    assert (table["thickness"] >= cut).sum() == 100


def test_scores_by_hand(tmp_path):
    table = {"digit": np.array([1.0, 7.0]), "slant": np.array([-0.4, 0.4]), "thickness": np.array([2.0, 5.0])}
    (tmp_path / "cutoffs.json").write_text(json.dumps({"thick": 4.0, "left-slanted": 0.2, "digit-1": 0.5}))
    images = torch.zeros(2, 1, 32, 32)
    verdicts = {
        name: features.rule("mnist", name, tmp_path / "cutoffs.json")(images, table).tolist()
        for name in features.FEATURES["mnist"]
    }
    assert verdicts == {"thick": [False, True], "left-slanted": [True, False], "digit-1": [True, False]}


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ValueError, match="choose one of thick, left-slanted, digit-1"):
        features.named("mnist", "curly")


def test_a_dataset_survives_a_file(tmp_path):
    dataset = data.Dataset(np.ones((3, 1, 4, 4), np.uint8), {"digit": np.arange(3.0)}, np.array([True, True, False]))
    data.save(tmp_path / "d.npz", dataset)
    loaded = data.load(tmp_path / "d.npz")
    assert np.array_equal(loaded.images, dataset.images)
    assert loaded.table.keys() == {"digit"}
    assert loaded.rows(loaded.train).table["digit"].tolist() == [0, 1]


def test_judge_errors_are_counted_by_hand():
    said, truth = np.array([1, 1, 0, 0, 1], bool), np.array([1, 0, 1, 0, 1], bool)
    assert error_counts(said, truth) == (2, 3, 1, 2)
