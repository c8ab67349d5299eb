"""The published run: files match the manifest, tables match the rows, the README matches the tables."""

import hashlib
import json

import pytest

from lib import report
from lib.domains import DOMAINS
from lib.pipeline import MARKS, excerpt, load_profile, methods_of
from lib.runs import FIGURES, METRICS, ROOT, SHIPPED, TABLES, read_rows

RUN = ROOT / "results" / "cpu"
MANIFEST = json.loads((RUN / "manifest.json").read_text())
DATASETS = sorted({stage["parameters"]["DATASET"] for stage in MANIFEST.values() if "DATASET" in stage["parameters"]})
OUTPUTS = {name: digest for stage in MANIFEST.values() for name, digest in stage["outputs"].items()}


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "name", sorted(n for n in OUTPUTS if (RUN / n).is_file() and (n.startswith(("tables", "figures")) or "/" not in n))
)
def test_committed_files_match_the_manifest(name):
    assert sha256(RUN / name) == OUTPUTS[name]["sha256"]


def test_every_table_and_figure_is_there():
    assert all((RUN / "tables" / f"{name}.{kind}").is_file() for name in TABLES for kind in ("csv", "md"))
    assert all((RUN / "figures" / name / f"{figure}.png").is_file() for name in DATASETS for figure in FIGURES)
    assert all((RUN / f"{name}.csv").is_file() for name in ("metrics", "attacks", "costs"))


def test_shipped_weights_are_those_of_the_published_run():
    # The read-out of a network that the kit did not train has a test of its own (test_mobilestylegan.py).
    foreign = ("inception", "ffhq/read-out")
    shipped = [path for path in SHIPPED.rglob("*.safetensors") if not str(path.relative_to(SHIPPED)).startswith(foreign)]
    assert len(shipped) > 20
    for path in shipped:
        faces = path.relative_to(SHIPPED).parts[0] != "mnist"
        assert path.stat().st_size <= (10_000_000 if faces else 5_000_000)
        assert sha256(path) == OUTPUTS[str(path.relative_to(SHIPPED))]["sha256"], path.name


def test_tables_are_made_from_the_rows_alone(tmp_path):
    frames = (report.read_table(RUN / f"{kind}.csv") for kind in ("metrics", "attacks", "costs"))
    for name, table in report.build_tables(*frames).items():
        report.write_table(tmp_path, name, table)
        assert (tmp_path / f"{name}.csv").read_bytes() == (RUN / "tables" / f"{name}.csv").read_bytes()
        assert (tmp_path / f"{name}.md").read_bytes() == (RUN / "tables" / f"{name}.md").read_bytes()


def test_the_readme_holds_the_headline_table():
    inside = (ROOT / "README.md").read_text().split(MARKS[0])[1].split(MARKS[1])[0]
    assert inside.strip() == excerpt(RUN).strip()


def test_every_chain_has_every_control():
    rows = read_rows(RUN / "metrics.csv")
    assert tuple(rows[0]) == METRICS
    for dataset in DATASETS:
        for model, features in load_profile("cpu")["datasets"][dataset]["chains"].items():
            for feature in features:
                chain = (dataset, model, feature, "ratio exact")
                chosen = [r for r in rows if (r["dataset"], r["model"], r["feature"], r["metric"]) == chain]
                wanted = {"original", "oracle edit", "rejection", "gold retrain", *methods_of(load_profile("cpu"), dataset)}
                wanted -= {"gold retrain"} if model in DOMAINS[dataset].generators else set()
                assert {row["method"] for row in chosen} == wanted


def test_ratios_come_from_ten_thousand_latents():
    ratios = [row for row in read_rows(RUN / "metrics.csv") if row["metric"] == "ratio exact"]
    # Where judges were fitted to a few hundred labels by eye, their own error outweighs that of a thousand latents.
    assert all(int(row["n"]) >= (1_000 if DOMAINS[row["dataset"]].by_eye else 10_000) for row in ratios)
    assert all(float(row["low"]) <= float(row["value"]) <= float(row["high"]) for row in ratios)


def test_published_results_are_small():
    folders = (RUN / name for name in ("tables", "figures", "notebooks"))
    tracked = [*RUN.glob("*.csv"), *RUN.glob("*.json"), *(path for folder in folders for path in folder.rglob("*.*"))]
    assert sum(path.stat().st_size for path in tracked) <= 25_000_000
