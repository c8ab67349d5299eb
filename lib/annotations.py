"""Features of generated samples labelled by eye, and how well the labeller agrees with itself.

A file has the columns ``index`` and one for each feature; ``index`` is the number of the latent in the labelling stream,
a label is 1 (has the feature), 0 (has not) or ``unsure``. How each file was made stands in ``data/annotations/README.md``.
"""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib.labels import MARKS, opened
from lib.metrics import Interval, wilson
from lib.runs import ROOT, shown

FOLDER = ROOT / "data" / "annotations"
COLUMNS = "index, and one a feature"


def read(path: Path, feature: str) -> tuple[np.ndarray, np.ndarray]:
    """The samples that are not unsure: their indices, int (N,), ascending, and whether each has the feature, bool (N,).

    Raises FileNotFoundError, or ValueError in one sentence (see ``column``).
    """
    sure = {index: label == "1" for index, label in sorted(column(path, feature).items()) if label != "unsure"}
    return np.array(list(sure), dtype=np.int64), np.array(list(sure.values()), dtype=bool)


def features(path: Path) -> list[str]:
    """The features that a file has labels of; none unless its first column is ``index``. Raises FileNotFoundError."""
    if not path.is_file():
        raise FileNotFoundError(f"{shown(path)} is missing: restore it with `git checkout -- data/annotations`.")
    with opened(path, COLUMNS) as file:
        first, *names = next(csv.reader(file), [""]) or [""]
    return names if first == "index" else []


def column(path: Path, feature: str) -> dict[int, str]:
    """index -> "0", "1" or "unsure", in the order of the file.

    Raises FileNotFoundError for a missing file and ValueError, naming the line, for a feature without a column, an
    index that is no number or comes twice, a label other than these three, a row or a head that do not fit, and a file
    without labels.
    """
    known = features(path)
    if feature not in known:
        remedy = f"choose one of {', '.join(known)}" if known else f"its columns must be {COLUMNS}"
        raise ValueError(f"{shown(path)} has no labels of {feature!r}: {remedy}.")
    labels: dict[int, str] = {}
    with opened(path, COLUMNS) as file:
        reader = csv.DictReader(file)
        for row in reader:
            index, label, where = row["index"], row[feature], f"{shown(path)}, line {reader.line_num}"
            if None in row or len(set(known)) < len(known):
                raise ValueError(f"{where}: one field is needed for each column, and columns of different names.")
            if not index.isdecimal() or int(index) in labels:
                raise ValueError(f"{where}: index {index!r} must be a whole number that no other row has.")
            if label not in MARKS:
                raise ValueError(f"{where}: label {label!r} must be 0, 1 or unsure.")
            labels[int(index)] = label
    if not labels:
        raise ValueError(f"{shown(path)} holds no labelled sample: label some by eye first.")
    return labels


def matrix(path: Path) -> dict[int, list[float]]:
    """index -> one number a feature of the file: 1, 0, or NaN for unsure. Raises as ``column``."""
    columns = [column(path, feature) for feature in features(path) or [""]]
    numbers = {"0": 0.0, "1": 1.0, "unsure": np.nan}
    return {index: [numbers[labels[index]] for labels in columns] for index in columns[0]}


class Repeat(NamedTuple):
    """Two looks at the same samples. differ: how many of those with a 0 or 1 both times changed; sure: how many these
    are; unsure: how many were unsure once or twice."""

    differ: int
    sure: int
    unsure: int

    @property
    def rate(self) -> Interval:
        """Share of the sure samples whose label changed, with Wilson's 95 % interval."""
        return wilson(self.differ, self.sure)


def repeat(first: Path, second: Path, feature: str) -> Repeat:
    """Compare the labels of the samples that both files hold: the labeller's own disagreement.

    Raises ValueError when no sample has a 0 or 1 in both (and as ``column``).
    """
    once, twice = column(first, feature), column(second, feature)
    both = [(once[index], twice[index]) for index in once.keys() & twice.keys()]
    sure = [pair for pair in both if "unsure" not in pair]
    if not sure:
        raise ValueError(f"{shown(first)} and {shown(second)} share no sample labelled 0 or 1 in both: label some twice.")
    return Repeat(sum(a != b for a, b in sure), len(sure), len(both) - len(sure))
