"""The experiment matrix and its runner: profiles, the checks before a kernel starts, papermill, and the manifest.

The Snakefile calls ``python -m lib.pipeline run NOTEBOOK ...`` once per stage; nothing else starts a notebook in batch.
"""

import argparse
import ast
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator

from lib.files import replacing
from lib.runs import ROOT, results_root

NOTEBOOKS = ROOT / "notebooks"
PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "pandas", "matplotlib", "papermill", "snakemake")


class Floats(yaml.SafeLoader):
    """YAML 1.1 reads ``1e-4`` as text; this loader reads it as the number it is."""


Floats.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    __import__("re").compile(r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)$"),
    list("-+.0123456789"),
)


def load_profile(name: str) -> dict:
    """The profile ``profiles/<name>.yaml``, checked against the schema, the notebooks and the lists of known names.

    Raises FileNotFoundError or ValueError in one sentence.
    """
    path = ROOT / "profiles" / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml") if p.stem != "schema"))
        raise FileNotFoundError(f"profile {name!r} does not exist: choose one of {known}.")
    profile = yaml.load(path.read_text(), Floats)
    schema = yaml.safe_load((path.parent / "schema.yaml").read_text())
    for error in Draft202012Validator(schema).iter_errors(profile):
        where = ".".join(str(part) for part in error.absolute_path) or "the profile"
        raise ValueError(f"{path.name}: {where}: {error.message}.")
    for notebook, values in profile["parameters"].items():
        check_parameters(notebook, values)
    for model, features in profile["chains"].items():
        for feature in features:
            check_names({"DATASET": profile["dataset"], "MODEL": model, "FEATURE": feature})
    for method in profile["methods"]:
        check_names({"METHOD": method})
    return profile


def parameters(notebook: str) -> dict[str, object]:
    """Name -> value of the literals in the notebook's cell tagged ``parameters``.

    Raises FileNotFoundError if there is no such notebook.
    """
    path = NOTEBOOKS / f"{notebook}.ipynb"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in NOTEBOOKS.glob("*.ipynb")))
        raise FileNotFoundError(f"notebook {notebook!r} does not exist: choose one of {known}.")
    cells = [cell for cell in json.loads(path.read_text())["cells"] if "parameters" in cell["metadata"].get("tags", [])]
    statements = ast.parse("".join(line for cell in cells for line in cell["source"])).body
    return {statement.targets[0].id: ast.literal_eval(statement.value) for statement in statements}


def check_parameters(notebook: str, values: dict[str, object]) -> None:
    """Raise ValueError in one sentence for a parameter the notebook does not have, of another type, or an unknown name."""
    defaults = parameters(notebook)
    for name, value in values.items():
        if name not in defaults:
            raise ValueError(f"{notebook} has no parameter {name!r}: it has {', '.join(defaults)}.")
        expected = type(defaults[name])
        whole_float = expected is float and type(value) is int
        if type(value) is not expected and not whole_float:
            kind = type(value).__name__
            raise ValueError(f"{notebook}: {name} must be {expected.__name__}, not {kind} ({value!r}).")
    check_names({**defaults, **values})


def check_names(values: dict[str, object]) -> None:
    """Raise ValueError in one sentence when DATASET, FEATURE, MODEL or METHOD is not known."""
    from lib.features import FEATURES, named
    from lib.methods import METHODS
    from lib.models import GENERATORS

    if values.get("MODEL", "gan") not in GENERATORS:
        raise ValueError(f"model {values['MODEL']!r} is unknown: choose one of {', '.join(GENERATORS)}.")
    if values.get("METHOD", "exact") not in METHODS:
        raise ValueError(f"method {values['METHOD']!r} is unknown: choose one of {', '.join(METHODS)}.")
    dataset = str(values.get("DATASET", next(iter(FEATURES))))
    for key in ("FEATURE", "WITHOUT"):
        if values.get(key):
            named(dataset, str(values[key]))


