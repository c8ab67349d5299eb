"""What LEAST needs: variants that differ in one part, methods that hear as many labels as they should, and the table."""

from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import torch

from lib import needs, report
from lib.attacks import start_latents
from lib.evaluation import load_bench, see
from lib.latent import prior
from lib.methods import METHODS
from lib.methods.least import Recipe
from lib.methods.task import load_task
from lib.metrics import Errors, mean_interval
from lib.models import sample
from lib.pipeline import load_profile

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(needs, "JUDGE_STEPS", 40)


@pytest.fixture
def bench():
    return load_bench("smoke", "mnist", "thick", CPU)


@pytest.fixture
def task(bench):
    return load_task("smoke", "mnist", "gan", 0, "thick", bench, 4, 16, CPU)


@pytest.fixture(scope="module")
def published():
    return load_profile("seeds")["datasets"]["mnist"]["parameters"]["11_needs"]


def test_every_variant_differs_from_the_published_whole_in_one_thing(published):
    least = METHODS["least"]
    whole = {"rate": least.rate, "strength": least.strength, **asdict(Recipe()), **published["LEAST"]}
    for name in published["PARTS"]:
        changed = {key for key, value in (whole | needs.PARTS[name]).items() if value != whole[key]}
        assert changed == {"moves", "margin", "hold"} if name == "bent edits" else len(changed) == (name != "whole"), name


def test_an_unknown_part_is_named_in_one_sentence(task):
    with pytest.raises(ValueError, match=r"part .eyes. is unknown: choose among whole, .*no rounds"):
        needs.without(task, "eyes", {})


def test_the_published_profile_asks_for_all_parts_of_what_is_unlearned_with(published):
    already = ("linear edits", "other verdicts not in the loss")  # the whole is so
    assert published["PARTS"] == [name for name in needs.PARTS if name not in already]
    assert published["LEAST"] == load_profile("seeds")["datasets"]["mnist"]["parameters"]["04_unlearn"]["LEAST"]


def test_a_part_is_taken_from_the_settings_and_the_rest_are_the_methods_own(task, monkeypatch):
    monkeypatch.setattr(needs, "unlearn", lambda task, recipe: (task, recipe))
    given, recipe = needs.without(task, "no rounds", {"rate": 0.5, "rounds": 9, "margin": 0.25})
    assert (given.rate, given.strength) == (0.5, METHODS["least"].strength)
    assert recipe == Recipe(rounds=0, margin=0.25)
    assert needs.without(task, "judge A not in the loss", {"strength": 0.5})[0].strength == 0


def test_few_labels_are_all_that_a_method_hears(task, monkeypatch):
    given = []
    monkeypatch.setattr(needs, "unlearn", lambda task, recipe: given.append(task) or (None, None))
    needs.least_from(task, 200, {})
    (heard,) = given
    assert len(task.direction.others)
    assert not len(heard.direction.others)
    assert torch.equal(heard.direction.labels, task.direction.labels[:200])
    needs.least_from(task, 1000, {"moves": 0})
    assert not len(given[1].direction.others)
    assert torch.equal(given[1].direction.vector, needs.direction_from(task, 1000).vector)
    assert not torch.equal(given[1].direction.vector, task.direction.vector)
    assert len(heard.labelled[0]) + len(heard.labelled[1]) == 200
    images = sample(task.original, torch.cat(task.labelled)[:100])
    assert not torch.allclose(heard.score(images), task.score(images))


def test_edits_are_bent_where_the_labels_show_no_threshold(task, monkeypatch):
    def none(task, count):
        raise ValueError("no threshold")

    monkeypatch.setattr(needs, "direction_from", none)
    monkeypatch.setattr(needs, "unlearn", lambda task, recipe: (task, recipe))
    given, recipe = needs.least_from(task, 200, {"moves": 0, "rounds": 2})
    assert recipe == Recipe(rounds=2)
    assert torch.equal(given.direction.labels, task.direction.labels[:200])


def test_labels_of_one_kind_are_too_few(task):
    none = replace(task, direction=replace(task.direction, labels=torch.zeros(100, dtype=torch.bool)))
    for method, settings in ((needs.least_from, [{}]), (needs.exact_from, [])):
        with pytest.raises(ValueError, match="no labelled sample has the feature"):
            method(none, 100, *settings)


