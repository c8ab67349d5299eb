"""Tables of a report from rows made by hand."""

import numpy as np
import pandas as pd
import pytest

from lib import report

NAN = float("nan")


def rows(values, low=NAN, high=NAN):
    return pd.DataFrame({"value": values, "low": low, "high": high})


def test_one_seed_shows_its_own_interval_and_several_their_mean():
    assert report.over_seeds(rows([0.125], 0.1, 0.15), ".1f", 100, own=True) == "12.5 [10.0, 15.0]"
    assert report.over_seeds(rows([0.125], 0.1, 0.15), ".1f", 100, own=False) == "12.5"
    # Student's t for two degrees of freedom is 4.303; the standard error of 1, 2, 3 is 1 / sqrt(3).
    half = 4.3027 / np.sqrt(3)
    expected = f"2.00 [{2 - half:.2f}, {2 + half:.2f}]"
    assert report.over_seeds(rows([1.0, 2.0, 3.0]), ".2f", 1, own=False) == expected


def test_a_cost_is_shared_out_by_pretraining_and_by_the_gold_retrain():
    columns = ["dataset", "model", "feature", "method", "seed", "stage", "seconds", "steps"]
    costs = pd.DataFrame(
        [
            ["mnist", "gan", "", "pretrain", "0", "pretrain", 100.0, 9],
            ["mnist", "gan", "thick", "gold", "0", "gold", 200.0, 9],
            ["mnist", "gan", "thick", "exact", "0", "unlearn", 5.0, 9],
            ["mnist", "gan", "thick", "exact", "0", "evaluate", 7.0, 9],
        ],
        columns=columns,
    )
    table = report.cost_table(costs).set_index("method")
    assert table.loc["exact", "share of pre-training"] == pytest.approx(0.05)
    assert table.loc["exact", "share of the gold retrain"] == pytest.approx(0.025)
    assert np.isnan(table.loc["pretrain", "share of the gold retrain"])
    assert len(table) == 3


def test_the_best_trial_of_each_method_comes_with_its_worst_score():
    columns = [
        "dataset",
        "model",
        "feature",
        "method",
        "trial",
        "rate",
        "strength",
        "ratio",
        "distance",
        "preservation",
        "score",
    ]
    chain = ["mnist", "gan", "thick"]
    trials = pd.DataFrame(
        [
            [*chain, "a", "0", "0.1", "1", "0.02", "9", "0.01", "0.5"],
            [*chain, "a", "1", "0.2", "2", "0.01", "9", "0.01", "0.3"],
            [*chain, "b", "0", "0.1", "1", "0.00", "9", "0.01", "0.1"],
            [*chain, "b", "1", "0.2", "2", "", "", "", "inf"],
        ],
        columns=columns,
    )
    table = report.best_trials(trials)
    assert table.method.tolist() == ["b", "a"]
    assert table.rate.tolist() == [0.1, 0.2]
    assert table["worst score"].tolist() == [np.inf, 0.5]
    assert table.trials.tolist() == [2, 2]