def run(notebook: str, profile: str, chosen: dict[str, object], outputs: list[Path]) -> None:
    """Execute one notebook with papermill and record what it made in the manifest.

    The profile's parameters for this notebook are used, then ``chosen``. Raises ValueError before a kernel starts if any is
    wrong, RuntimeError in one sentence if the notebook fails or leaves one of ``outputs`` unmade.
    """
    values = {**load_profile(profile)["parameters"].get(notebook, {}), "PROFILE": profile, **chosen}
    values = {name: value for name, value in values.items() if name in parameters(notebook) or name in chosen}
    check_parameters(notebook, values)
    executed = results_root() / profile / "executed" / f"{tag(notebook, chosen)}.ipynb"
    start = time.perf_counter()
    with replacing(executed) as temporary:
        computing = execute(notebook, values, temporary)
        for path in outputs:
            if not path.is_file():
                raise RuntimeError(f"{notebook} ended without writing {path}: this is a fault of the notebook.")
    entry = {
        "notebook": notebook,
        "parameters": {**parameters(notebook), **values},
        "seconds": round(time.perf_counter() - start, 2),
        "seconds_computing": round(computing, 2),
        **machine(),
        "outputs": {str(path.relative_to(results_root() / profile)): digest(path) for path in outputs},
    }
    write_json(results_root() / profile / "manifest" / f"{tag(notebook, chosen)}.json", entry)


def tag(notebook: str, chosen: dict[str, object]) -> str:
    """A file name for this execution: the notebook and the values that tell it from its siblings."""
    return "-".join([notebook, *(f"seed{v}" if k == "SEED" else str(v) for k, v in chosen.items() if v != "")])


def execute(notebook: str, values: dict[str, object], target: Path) -> float:
    """Run the notebook and write the executed copy; return the seconds spent in cells other than the imports."""
    import nbformat
    import papermill

    quiet = {"TQDM_DISABLE": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1", "PAPERMILL_RUN": "1"}
    os.environ.update(quiet)
    try:
        book = papermill.execute_notebook(
            NOTEBOOKS / f"{notebook}.ipynb", None, values, cwd=NOTEBOOKS, kernel_name="python3", progress_bar=False
        )
    except papermill.PapermillExecutionError as error:
        raise RuntimeError(f"{notebook} stopped with {error.ename}: {error.evalue}") from None
    cells = [cell for cell in book.cells if cell.cell_type == "code" and "imports" not in cell.metadata.get("tags", [])]
    seconds = sum(cell.metadata.papermill.get("duration") or 0 for cell in cells)
    nbformat.write(stripped(book), target)
    return seconds


def stripped(book: dict) -> dict:
    """The notebook without times, paths of the run and random ids, so that the same run gives the same file."""
    book.metadata.pop("papermill", None)
    for number, cell in enumerate(book.cells):
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.id = f"injected-{number}"
    return book


def machine() -> dict[str, object]:
    """Commit, library versions and device, for the manifest."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    return {"commit": commit(), "device": f"{device}, {cores} cores", "versions": versions}


def commit() -> str:
    """The checked-out commit, with ``-dirty`` when code differs from it (results do not count)."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = git(
        "status", "--porcelain", "--untracked-files=no", "--", "lib", "notebooks", "profiles", "Snakefile", "data"
    )
    return (git("rev-parse", "HEAD") or "unknown") + ("-dirty" if changed else "")


def digest(path: Path) -> dict[str, object]:
    """sha256 and size of a file."""
    data = path.read_bytes()
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def write_json(path: Path, value: object) -> None:
    """Write JSON under a temporary name first."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")


def manifest(profile: str) -> None:
    """Gather the record of every stage into ``results/<profile>/manifest.json``."""
    folder = results_root() / profile / "manifest"
    stages = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    write_json(results_root() / profile / "manifest.json", stages)


def literal(text: str) -> object:
    """A command-line value: a Python literal where it is one, else the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def source_digest(notebook: str) -> str:
    """Hash of a notebook's code, so that the pipeline reruns a stage whose code changed but not one merely re-executed."""
    cells = json.loads((NOTEBOOKS / f"{notebook}.ipynb").read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return hashlib.sha256("\n".join(code).encode()).hexdigest()[:16]


def main(arguments: list[str] | None = None) -> int:
    """Command line: ``run NOTEBOOK --profile P -p NAME VALUE ... --outputs PATH ...``, ``check``, ``manifest``."""
    parser = argparse.ArgumentParser(prog="python -m lib.pipeline", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "check", "manifest"):
        command = commands.add_parser(name)
        command.add_argument("--profile", default="smoke")
        if name == "run":
            command.add_argument("notebook")
            command.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
            command.add_argument("--outputs", nargs="*", type=Path, default=[])
    given = parser.parse_args(arguments)
    try:
        if given.command == "run":
            outputs = [path.resolve() for path in given.outputs]
            run(given.notebook, given.profile, {name: literal(value) for name, value in given.p}, outputs)
        elif given.command == "check":
            load_profile(given.profile)
        else:
            manifest(given.profile)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
