"""The metric card: what stands behind each distance of a run, so that a number is not compared with one of another kind."""

import json
from pathlib import Path

import pandas as pd

from lib.domains import DOMAINS
from lib.runs import ROOT, shown

COLUMNS = ["dataset", "metric", "estimator", "extractor", "weights sha256", "d", "n", "reference", "n reference", "image"]
NAME = r"^(?P<kind>FD extrapolated|FD|KID p|KID|FID)-(?P<extractor>[a-z]+\d+)(?:-n\d+)? to (?P<reference>.+)$"
SOURCE = r"d=(?P<d>\d+), (?P<n>\d+) against (?P<other>\d+)(?:.*sha256 (?P<weights>[0-9a-f]{64}))?"
FRECHET = "Fréchet distance of two Gaussians, eigenvalues in float64, plug-in (too large by about c/n)"
ESTIMATORS = {
    "FD": FRECHET,
    "FD extrapolated": "the same, intercept of a line against 1/n (Chong & Forsyth 2020)",
    "FID": FRECHET,
    "KID": "unbiased squared MMD of all pairs, kernel (x.y/d + 1)^3",
    "KID p": "share of relabelled pools whose KID is as large (Gretton et al. 2012)",
}
# What the extractor does to an image before its first layer.
RESIZE = {"cnn64": "not resized", "lite0": "bilinear to 128 px", "inception2048": "gray repeated, bilinear to 299 px"}


def card(metrics: pd.DataFrame) -> pd.DataFrame:
    """One line a data set and distance: estimator, extractor and the sha256 of its weights, d, n of both sides, reference,
    image size and resize.

    metrics: rows with the columns dataset, metric and protocol; rows of anything but a distance are left out. Rows that
    name no weights are older than the record: theirs are those of the published run's manifest.
    """
    named = metrics.metric.str.extract(NAME)
    found = pd.concat([metrics[["dataset", "metric"]], named, metrics.protocol.str.extract(SOURCE)], axis=1)
    found = found[found.kind.notna()].drop_duplicates()
    weights = found.weights
    if weights.isna().any():
        weights = weights.fillna(found.dataset.map(published()))
    size = found.dataset.map(lambda name: f"{DOMAINS[name].size} px, ")
    return found.assign(
        estimator=found.kind.map(ESTIMATORS),
        image=size + found.extractor.map(RESIZE),
        **{"weights sha256": weights, "n reference": found.other},
    )[COLUMNS].reset_index(drop=True)


def published(manifest: Path = ROOT / "results" / "cpu" / "manifest.json") -> dict[str, str]:
    """Data set -> sha256 of the classifier that the published run made. FileNotFoundError if its manifest was removed."""
    if not manifest.is_file():
        raise FileNotFoundError(f"{shown(manifest)} is missing: restore it with `git checkout -- {shown(manifest)}`.")
    stages = json.loads(manifest.read_text()).values()
    outputs = {place: record["sha256"] for stage in stages for place, record in stage["outputs"].items()}
    return {name: outputs[place] for name in DOMAINS if (place := f"{name}/classifier.safetensors") in outputs}
