"""Rules every notebook keeps, and each runs to its end by itself."""

import ast
import json
import re
import subprocess
import sys
import time

import pytest

from lib import runs
from lib.pipeline import NOTEBOOKS

PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
WORKING = [path for path in PATHS if path.stem != "00_index"]
PUBLISHED = sorted((runs.ROOT / "results").glob("*/notebooks/*.ipynb"))


def cells(path, kind):
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def tagged(path, tag):
    return [cell for cell in cells(path, "code") if tag in cell["metadata"].get("tags", [])]


@pytest.mark.parametrize("path", WORKING, ids=lambda p: p.stem)
def test_parameters_are_commented_literals_in_one_cell(path):
    (cell,) = tagged(path, "parameters")
    for line in cell["source"]:
        (statement,) = ast.parse(line).body
        assert statement.targets[0].id.isupper()
        ast.literal_eval(statement.value)
        assert "  # " in line


@pytest.mark.parametrize("path", WORKING, ids=lambda p: p.stem)
def test_title_says_question_reads_writes_and_time(path):
    title = "".join(cells(path, "markdown")[0]["source"])
    assert all(word in title for word in ("**Question.**", "| reads |", "| writes |", "| time on 2 cores |"))
    closing = "".join(cells(path, "markdown")[-1]["source"])
    assert all(word in closing for word in ("## What we saw", "**Limit:**", "**Exercises.**"))


def test_the_index_holds_prose_and_pictures_only_and_links_every_notebook():
    text = PATHS[0].read_text()
    assert cells(PATHS[0], "code") == []
    assert all(f"{path.stem}.ipynb" in text for path in WORKING)


@pytest.mark.parametrize("path", WORKING, ids=lambda p: p.stem)
def test_each_notebook_has_a_checked_cell_that_was_run(path):
    checked = tagged(path, "nbval-check-output")
    assert checked
    assert all(cell["execution_count"] and cell["outputs"] for cell in checked)


@pytest.mark.parametrize("path", PATHS + PUBLISHED, ids=lambda p: p.stem)
def test_stored_notebooks_are_small_and_clean(path):
    text = path.read_text()
    assert len(text) < 1_000_000
    assert not re.search(r'[" (](/work|/tmp|/root|/home|/Users)/', text)
    for cell in cells(path, "code"):
        assert len(cell["source"]) <= 25
        for output in cell["outputs"]:
            assert output["output_type"] != "error"
            assert output.get("name") != "stderr"


@pytest.mark.parametrize("path", WORKING, ids=lambda p: p.stem)
def test_a_notebook_defines_nothing_that_another_defines(path):
    names = [re.findall(r"^def (\w+)", "".join(cell["source"]), re.M) for cell in cells(path, "code")]
    assert not any(names)


def test_notebooks_that_build_networks_seed_their_weights():
    building = re.compile(r"\b(Judge|Generator|Decoder)\(")
    sources = {path.stem: "".join(line for cell in cells(path, "code") for line in cell["source"]) for path in WORKING}
    built = {stem: source for stem, source in sources.items() if building.search(source)}
    assert set(built) == {"01_data", "02_pretrain"}
    for source in built.values():
        assert source.index("torch.manual_seed(SEED)") < building.search(source).start()


@pytest.mark.parametrize("path", WORKING, ids=lambda p: p.stem)
def test_each_notebook_runs_by_itself_and_writes_what_the_pipeline_expects(path, results):
    start = time.perf_counter()
    command = [sys.executable, "-m", "lib.pipeline", "run", path.stem, "--profile", "smoke"]
    process = subprocess.run(command, cwd=runs.ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert time.perf_counter() - start < 120
    written = {file.name for file in results.rglob("*") if file.is_file()}
    expected = {
        "01_data": {"dataset.npz", "cutoffs.json", "classifier.safetensors", "judge-a.safetensors", "judge-b.safetensors"},
        "02_pretrain": {"generator.safetensors", "discriminator.safetensors", "metrics-pretrain.csv"},
        "03_direction": {"direction.safetensors", "judge.json", "metrics-direction.csv"},
        "04_unlearn": {"generator.safetensors", "costs-unlearn.csv"},
        "05_evaluate": {"metrics-evaluate.csv", "costs-evaluate.csv"},
        "06_attack": {"attacks-attack.csv", "costs-attack.csv"},
        "09_search": {"trials-search.csv"},
        "10_least": set(),
        "11_needs": {"needs-least.csv"},
        "07_report": {"metrics.csv", "attacks.csv", "costs.csv", "headline.md", "before-after.png", "report.html"},
        "08_audit": {"audit.html", "audit.json"},
    }[path.stem]
    assert expected <= written
