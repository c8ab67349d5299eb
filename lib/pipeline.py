"""The experiment matrix and its runner: profiles, the checks before a kernel starts, papermill, and the manifest.

The Snakefile calls ``python -m lib.pipeline run NOTEBOOK ...`` once per stage; nothing else starts a notebook in batch.
"""

import argparse
import ast
import base64
import fcntl
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
import yaml
from jsonschema import Draft202012Validator

from lib.files import digest, replacing, write_json
from lib.runs import ROOT, SHIPPED, cores, results_root

NOTEBOOKS = ROOT / "notebooks"
MARKS = ("<!-- headline table -->", "<!-- end of headline table -->")
# Large pages, and none given back: what the networks free and allocate anew at every step then costs no page faults, a
# twentieth to a tenth of a training on faces (glibc reads this).
MALLOC = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=17179869184"
# What tells the executions of a notebook apart by itself; of any other parameter the name is told too.
SIBLINGS = ("DATASETS", "DATASET", "MODEL", "FEATURE", "METHOD", "WITHOUT")
PLACES = ("LABELS", "REAL")  # paths, which a command line gives from where it is and a kernel reads in notebooks/
STARTS = ("pretrained", "scratch", "shipped", "all-shipped")
PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "pandas", "matplotlib", "papermill", "snakemake")


class Floats(yaml.SafeLoader):
    """YAML 1.1 reads ``1e-4`` as text; this loader reads it as the number it is."""


Floats.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)$"),
    list("-+.0123456789"),
)


def read_profile(name: str) -> dict:
    """The profile ``profiles/<name>.yaml`` as it is; FileNotFoundError in one sentence if there is none."""
    path = ROOT / "profiles" / f"{name}.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"profile {name!r} does not exist: choose one of {', '.join(profile_names())}.")
    return yaml.load(path.read_text(), Floats)


def profile_names() -> list[str]:
    """The names of all profiles, sorted."""
    return sorted(path.stem for path in (ROOT / "profiles").glob("*.yaml") if path.stem != "schema")


def load_profile(name: str) -> dict:
    """The profile, checked against the schema, the notebooks and the lists of known names.

    Raises FileNotFoundError or ValueError in one sentence.
    """
    profile = read_profile(name)
    schema = yaml.safe_load((ROOT / "profiles" / "schema.yaml").read_text())
    for error in Draft202012Validator(schema).iter_errors(profile):
        where = ".".join(str(part) for part in error.absolute_path) or "the profile"
        raise ValueError(f"{name}.yaml: {where}: {error.message}.")
    for dataset, part in profile["datasets"].items():
        for notebook, values in part["parameters"].items():
            check_parameters(notebook, values)
        for model, features in part["chains"].items():
            for feature in features:
                check_names({"DATASET": dataset, "MODEL": model, "FEATURE": feature})
            for method in methods_of(profile, dataset, model):
                check_names({"METHOD": method})
        for key in ("more", "search", "needs", "headline"):
            for model, feature in part.get(key, {}).items():
                if model not in part["chains"] or (key != "more" and feature not in part["chains"][model]):
                    raise ValueError(f"{name}.yaml: {key} of {dataset} names {model}: {feature}, not in its chains.")
    return profile


def some(profile: dict, datasets: list[str]) -> list[str]:
    """``datasets`` in the profile's order, all of it if the list is empty; ValueError for one it does not have."""
    for name in datasets:
        if name not in profile["datasets"]:
            having = [known for known in profile_names() if name in read_profile(known)["datasets"]]
            elsewhere = f", or a profile that has it: {', '.join(having)}" if having else ""
            known = ", ".join(profile["datasets"])
            raise ValueError(f"dataset {name!r} is not in the profile: choose among {known}{elsewhere}.")
    return [name for name in profile["datasets"] if name in datasets or not datasets]


