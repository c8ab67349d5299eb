"""The published runs: files match the manifest, tables match the rows, the README matches the tables."""

import hashlib
import itertools
import json

import pytest

from lib import report
from lib.domains import DOMAINS
from lib.pipeline import MARKS, excerpt, load_profile, methods_of
from lib.runs import FIGURES, METRICS, ROOT, SHIPPED, TABLES, read_rows

RESULTS = ROOT / "results"
RUN = RESULTS / "cpu"
RUNS = ("cpu", "methods", "seeds")
PARTS = ("tables", "figures")


def manifest(run):
    return json.loads((RESULTS / run / "manifest.json").read_text())


def outputs(run):
    return {name: digest for stage in manifest(run).values() for name, digest in stage["outputs"].items()}


def datasets(run):
    return sorted({s["parameters"]["DATASET"] for s in manifest(run).values() if "DATASET" in s["parameters"]})


def committed(run):
    names = (n for n in outputs(run) if n.startswith(PARTS) or "/" not in n)
    return sorted((run, name) for name in names if (RESULTS / run / name).is_file())


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(("run", "name"), [pair for run in RUNS for pair in committed(run)])
def test_committed_files_match_the_manifest(run, name):
    assert sha256(RESULTS / run / name) == outputs(run)[name]["sha256"]


@pytest.mark.parametrize("run", RUNS)
def test_every_table_and_figure_is_there(run):
    folder = RESULTS / run
    assert all((folder / "tables" / f"{name}.{kind}").is_file() for name in TABLES for kind in ("csv", "md"))
    assert all((folder / "figures" / name / f"{figure}.png").is_file() for name in datasets(run) for figure in FIGURES)
    assert all((folder / f"{name}.csv").is_file() for name in ("metrics", "attacks", "costs"))
    assert (RUN / "figures" / "ffhq" / "full-size.png").is_file()


@pytest.mark.parametrize("run", RUNS)
def test_every_committed_table_and_figure_stands_in_the_manifest(run):
    folder, known = RESULTS / run, outputs(run)
    files = [path for part in PARTS for path in (folder / part).rglob("*") if path.is_file()]
    names = [str(path.relative_to(folder)) for path in (*files, *folder.glob("*.csv"))]
    assert [name for name in names if sha256(folder / name) != known.get(name, {}).get("sha256")] == []


def test_shipped_weights_are_those_of_the_published_run():
    # The read-out of a network that the kit did not train has a test of its own (test_mobilestylegan.py).
    foreign = ("inception", "ffhq/read-out")
    shipped = [path for path in SHIPPED.rglob("*.safetensors") if not str(path.relative_to(SHIPPED)).startswith(foreign)]
    assert len(shipped) > 20
    known = outputs("cpu")
    for path in shipped:
        faces = path.relative_to(SHIPPED).parts[0] != "mnist"
        assert path.stat().st_size <= (10_000_000 if faces else 5_000_000)
        assert sha256(path) == known[str(path.relative_to(SHIPPED))]["sha256"], path.name


@pytest.mark.parametrize("run", RUNS)
def test_tables_are_made_from_the_rows_alone(run, tmp_path):
    for name, table in report.tables_of(RESULTS / run).items():
        report.write_table(tmp_path, name, table)
        assert (tmp_path / f"{name}.csv").read_bytes() == (RESULTS / run / "tables" / f"{name}.csv").read_bytes()
        assert (tmp_path / f"{name}.md").read_bytes() == (RESULTS / run / "tables" / f"{name}.md").read_bytes()


def test_the_readme_holds_the_headline_table():
    inside = (ROOT / "README.md").read_text().split(MARKS[0])[1].split(MARKS[1])[0]
    assert inside.strip() == excerpt(RUN).strip()


@pytest.mark.parametrize("run", RUNS)
def test_every_chain_has_every_control(run):
    rows, profile = read_rows(RESULTS / run / "metrics.csv"), load_profile(run)
    assert tuple(rows[0]) == METRICS
    for dataset in datasets(run):
        for model, features in profile["datasets"][dataset]["chains"].items():
            for feature, seed in itertools.product(features, profile["seeds"]):
                chain = (dataset, model, feature, str(seed), "ratio exact")
                chosen = [
                    r for r in rows if tuple(r[k] for k in ("dataset", "model", "feature", "seed", "metric")) == chain
                ]
                wanted = {"original", "oracle edit", "rejection", "gold retrain", *methods_of(profile, dataset, model)}
                wanted -= {"gold retrain"} if model in DOMAINS[dataset].generators else set()
                assert {row["method"] for row in chosen} == wanted


@pytest.mark.parametrize("run", RUNS)
def test_ratios_come_from_ten_thousand_latents(run):
    ratios = [row for row in read_rows(RESULTS / run / "metrics.csv") if row["metric"] == "ratio exact"]
    few = {name: 1_000 for name, domain in DOMAINS.items() if domain.by_eye}
    # Where judges were fitted to a few hundred labels by eye, their own error outweighs that of a thousand latents.
    assert all(int(row["n"]) >= few.get(row["dataset"], 10_000) for row in ratios)
    assert all(float(row["low"]) <= float(row["value"]) <= float(row["high"]) for row in ratios)


def test_published_results_are_small():
    folders = (RESULTS / run / name for run in RUNS for name in (*PARTS, "notebooks"))
    alone = (path for run in RUNS for path in (RESULTS / run).glob("*.*"))
    tracked = [*alone, *(path for folder in folders for path in folder.rglob("*.*"))]
    assert sum(path.stat().st_size for path in tracked) <= 25_000_000
