"""Labels of generated samples given by hand: a CSV with the columns ``index`` and ``label``.

``index`` is the number of the latent in the labelling stream, ``label`` is 1 (has the feature), 0 (has not) or ``unsure``.
"""

import csv
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np

from lib.runs import shown, write_rows

COLUMNS = ["index", "label"]
MARKS = ("0", "1", "unsure")


def read_labels(path: Path, n: int) -> dict[int, bool]:
    """index -> label for the rows of the file that are not unsure.

    Raises FileNotFoundError or ValueError as ``read_marks``, and ValueError for a file without a positive.
    """
    labels = {index: mark == "1" for index, mark in read_marks(path, n).items() if mark != "unsure"}
    if not any(labels.values()):
        raise ValueError(f"{path} has no positive label: mark at least one sample that shows the feature with 1.")
    return labels


@contextmanager
def opened(path: Path, columns: str) -> Iterator[TextIO]:
    """The file as text, without the mark that spreadsheets put first; ValueError in one sentence, which names the columns,
    if it is none."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield file
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{shown(path)} is not a text file: it must have the columns {columns}.") from error


def read_marks(path: Path, n: int) -> dict[int, str]:
    """index -> "0", "1" or "unsure", for every row of the file.

    Raises FileNotFoundError, or ValueError in one sentence for unknown columns, an index that is no number, outside
    0 .. n - 1 or given twice, a label other than 0, 1 or unsure, and a file that is no text.
    """
    if not path.is_file():
        raise FileNotFoundError(f"label file {path} does not exist: mark samples by eye first, or name another file.")
    marks: dict[int, str] = {}
    with opened(path, ",".join(COLUMNS)) as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != COLUMNS:
            raise ValueError(f"{path} has the columns {reader.fieldnames}: a label file has the columns index,label.")
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            index = checked_index(row["index"], n, marks, where)
            if None in row:
                raise ValueError(f"{where}: the row has more than the columns index,label: remove the rest.")
            if row["label"] not in MARKS:
                raise ValueError(f"{where}: label {row['label']!r} must be 0, 1 or unsure.")
            marks[index] = row["label"]
    return marks


def write_marks(path: Path, marks: dict[int, str]) -> None:
    """Write what ``read_marks`` reads, by index, under a temporary name first."""
    write_rows(path, tuple(COLUMNS), [{"index": index, "label": marks[index]} for index in sorted(marks)])


def checked_index(text: str, n: int, seen: Container[int], where: str) -> int:
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