def test_a_judge_learns_from_few_labels_and_passes_gradients():
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.random(60) < 0.3)
    images = torch.from_numpy(rng.normal(-0.4, 0.2, (60, 1, 32, 32)).astype(np.float32))
    images[labels] += 0.5
    judge = needs.judge_of(images.clamp(-1, 1)[:40], labels[:40], 0, CPU)
    x = images.clamp(-1, 1)[40:].requires_grad_(True)
    logits = judge(x)[:, 0]
    assert torch.equal(logits > 0, labels[40:])
    logits.sum().backward()
    assert x.grad.abs().sum() > 0


def test_the_original_keeps_its_images_and_a_search_may_only_help(task, bench):
    z = prior(task.original, 300, 5)
    before = see(sample(task.original, z), bench)
    reference, errors = before.reading.features[~before.exact][:200], Errors(30, 30, 0, 200)
    starts = start_latents(task.original, 20, 6)
    measures = needs.Measures(z, before, reference, bench, errors, starts, 2.0, 4)
    rows = {row["metric"]: row for row in measures.rows(task.original, 0, 100)}
    assert rows["ratio exact"]["value"] == before.exact.mean()
    assert rows["preservation L1"]["value"] == 0
    assert rows["search success"]["value"] >= see(sample(task.original, starts), bench).exact.mean()
    assert {"ratio B corrected", "precision", "recall"} < set(rows)
    assert [row["value"] for name, row in rows.items() if name.startswith("drift ")] == [0] * 10


def frame(*rows):
    names = ["dataset", "model", "feature", "method", "variant", "labels", "seed", "metric", "value", "low", "high"]
    frame = pd.DataFrame([["mnist", "gan", "thick", *row] for row in rows], columns=names)
    return frame.assign(protocol=frame.metric.str.startswith("drift").map({True: "percentage points", False: ""}))


def test_the_table_holds_means_over_seeds():
    row = ("least", "from labels alone", "500")
    table = report.needs_table(
        frame(
            (*row, "0", "ratio exact", 0.01, 0.0, 1.0),
            (*row, "1", "ratio exact", 0.03, 0.0, 1.0),
            (*row, "0", "recall", 0.9, "", ""),
            (*row, "0", "drift digit 1", -3.0, "", ""),
            (*row, "0", "drift digit 2", 2.0, "", ""),
        )
    )
    value, low, high = mean_interval([1.0, 3.0])
    assert table["ratio exact (%)"].tolist() == [f"{value:.2f} [{low:.2f}, {high:.2f}]"]
    assert table.seeds.tolist() == [2]
    assert table["recall"].tolist() == ["0.900"]
    assert table["largest drift (points)"].tolist() == ["3.0"]
    assert not [name for name in table if name.startswith("drift")]


def test_the_table_begins_with_the_fewest_labels():
    rows = [
        (method, "", n, "0", "recall", 0.5, "", "") for method, n in (("a", "2000"), ("a", "50"), ("b", ""), ("c", "50"))
    ]
    table = report.needs_table(frame(*rows))
    assert table[["method", "labels"]].to_numpy().tolist() == [["b", ""], ["a", "50"], ["c", "50"], ["a", "2000"]]


def test_a_curve_is_drawn_through_its_means_beside_the_gold_retrain():
    rows = [
        ("least", "from labels alone", n, seed, m, v, v / 2, 2 * v)
        for n, *both in (("50", 0.5, 0.3), ("500", 0.125, 0.075))
        for seed, v in zip("01", both, strict=True)
        for m in ("ratio exact", "search success", "preservation L1")
    ]
    rows += [
        ("gold retrain", "", "", "0", "ratio exact", 0.2, 0.1, 0.3),
        ("least", "whole", "9", "0", "ratio exact", 0.9, 0, 1),
    ]
    figure = report.label_curves(frame(*rows))
    first = figure.axes[0]
    named = {line.get_label(): line.get_ydata() for line in first.lines if not line.get_label().startswith("_")}
    thin = [line.get_ydata() for line in first.lines if line.get_label().startswith("_")]
    np.testing.assert_allclose(named["least"], [40, 10])
    np.testing.assert_allclose(named["gold retrain"], [20, 20])
    np.testing.assert_allclose(thin, [[50, 12.5], [30, 7.5]])
    assert [tick.get_text() for tick in first.get_xticklabels()] == ["50", "500"]