def cells(profile: dict, datasets: list[str], features: list[str]) -> list[tuple[str, str, str, int]]:
    """(data set, model, feature, seed) of the profile's matrix, of these data sets and features, of all features if the
    list is empty; ValueError in one sentence for a feature that none of the data sets has."""
    chains = [(name, *chain) for name in datasets for chain in profile["datasets"][name]["chains"].items()]
    known = {feature: None for _, _, own in chains for feature in own}
    for feature in features:
        if feature not in known:
            where = f"in the profile for {', '.join(datasets)}"
            raise ValueError(f"feature {feature!r} is not {where}: choose among {', '.join(known)}.")
    wanted = features or known
    return [
        (name, model, feature, seed)
        for name, model, own in chains
        for feature in own
        if feature in wanted
        for seed in profile["seeds"]
    ]


def methods_of(profile: dict, dataset: str, model: str) -> list[str]:
    """The methods that the profile runs on a model: the data set's own list or else the profile's, and more of its own."""
    part = profile["datasets"][dataset]
    return [*part.get("methods", profile["methods"]), *part.get("more", {}).get(model, [])]


def parameters_of(profile: dict, notebook: str, dataset: str, model: str = "") -> dict[str, object]:
    """What the profile sets for a notebook, the model's methods included; nothing for a data set that it does not have."""
    if dataset not in profile["datasets"]:
        return {}
    methods = {"METHODS": methods_of(profile, dataset, model)} if "METHODS" in parameters(notebook) else {}
    return {**methods, **profile["datasets"][dataset]["parameters"].get(notebook, {})}


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
    """Raise ValueError in one sentence when DATASET, FEATURE, MODEL, METHOD, METHODS, DIRECTION, START or a part of LEAST
    is not known."""
    from lib.directions import DIRECTIONS
    from lib.domains import DOMAINS, models
    from lib.features import named
    from lib.methods import METHODS
    from lib.methods.least import SETTINGS

    dataset = str(values.get("DATASET", next(iter(DOMAINS))))
    if dataset not in DOMAINS:
        raise ValueError(f"dataset {dataset!r} is unknown: choose one of {', '.join(DOMAINS)}.")
    if "MODEL" in values and values["MODEL"] not in models(dataset):
        raise ValueError(f"model {values['MODEL']!r} is unknown for {dataset}: choose one of {', '.join(models(dataset))}.")
    for method in [values.get("METHOD", "exact"), *values.get("METHODS", [])]:
        if method not in METHODS:
            raise ValueError(f"method {method!r} is unknown: choose one of {', '.join(METHODS)}.")
    unknown = set(values.get("LEAST", ())) - set(SETTINGS)
    if unknown:
        raise ValueError(f"LEAST has no part {min(unknown)!r}: choose among {', '.join(SETTINGS)}.")
    if values.get("START", "scratch") not in STARTS:
        raise ValueError(f"START {values['START']!r} is unknown: choose one of {', '.join(STARTS)}.")
    if values.get("DIRECTION", "LDA") not in DIRECTIONS:
        raise ValueError(f"direction {values['DIRECTION']!r} is unknown: choose one of {', '.join(DIRECTIONS)}.")
    for key in ("FEATURE", "WITHOUT"):
        if values.get(key):
            named(dataset, str(values[key]))


def run(notebook: str, profile: str, chosen: dict[str, object], outputs: list[Path], checked: bool = False) -> None:
    """Execute one notebook with papermill and record what it made in the manifest.

    The profile's parameters for this notebook are used, then ``chosen``. Raises ValueError before a kernel starts if any is
    wrong, RuntimeError in one sentence if the notebook fails or leaves one of ``outputs`` unmade. A caller that has
    ``checked`` them, as the Snakefile has, once for all stages, spares this process the import of torch.
    """
    dataset, model = ({**parameters(notebook), **chosen}.get(name, "") for name in ("DATASET", "MODEL"))
    settings = read_profile(profile) if checked else load_profile(profile)
    values = {**parameters_of(settings, notebook, dataset, model), "PROFILE": profile, **chosen}
    values = {name: value for name, value in values.items() if name in parameters(notebook) or name in chosen}
    values |= {name: str(Path(values[name]).resolve()) for name in PLACES if Path(values.get(name) or "-").exists()}
    if not checked:
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

    def word(name: str, value: object) -> str:
        known = "-".join(map(str, value)) if isinstance(value, list) else str(value)
        return known if name in SIBLINGS else name.lower() + known

    return "-".join([notebook, *(word(name, value) for name, value in chosen.items() if value != "")]).replace("/", "-")


