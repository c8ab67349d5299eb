"""Tables of a report from rows made by hand."""

import numpy as np
import pandas as pd
import pytest

from lib import report
from lib.runs import ATTACKS, COSTS

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
    assert report.over_seeds(rows([2.0, np.inf]), ".0f", 1, own=False) == "inf"


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


CHAIN = {"dataset": "mnist", "model": "gan", "feature": "thick"}


def rows_over_seeds(metric, **values):
    cells = [(method, str(seed), value) for method, found in values.items() for seed, value in enumerate(found)]
    rows = [{**CHAIN, "method": m, "seed": seed, "metric": metric, "value": value} for m, seed, value in cells]
    return pd.DataFrame(rows).assign(low=0.0, high=0.0, n=100, protocol="percentage points")


def none_of(columns):
    return pd.DataFrame({name: pd.Series(dtype=object) for name in columns})


def test_axes_hold_differences_seed_by_seed():
    found = rows_over_seeds("ratio exact", exact=[0.02, 0.04], least=[0.01, 0.01])
    table = report.axes_table(found, none_of(ATTACKS), none_of(COSTS)).set_index("method")
    # Means 3 and 1 %; differences -1 and -3, so that the half width is 12.706 (t of one degree of freedom) times 1.
    assert table.loc["exact", "value"] == "3 [-9.71, 15.7]"
    assert table.loc["least", "value"] == "1 [1, 1]"
    assert table.loc["least", "minus exact"] == "-2 [-14.7, 10.7]"
    assert table.loc["exact", "minus exact"] == table.loc["least", "minus gold retrain"] == "-"


def test_the_largest_drift_leaves_the_target_feature_out():
    found = pd.concat([rows_over_seeds("drift digit 3", least=[-2.5]), rows_over_seeds("drift thick", least=[-11.0])])
    table = report.axes_table(found, none_of(ATTACKS), none_of(COSTS))
    assert table.value.tolist() == ["2.5"]


@pytest.mark.parametrize(
    ("feature", "drift"),
    [("wearing-hat", "Wearing_Hat"), ("beard", "No_Beard"), ("no-beard", "No_Beard"), ("digit-1", "digit 1")],
)
def test_the_target_is_known_by_each_of_its_spellings(feature, drift):
    found = pd.concat([rows_over_seeds("drift Bald", least=[2.5]), rows_over_seeds(f"drift {drift}", least=[-11.0])])
    table = report.axes_table(found.assign(feature=feature), none_of(ATTACKS), none_of(COSTS))
    assert table.value.tolist() == ["2.5"]


def test_of_several_seeds_every_table_has_one_line():
    found = rows_over_seeds("precision", exact=[0.8, 0.9])
    assert report.wide(found, ["precision"]).precision.tolist() == ["0.85 [0.2147, 1.485]"]
    (line,) = report.one_line(found, ["method", "metric"]).itertuples()
    assert [round(number, 4) for number in (line.value, line.low, line.high)] == [0.85, 0.2147, 1.4853]
    alone = found[found.seed.eq("0")]
    assert report.wide(alone, ["precision"]).precision.tolist() == [0.8]
    assert report.one_line(alone, ["method", "metric"]).equals(alone)


def test_a_dataset_without_rows_is_named_with_the_command_that_makes_them():
    metrics = pd.DataFrame({"dataset": ["mnist"]})
    report.check_datasets(metrics, ["mnist"])
    with pytest.raises(
        ValueError, match="no rows of 'celeba' to report: run `make reproduce PROFILE=gpu DATASETS=celeba` first"
    ):
        report.check_datasets(metrics, ["mnist", "celeba"])


def test_the_table_of_generators_says_how_far_off_each_share_is():
    chain = {"dataset": "avatars", "model": "gan", "feature": ""}
    known = [
        {**chain, "method": "pretrain", "seed": "0", "metric": "share of beard", "value": 0.15, "n": 10_000},
        {**chain, "method": "pretrain", "seed": "0", "metric": "FD-cnn64 to training images", "value": 9.0, "n": 10_000},
        {**chain, "model": "", "method": "real", "seed": "0", "metric": "share of beard", "value": 0.1, "n": 20_000},
    ]
    table = report.generator_table(pd.DataFrame(known).assign(low=NAN, high=NAN, protocol=""))
    assert table.metric.tolist() == ["share of beard", "FD-cnn64 to training images"]
    assert table["training images"].tolist()[0] == 0.1
    assert table["off (%)"].tolist()[0] == pytest.approx(50)
    assert np.isnan(table["off (%)"].tolist()[1])
