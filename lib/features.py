"""Target features: what a generator is to forget.

A feature is one small function of an image batch and its attribute table that returns a score per image; an image has the
feature when its score reaches the cut-off. As in the paper, a feature that is not yes-or-no takes the top 10 % of the
training set as its positives. To add a feature, write its score and list it in ``FEATURES``.
"""

import json
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from lib.avatars import CARTOONS
from lib.celeba import ATTRIBUTES
from lib.data import Table

Score = Callable[[torch.Tensor, Table], np.ndarray]  # images (N, C, H, W), table -> (N,)


class Feature(NamedTuple):
    """title: as figures name it; share: the top share of the training set that has it, None if the score is 0 or 1."""

    title: str
    score: Score
    share: float | None


def thickness(images: torch.Tensor, table: Table) -> np.ndarray:
    """Mean stroke thickness in pixels."""
    return table["thickness"]


def left_slant(images: torch.Tensor, table: Table) -> np.ndarray:
    """How far the digit leans to the left, in radians."""
    return -table["slant"]


def is_one(images: torch.Tensor, table: Table) -> np.ndarray:
    """1 where the digit is a one, else 0."""
    return (table["digit"] == 1).astype(np.float32)


def marked(attribute: str) -> Feature:
    """The feature of a 0/1 attribute: its column of the table."""
    return Feature(attribute.lower().replace("_", " ").replace("-", " "), lambda images, table: table[attribute], None)


def has_beard(images: torch.Tensor, table: Table) -> np.ndarray:
    """1 where CelebA does not say No_Beard, else 0."""
    return 1 - table["No_Beard"]


FEATURES: dict[str, dict[str, Feature]] = {
    "mnist": {
        "thick": Feature("thick strokes", thickness, 0.10),
        "left-slanted": Feature("left slant", left_slant, 0.10),
        "digit-1": Feature("digit 1", is_one, None),
    },
    "avatars": {name: marked(name) for name in CARTOONS},
    "ffhq": {name: marked(name) for name in ("glasses", "hat", "bangs", "beard", "smile")},
    "digiface": {name: marked(name) for name in ("glasses", "hat", "facial-hair")},
    "celeba": {
        **{name.lower().replace("_", "-"): marked(name) for name in ATTRIBUTES},  # "bangs", "wearing-hat", ...
        "beard": Feature("beard", has_beard, None),
    },
}


def named(dataset: str, feature: str) -> Feature:
    """The feature of that name. Raises ValueError listing the known names, or the three nearest of many."""
    if dataset not in FEATURES:
        raise ValueError(f"dataset {dataset!r} is unknown: choose one of {', '.join(FEATURES)}.")
    if feature not in FEATURES[dataset]:
        known = list(FEATURES[dataset])
        if len(known) > 10:
            near = get_close_matches(feature.lower().replace("_", "-"), known, n=3, cutoff=0)
            known = [*near, f"the other {len(known) - len(near)} in lib/features.py"]
        raise ValueError(f"feature {feature!r} is unknown for {dataset}: choose one of {', '.join(known)}.")
    return FEATURES[dataset][feature]


def cutoff(feature: Feature, images: torch.Tensor, table: Table) -> float:
    """The score from which an image has the feature, taken from a training set (its images and its table)."""
    return 0.5 if feature.share is None else float(np.quantile(feature.score(images, table), 1 - feature.share))


def rule(dataset: str, feature: str, cutoffs_file: Path) -> Callable[[torch.Tensor, Table], np.ndarray]:
    """The exact judge: (images, table) -> bool (N,), true where the score reaches the cut-off in notebook 01's file."""
    score, cutoffs = named(dataset, feature).score, json.loads(cutoffs_file.read_text())
    return lambda images, table: score(images, table) >= cutoffs[feature]
