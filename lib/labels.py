"""Labels of generated samples given by hand: a CSV with the columns ``index`` and ``label``.

``index`` is the number of the latent in the labelling stream, ``label`` is 1 (has the feature), 0 (has not) or ``unsure``.
"""

import csv
from pathlib import Path

import numpy as np

COLUMNS = ["index", "label"]


def read_labels(path: Path, n: int) -> dict[int, bool]:
    """index -> label for the rows of the file that are not unsure.

    Raises FileNotFoundError, or ValueError in one sentence for unknown columns, an index that is no number, outside
    0 .. n - 1 or given twice, a label other than 0, 1 or unsure, and a file without a positive.
    """
    if not path.is_file():
        raise FileNotFoundError(f"label file {path} does not exist: give LABELS = '' to label with the judge.")
    labels: dict[int, bool] = {}
    seen: set[int] = set()
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != COLUMNS:
            raise ValueError(f"{path} has the columns {reader.fieldnames}: a label file has the columns index,label.")
        for row in reader:
            index = checked_index(row["index"], n, seen, f"{path}, line {reader.line_num}")
            seen.add(index)
            if row["label"] not in ("0", "1", "unsure"):
                raise ValueError(f"{path}, line {reader.line_num}: label {row['label']!r} must be 0, 1 or unsure.")
            if row["label"] != "unsure":
                labels[index] = row["label"] == "1"
    if not any(labels.values()):
        raise ValueError(f"{path} has no positive label: mark at least one sample that shows the feature with 1.")
    return labels


def checked_index(text: str, n: int, seen: set[int], where: str) -> int:
    """The index as a number; ValueError naming the place if it is none, out of range or a duplicate."""
    if not text.isdecimal():
        raise ValueError(f"{where}: index {text!r} is not a whole number.")
    if int(text) >= n:
        raise ValueError(f"{where}: index {text} is outside 0..{n - 1}: raise N_LABELS or mend the file.")
    if int(text) in seen:
        raise ValueError(f"{where}: index {text} is given twice: keep one of its rows.")
    return int(text)


def overruled(verdicts: np.ndarray, labels: dict[int, bool]) -> np.ndarray:
    """The judge's verdicts (N,) with the hand-given labels put in their place."""
    merged = verdicts.copy()
    merged[list(labels)] = list(labels.values())
    return merged