def execute(notebook: str, values: dict[str, object], target: Path) -> float:
    """Run the notebook and write the executed copy; return the seconds spent in cells other than the imports."""
    import nbformat
    import papermill

    quiet = {"TQDM_DISABLE": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1", "PAPERMILL_RUN": "1"}
    os.environ.update(quiet | {"GLIBC_TUNABLES": MALLOC})
    try:
        book = papermill.execute_notebook(
            NOTEBOOKS / f"{notebook}.ipynb",
            None,
            values,
            cwd=NOTEBOOKS,
            kernel_name="python3",
            progress_bar=False,
            extra_arguments=["--IPKernelApp.log_level=50"],  # nothing about its own sockets and signals
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
    device = platform.machine()
    if Path("/proc/driver/nvidia").exists():  # else importing torch would cost every stage a second for nothing
        import torch

        device = torch.cuda.get_device_name() if torch.cuda.is_available() else device
    versions = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    return {"commit": commit(), "device": f"{device}, {cores()} cores", "versions": versions}


def commit() -> str:
    """The checked-out commit, with ``-dirty`` when code differs from it (results do not count)."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = git(
        "status", "--porcelain", "--untracked-files=no", "--", "lib", "notebooks", "profiles", "Snakefile", "data"
    )
    return (git("rev-parse", "HEAD") or "unknown") + ("-dirty" if changed else "")


def manifest(profile: str) -> None:
    """Gather the record of every stage into ``results/<profile>/manifest.json``; data sets not run here keep theirs, and of
    earlier reports what has not been made anew stays."""
    home = results_root() / profile
    stages = {path.stem: json.loads(path.read_text()) for path in (home / "manifest").glob("*.json")}
    run_here = {stage["parameters"].get("DATASET") for stage in stages.values()}
    old = json.loads((home / "manifest.json").read_text()) if (home / "manifest.json").is_file() else {}
    made = {file for stage in stages.values() for file in stage["outputs"]}
    for stage in old.values():
        stage["outputs"] = {file: known for file, known in stage["outputs"].items() if file not in made}
    kept = {
        name: stage
        for name, stage in old.items()
        if stage["parameters"].get("DATASET") not in run_here - {None} and stage["outputs"]
    }
    write_json(home / "manifest.json", {**kept, **stages})


@contextmanager
def alone(root: Path) -> Iterator[int]:
    """Hold the lock of the results folder. The system frees it when its holders die, so a killed run leaves no trace.

    The lock is inherited by the run's own processes: after a kill -9 of the parent, the next run waits for what it left.
    """
    with replacing(root / ".writable") as probe:
        probe.touch()
    (root / ".writable").unlink()
    with (root / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another run in {root.name}/ to end", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        os.set_inheritable(file.fileno(), True)
        yield file.fileno()


def reproduce(profile: str, datasets: list[str], features: list[str]) -> None:
    """Run a profile's matrix of these data sets and features (all if none is named) through Snakemake; what is made is not
    made again.

    When a stage fails, those that do not depend on it still run, and data sets whose weights cannot be had are left out.
    Raises ValueError for a data set or feature the profile lacks, RuntimeError in one sentence when a stage failed or a
    data set was left out, and PermissionError when the results folder cannot be written.
    """
    matrix = load_profile(profile)
    chosen = some(matrix, datasets)
    cells(matrix, chosen, features)
    missing = {name: reason for name in chosen if (reason := unreachable(name))}
    chosen = [name for name in chosen if name not in missing]
    left_out = " ".join(f"{name} is left out: {reason}" for name, reason in missing.items())
    if not chosen:
        raise RuntimeError(left_out)
    if missing:
        print(left_out, file=sys.stderr)
    start = time.perf_counter()
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores()), "--config", f"profile={profile}"]
    command += [f"datasets={','.join(chosen)}", f"features={','.join(features)}"]
    command += ["--nolock", "--rerun-incomplete", "--keep-going", "--scheduler", "greedy", "--quiet", "progress"]
    command += ["--rerun-triggers", "mtime", "params", "input"]
    with alone(results_root()) as lock:
        if subprocess.run(command, cwd=ROOT, pass_fds=[lock], check=False).returncode:
            raise RuntimeError("a stage failed: its own sentence stands above, and the next run goes on from there.")
    report_time(profile, time.perf_counter() - start)
    if missing:
        raise RuntimeError(left_out)


def unreachable(dataset: str) -> str:
    """Why weights of others that a data set takes cannot be had, in a sentence with the remedy; nothing where they can."""
    from lib.archives import fetch
    from lib.domains import DOMAINS

    try:
        for name in DOMAINS[dataset].archives:
            fetch(name)
    except (OSError, ValueError) as error:
        return str(error)
    return ""


def report_time(profile: str, seconds: float) -> None:
    """Print the wall time of the run, and the share of all stages that the notebook layer took."""
    stages = json.loads((results_root() / profile / "manifest.json").read_text()).values()
    whole, computing = (sum(stage[key] for stage in stages) for key in ("seconds", "seconds_computing"))
    print(f"profile {profile}: {seconds:.0f} s now; all stages {whole:.0f} s, of which {whole - computing:.0f} s")
    print(f"({(whole - computing) / whole:.1%}) for kernels, imports and papermill; see {results_root().name}/{profile}/")


def refresh() -> None:
    """Execute every notebook in order in an empty results folder and store its outputs in it.

    The outputs hold no times or paths, so that a second refresh changes nothing.
    """
    import nbformat
    from nbclient import NotebookClient

    with tempfile.TemporaryDirectory() as root:
        os.environ.update({"FEATURE_UNLEARNING_RESULTS": root, "TQDM_DISABLE": "1"})
        for path in sorted(NOTEBOOKS.glob("*.ipynb")):
            book = nbformat.read(path, as_version=4)
            resources = {"metadata": {"path": str(NOTEBOOKS)}}
            NotebookClient(book, timeout=600, kernel_name="python3", resources=resources, record_timing=False).execute()
            book.metadata = {"kernelspec": book.metadata.kernelspec, "language_info": {"name": "python"}}
            with replacing(path) as temporary:
                nbformat.write(stripped(book), temporary)


def publish(profile: str, datasets: list[str]) -> None:
    """Ship what a finished run made: weights to data/pretrained/, headline notebooks, and the README's table."""
    from lib.domains import DOMAINS

    made, settings = results_root() / profile, load_profile(profile)
    for dataset in some(settings, datasets):
        for name in shipped_files(settings, dataset):
            copy(made / dataset / name, SHIPPED / dataset / name)
        if not DOMAINS[dataset].by_eye:
            ship_dataset(made / dataset / "dataset.npz", SHIPPED / dataset / "dataset.npz", dataset)
        for path in sorted((made / "executed").glob(f"*-{dataset}*.ipynb")):
            if is_headline(path.stem, settings, dataset):
                with replacing(made / "notebooks" / path.name) as temporary:
                    temporary.write_text(lighter(path.read_text()))
    insert(ROOT / "README.md", excerpt(made))


def is_headline(stem: str, settings: dict, dataset: str) -> bool:
    """Whether an executed notebook belongs to one of the data set's headline chains, or is that of its data. The report's
    would only repeat tables and figures, a gold retrain's the original's, and of the methods two are enough to read."""
    chains = [f"-{model}-seed{settings['seeds'][0]}" for model in settings["datasets"][dataset]["headline"]]
    if stem.startswith("02"):
        return stem.endswith(tuple(chains))
    if stem.startswith("04") and not stem.endswith(("-exact", "-least")):
        return False
    features = settings["datasets"][dataset]["headline"].values()
    whole = [f"{chain}-{feature}" for chain, feature in zip(chains, features, strict=True)]
    return stem.startswith("01") or any(chain in stem for chain in whole)


def excerpt(made: Path) -> str:
    """The headline table in ``made`` (results/<profile>), its headline chains only, for the README."""
    from lib import report

    table = report.read_table(made / "tables" / "headline.csv")
    chains = {
        (dataset, *chain)
        for dataset, part in load_profile(made.name)["datasets"].items()
        for chain in part["headline"].items()
    }
    rows = [chain in chains for chain in table[report.CHAIN].itertuples(index=False, name=None)]
    return table[rows].to_markdown(index=False, disable_numparse=True) + "\n"


def shipped_files(settings: dict, dataset: str) -> list[str]:
    """The files of a run that come with the kit, relative to the data set.

    Not those that hold weights which somebody else published: they are fetched where they are needed. Unlearned generators
    only of the features that the headline or the smoke profile names, to keep a clone small.
    """
    from lib.domains import DOMAINS

    domain, seed = DOMAINS[dataset], settings["seeds"][0]
    names = ["cutoffs.json", "errors.json"]
    names += [] if domain.by_eye else [f"{name}.safetensors" for name in ("classifier", "judge-a", "judge-b")]
    for model, features in settings["datasets"][dataset]["chains"].items():
        home, own = f"{model}/seed{seed}", model not in domain.generators
        companion = "discriminator" if model == "gan" else "encoder"
        names += [f"{home}/{name}.safetensors" for name in ("generator", companion) if own]
        smoke = load_profile("smoke")["datasets"].get(dataset, {"chains": {}})["chains"].get(model, [])
        whole = {settings["datasets"][dataset]["headline"].get(model), *smoke}
        for feature in features:
            names += [f"{home}/{feature}/{name}" for name in ("direction.safetensors", "judge.json")]
            made = methods_of(settings, dataset, model) if feature in whole else ()
            names += [f"{home}/{feature}/{method}/generator.safetensors" for method in ("gold", *made) if own]
    return names


def ship_dataset(source: Path, target: Path, dataset: str) -> None:
    """Ship the first rows of a run's data set: as many as notebook 01 keeps under the smoke profile."""
    from lib import data

    sizes = {**parameters("01_data"), **parameters_of(load_profile("smoke"), "01_data", dataset)}
    whole = data.load(source)
    rows = [*np.flatnonzero(whole.train)[: sizes["N_TRAIN"]], *np.flatnonzero(~whole.train)[: sizes["N_TEST"]]]
    data.save(target, whole.rows(np.array(rows)))


def lighter(notebook: str) -> str:
    """The executed notebook with its figures in ninety colours each."""
    from lib.plots import in_few_colours

    book = json.loads(notebook)
    for output in [output for cell in book["cells"] for output in cell.get("outputs", [])]:
        if "image/png" in output.get("data", {}):
            small = in_few_colours(base64.b64decode(output["data"]["image/png"]), 90)
            output["data"]["image/png"] = base64.b64encode(small).decode()
    return json.dumps(book, indent=1, ensure_ascii=False) + "\n"


def copy(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all."""
    with replacing(target) as temporary:
        temporary.write_bytes(source.read_bytes())


def insert(path: Path, table: str) -> None:
    """Replace what stands between the two marks in the file by the table."""
    before, rest = path.read_text().split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    with replacing(path) as temporary:
        temporary.write_text(f"{before}{MARKS[0]}\n{table}{MARKS[1]}{after}")


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
    """Command line; see ``python -m lib.pipeline --help``."""
    parser = argparse.ArgumentParser(prog="python -m lib.pipeline", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "check", "manifest", "reproduce", "publish", "notebooks"):
        command = commands.add_parser(name)
        command.add_argument("--profile", default="smoke")
        if name in ("reproduce", "publish"):
            command.add_argument("--datasets", nargs="*", default=[])
        if name == "reproduce":
            command.add_argument("--features", nargs="*", default=[])
        if name == "run":
            command.add_argument("notebook")
            command.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
            command.add_argument("--outputs", nargs="*", type=Path, default=[])
            command.add_argument("--checked", action="store_true", help="the caller has checked profile and names")
    given = parser.parse_args(arguments)
    if "FEATURE_UNLEARNING_RESULTS" in os.environ:  # kernels run in another folder
        os.environ["FEATURE_UNLEARNING_RESULTS"] = str(results_root())
    try:
        if given.command == "run":
            outputs = [path.resolve() for path in given.outputs]
            run(given.notebook, given.profile, {name: literal(value) for name, value in given.p}, outputs, given.checked)
        elif given.command == "notebooks":
            refresh()
        else:
            actions = {"check": load_profile, "manifest": manifest, "reproduce": reproduce, "publish": publish}
            chosen = [vars(given)[name] for name in ("datasets", "features") if name in given]
            actions[given.command](given.profile, *chosen)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
