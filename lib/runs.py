"""Where things are: one path per machine-made file, the shipped fallback, and rows of results.

Every path carries profile, dataset, model, seed, feature and method, in this order:
``results/<profile>/<dataset>/<model>/seed<k>/<feature>/<method>/<file>``.
"""

import csv
import os
from collections.abc import Iterable
from pathlib import Path

from lib.files import replacing

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "data" / "pretrained"

KEYS = ("dataset", "model", "feature", "method", "seed")
METRICS = (*KEYS, "metric", "value", "low", "high", "n", "protocol")
ATTACKS = (*METRICS, "attack", "budget", "judge")
COSTS = (*KEYS, "stage", "seconds", "steps")
NEEDS = (*METRICS, "variant", "labels")
TRIALS = (*KEYS, "trial", "rate", "strength", "ratio", "distance", "preservation", "score", "seconds")

# What a report consists of: results/<profile>/tables/<name>.csv|md, and figures/<dataset>/<name>.png.
TABLES = (
    "headline",
    "axes",
    "judges",
    "generators",
    "directions",
    "removal",
    "quality",
    "card",
    "preservation",
    "drift",
    "attacks",
    "costs",
)
FIGURES = ("before-after", "removal-quality", "three-axes", "attack-curves", "preservation")

# Which notebook writes a file, for the sentence a reader gets when it is missing.
WRITERS = {
    "dataset.npz": "01_data",
    "classifier.safetensors": "01_data",
    "judge-a.safetensors": "01_data",
    "judge-b.safetensors": "01_data",
    "generator.safetensors": "02_pretrain (or 04_unlearn, for an unlearned one)",
    "encoder.safetensors": "02_pretrain with MODEL = 'vae'",
    "discriminator.safetensors": "02_pretrain with MODEL = 'gan'",
    "direction.safetensors": "03_direction",
    "judge.json": "03_direction",
    "cutoffs.json": "01_data",
    "errors.json": "01_data",
}


def in_batch() -> bool:
    """Whether nobody is looking: in batch runs and tests, which set TQDM_DISABLE, no bars and no widgets are shown."""
    return bool(os.environ.get("TQDM_DISABLE"))


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def results_root() -> Path:
    """``results/``, or the folder named by the environment variable FEATURE_UNLEARNING_RESULTS."""
    return Path(os.environ.get("FEATURE_UNLEARNING_RESULTS", ROOT / "results")).resolve()


def out(profile: str, *parts: str | int) -> Path:
    """The path of a machine-made file; a seed is given as its number. ``out("cpu", "mnist", "gan", 0, "curve.csv")``."""
    return results_root().joinpath(profile, *(f"seed{part}" if isinstance(part, int) else part for part in parts))


def shipped(*parts: str | int) -> Path:
    """The path of a file that comes with the kit, under ``data/pretrained/``."""
    return SHIPPED.joinpath(*(f"seed{part}" if isinstance(part, int) else part for part in parts))


def to_start_from(*parts: str | int) -> Path:
    """The shipped file; FileNotFoundError in one sentence where none came with the kit."""
    path = shipped(*parts)
    if not path.is_file():
        raise FileNotFoundError(f"{shown(path)} does not come with the kit: begin anew with START = 'scratch'.")
    return path


def find(profile: str, *parts: str | int) -> Path:
    """The file this profile made, or else the shipped one.

    Raises FileNotFoundError naming the notebook that makes it.
    """
    made = out(profile, *parts)
    if made.is_file():
        return made
    if shipped(*parts).is_file():
        return shipped(*parts)
    maker = WRITERS.get(made.name, "an earlier stage")
    raise FileNotFoundError(f"{shown(made)} is missing: run notebook {maker} first, or `make reproduce PROFILE={profile}`.")


def shown(path: Path) -> str:
    """The path as a reader may see it: relative to the project where it lies inside."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


def rows_of(common: dict, rows: Iterable[dict]) -> list[dict]:
    """Each row with the common keys added."""
    return [{**common, **row} for row in rows]


def write_rows(path: Path, columns: tuple[str, ...], rows: list[dict]) -> None:
    """Write tidy rows as CSV, six significant digits a number, under a temporary name first.

    Raises ValueError for a row with an unknown column.
    """
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: written(value) for key, value in row.items()} for row in rows)


def written(value: object) -> object:
    """A float in six significant digits; anything else as it is."""
    return f"{value:.6g}" if isinstance(value, float) else value


def read_rows(path: Path) -> list[dict]:
    """The rows of a CSV file as text."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
