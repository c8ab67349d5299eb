"""The metric card: what each distance was made with, read from the rows."""

import pandas as pd
import pytest

from lib.card import COLUMNS, ESTIMATORS, NAME, RESIZE, card, published
from lib.domains import DOMAINS
from lib.evaluation import read_with
from lib.report import read_table
from lib.runs import ROOT

SHA = "0123456789abcdef" * 4


def rows(*pairs, dataset="mnist"):
    return pd.DataFrame([{"dataset": dataset, "metric": metric, "protocol": protocol} for metric, protocol in pairs])


def test_a_line_says_what_the_row_says():
    protocol = read_with(DOMAINS["mnist"], SHA, 64, 2000) + ", jackknife 95 % of the distance at this n"
    (line,) = card(rows(("FD-cnn64-n2000 to oracle edit, other latents", protocol))).to_dict("records")
    assert list(line) == COLUMNS
    assert (line["weights sha256"], line["d"], line["n"], line["n reference"]) == (SHA, "64", "2000", "2000")
    assert (line["extractor"], line["reference"]) == ("cnn64", "oracle edit, other latents")
    assert line["image"] == "32 px, not resized"


def test_every_kind_of_distance_has_an_estimator_and_rows_of_other_things_have_no_line():
    protocol = read_with(DOMAINS["ffhq"], SHA, 69, 100)
    names = ["FD-lite0-n100 to a", "FD extrapolated-lite0 to a", "KID-lite0-n100 to a", "KID p-lite0-n100 to a"]
    found = card(rows(*((name, protocol) for name in names), ("precision", "5 neighbours"), dataset="ffhq"))
    assert found.metric.tolist() == names
    assert found.estimator.tolist() == [ESTIMATORS[kind] for kind in ("FD", "FD extrapolated", "KID", "KID p")]
    assert set(found.image) == {"64 px, bilinear to 128 px"}


def test_the_same_distance_of_two_methods_is_one_line_and_other_weights_are_another():
    name, protocols = "KID-cnn64-n9 to a", [read_with(DOMAINS["mnist"], sha, 64, 9) for sha in (SHA, SHA, SHA[::-1])]
    assert card(rows(*((name, protocol) for protocol in protocols)))["weights sha256"].tolist() == [SHA, SHA[::-1]]


def test_rows_without_weights_are_those_of_the_published_run():
    found = card(rows(("FD-cnn64-n9 to a", "digit CNN features, d=64, 9 against 8")))
    assert found["weights sha256"].tolist() == [published()["mnist"]]
    assert found["n reference"].tolist() == ["8"]


def test_every_published_distance_is_on_a_card_without_gaps():
    metrics = read_table(ROOT / "results" / "cpu" / "metrics.csv")
    found = card(metrics)
    assert set(found.metric) == set(metrics.metric[metrics.metric.str.startswith(("FD", "KID", "FID"))])
    assert found.notna().all(axis=None)
    assert (found["weights sha256"].str.len() == 64).all()


def test_every_extractor_has_its_resize():
    assert {domain.extractor for domain in DOMAINS.values()} <= set(RESIZE)
    assert pd.Series(["FID-inception2048-n9 to feature-free"]).str.extract(NAME).extractor[0] in RESIZE


def test_a_missing_manifest_of_the_published_run_is_named_with_the_remedy(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"manifest\.json is missing: restore it with `git checkout"):
        published(tmp_path / "manifest.json")
