"""Audit of one's own model: what an unlearned generator removed, kept, and gives back under attack, on one page.

    python -m lib.audit --original before.pt --generator after.pt --latent-dim 128 --labels labels.csv --out audit/

Takes any two generators that map latents (N, d) from N(0, I) to images (N, 1 or 3, H, H) in [-1, 1]: TorchScript, the kit's
own safetensors, or a Python callable ``module:function`` that returns such a module. The labels are those of the original's
samples: a CSV with the columns index,label (1, 0, unsure), index the number of the latent. Without a label file yet,
``--sheet`` writes the samples to be labelled.
"""

import argparse
import base64
import importlib
import io
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from lib import metrics, plots, tampering
from lib.attacks import amplify, latent_search, start_latents
from lib.by_eye import VIEWS, cross_validated, fit_eye_judge, views
from lib.files import replacing
from lib.judges import read
from lib.labels import read_labels
from lib.latent import latents, prior, stream, target_vector
from lib.lite0 import Lite0, load_lite0
from lib.metrics import Errors, Interval
from lib.models import GENERATORS, load_generator, sample
from lib.pipeline import digest, write_json
from lib.report import html_page
from lib.train import resolve_device
from lib.weights import header

RADII = (1.0, 2.0, 4.0)


class Foreign(nn.Module):
    """A generator from elsewhere, whose latents' dimension has to be told."""

    def __init__(self, model: nn.Module, latent_dim: int) -> None:
        super().__init__()
        self.model, self.latent_dim = model, latent_dim
        if next(model.parameters(), None) is None:
            self.place = nn.Parameter(torch.zeros(()), requires_grad=False)  # says where the model is

    def forward(self, z: Tensor) -> Tensor:
        return self.model(z)


class Rgb(nn.Module):
    """A generator whose grey images are repeated over three channels, as the judges' network wants them."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator, self.latent_dim = generator, generator.latent_dim

    def enter(self, z: Tensor) -> Tensor:
        """The generator's latents of z from N(0, I)."""
        return self.generator.enter(z) if hasattr(self.generator, "enter") else z

    def forward(self, z: Tensor) -> Tensor:
        images = self.generator(z)
        return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def load(place: str, latent_dim: int, device: torch.device) -> nn.Module:
    """The generator at a path or of a callable ``module:function``, in eval mode, without gradients to its weights.

    TorchScript runs tensor operations alone, safetensors nothing; a callable is your own code. Raises FileNotFoundError or
    ValueError in one sentence for anything else, and for images of another shape or range.
    """
    if ":" in place and not Path(place).exists():
        module, name = place.split(":", 1)
        generator = Foreign(getattr(importlib.import_module(module), name)(), latent_dim)
    elif not Path(place).is_file():
        raise FileNotFoundError(f"generator {place} does not exist: give a file, or a callable as module:function.")
    elif Path(place).suffix == ".safetensors":
        generator = load_generator(Path(place), kind_of(Path(place)), device)
    else:
        try:
            generator = Foreign(torch.jit.load(place, map_location="cpu"), latent_dim)
        except RuntimeError as error:
            raise ValueError(f"{place} is not TorchScript: save the generator with torch.jit.script or trace.") from error
    generator = Rgb(generator).to(device).eval().requires_grad_(False)
    check(generator, place)
    return generator


def kind_of(path: Path) -> str:
    """Which of ``GENERATORS`` a file of the kit's own holds; ValueError if it is none."""
    model = str(header(path).get("kind")).removesuffix("-generator")
    if model not in GENERATORS:
        raise ValueError(f"{path} holds no generator of this kit: give TorchScript or a callable.")
    return model


def check(generator: nn.Module, place: str) -> None:
    """Raise ValueError unless two latents give two square images of three channels in [-1, 1]."""
    try:
        images = sample(generator, latents(2, generator.latent_dim, 0))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        shape = f"(N, {generator.latent_dim})"
        raise ValueError(f"{place} does not take latents {shape}: give its own --latent-dim ({reason}).") from error
    if images.ndim != 4 or len(images) != 2 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
        raise ValueError(f"{place} makes {tuple(images.shape)} of two latents: square images (2, 1 or 3, H, H) are needed.")
    if not images.isfinite().all() or images.abs().max() > 1.01:
        raise ValueError(f"{place} makes values outside [-1, 1]: let it end with tanh, or scale its images.")


class Judges(NamedTuple):
    """Judges A, which may give gradients, and B, which reports, with the cross-validated errors of B."""

    a: nn.Module
    b: nn.Module
    errors: Errors
    auc: float

    def score(self, images: Tensor) -> Tensor:
        """Judge A's logit (N,), differentiable."""
        return self.a(images.clamp(-1, 1))[:, 0]

    def says(self, images: Tensor) -> np.ndarray:
        """Judge B's verdicts, bool (N,)."""
        return read(self.b, images.clamp(-1, 1)).logits[:, 0] > 0


def fit_judges(network: Lite0, images: Tensor, labels: np.ndarray, seed: int) -> Judges:
    """Two judges of different depth, fitted to labelled images (N, 3, H, H) and bool labels (N,)."""
    column = labels.astype(float)[:, None]
    seen = {name: views(network, images, VIEWS[name]) for name in ("judge-a", "classifier")}
    a, b = (fit_eye_judge(network, part, column, VIEWS[name], seed, images.shape[-1]) for name, part in seen.items())
    (auc,), (errors,) = cross_validated(seen["classifier"], column, seed)
    return Judges(a, b, errors, auc)


def ratio(said: np.ndarray, errors: Errors) -> dict[str, list[float]]:
    """Share of images with the feature from judge B's verdicts (N,), raw and corrected, each with its 95 % interval."""
    hits, n = int(said.sum()), len(said)
    return {
        "raw": list(metrics.wilson(hits, n)),
        "corrected": list(metrics.rogan_gladen(hits, n, errors)),
        "resolvable": metrics.resolvable(n, errors),
    }


def preservation(original: Tensor, unlearned: Tensor, kept: np.ndarray) -> dict[str, Interval]:
    """Paired change on images of the same latents that the original shows without the feature."""
    x, y = original[kept], unlearned[kept]
    similar = torch.cat([metrics.ms_ssim(*pair) for pair in zip(x.split(200), y.split(200), strict=True)])
    return {"L1": metrics.mean_interval(metrics.l1(x, y)), "MS-SSIM": metrics.mean_interval(similar)}


def attacks(models: dict[str, nn.Module], judges: Judges, vector: Tensor, n: int, seed: int) -> list[dict]:
    """Success of every attack on both models by judge B, as rows attack, budget, model, success with its interval."""
    rows = []

    def note(attack: str, budget: str, name: str, images: Tensor) -> None:
        hits = int(judges.says(images).sum())
        rows.append({"attack": attack, "budget": budget, "model": name, "success": list(metrics.wilson(hits, len(images)))})

    for name, model in models.items():
        start = start_latents(model, n, stream(seed, "attack"))
        note("none", "", name, sample(model, start))
        for radius in RADII:
            found = latent_search(model, judges.score, start, radius, 15, 1, seed, batch=50)
            note("latent search", f"radius {radius:g}", name, sample(model, found))
        for strength in (1.0, 2.0, 4.0):
            note("amplification", f"strength {strength:g}", name, sample(model, amplify(start, vector, strength)))
        for bits in (8, 4):
            note("rounding", f"{bits} bits", name, sample(tampering.rounded(model, bits), start))
        for share in (0.02, 0.1):
            note("weight noise", f"{share:.0%}", name, sample(tampering.noisy(model, share, seed), start))
        note("pruning", "30 %", name, sample(tampering.pruned(model, 0.3), start))
    return rows


def audit(
    original: nn.Module, unlearned: nn.Module, marks: dict[int, bool], n: int, n_attack: int, seed: int
) -> tuple[dict, dict[str, Figure]]:
    """Everything that the page says, and its figures. marks: index of a latent of the labelling stream -> label."""
    device = next(original.parameters()).device
    known = prior(original, max(marks) + 1, stream(seed, "label"))[list(marks)]
    labels = np.array(list(marks.values()))
    labelled = sample(original, known).clamp(-1, 1)
    network = load_lite0(device)
    judges = fit_judges(network, labelled, labels, seed)
    z = prior(original, n, stream(seed, "evaluate"))
    before, after = sample(original, z).clamp(-1, 1), sample(unlearned, z).clamp(-1, 1)
    had, has = judges.says(before), judges.says(after)
    features = [views(network, images, VIEWS["judge-b"]) for images in (before, after)]
    some = features[0][:1000]
    axes = np.linalg.svd(some - some.mean(0), full_matrices=False)[2][:32].T
    projected = [part @ axes for part in features]
    vector = target_vector(known, torch.from_numpy(labels))
    found = {
        "labels": {"labelled": len(labels), "with the feature": int(labels.sum()), "judge B AUC": judges.auc},
        "ratio": {"original": ratio(had, judges.errors), "unlearned": ratio(has, judges.errors)},
        "miss rate": list(metrics.wilson(int((has & had).sum()), max(int(had.sum()), 1))),
        "preservation": {name: list(interval) for name, interval in preservation(before, after, ~had).items()},
        "distance": {
            "original to unlearned": list(metrics.frechet_interval(*projected)),
            "floor": metrics.frechet(*map(metrics.statistics, metrics.halves(projected[0], seed))),
        },
        "attacks": attacks({"original": original, "unlearned": unlearned}, judges, vector, n_attack, seed),
        "metric card": {
            "judges": "linear heads on EfficientNet-Lite0, A at 96 px, B at 128 px; errors of B by 5-fold cross-validation",
            "ratio": f"{n} fresh latents, Wilson and Rogan-Gladen 95 %",
            "distance": f"Fréchet, 32 principal components of Lite0 at 64 px, n {n}, 95 % jackknife; floor at n {n // 2}",
            "attacks": f"{n_attack} latents, judge A gave the gradient, judge B counted",
            "seed": seed,
        },
    }
    shown = np.flatnonzero(had)[:16]
    kept = np.flatnonzero(~had)[:16]
    figures = {
        "with the feature": plots.pairs({"original": before[shown], "unlearned": after[shown]}),
        "without the feature": plots.pairs({"original": before[kept], "unlearned": after[kept]}),
    }
    return found, figures


def page(found: dict, figures: dict[str, Figure]) -> str:
    """The one-page HTML, figures inside."""

    def cell(value: object) -> str:
        if isinstance(value, list):
            return f"{value[0]:.4g} [{value[1]:.4g}, {value[2]:.4g}]"
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    def table(rows: list[tuple]) -> str:
        return "<table>" + "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows) + "</table>"

    parts = []
    for name, value in found.items():
        if name == "attacks":
            rows = [(row["attack"], row["budget"], row["model"], cell(row["success"])) for row in value]
        elif isinstance(value, dict):
            rows = [
                (key, *(f"{k}: {cell(v)}" for k, v in entry.items())) if isinstance(entry, dict) else (key, cell(entry))
                for key, entry in value.items()
            ]
        else:
            rows = [(cell(value),)]
        parts.append(f"<h2>{name}</h2>{table(rows)}")
    for name, figure in figures.items():
        figure.savefig(buffer := io.BytesIO(), format="png", dpi=90, bbox_inches="tight")
        data = base64.b64encode(buffer.getvalue()).decode()
        parts.append(f'<h2>{name}</h2><img src="data:image/png;base64,{data}" style="max-width:100%">')
    return html_page("Unlearning audit", "".join(parts))


def main() -> None:
    """See the module's text. Exits with one sentence when something given is wrong."""
    parser = argparse.ArgumentParser(prog="python -m lib.audit", description=__doc__.splitlines()[0])
    parser.add_argument("--original", required=True, help="the generator before unlearning")
    parser.add_argument("--generator", help="the generator after it")
    parser.add_argument("--labels", type=Path, help="CSV index,label of the original's samples")
    parser.add_argument("--sheet", type=int, default=0, metavar="N", help="write the first N samples to label, and stop")
    parser.add_argument("--latent-dim", type=int, default=0, help="of a generator that is not the kit's own")
    parser.add_argument("--out", type=Path, default=Path("audit"))
    parser.add_argument("--n", type=int, default=5000, help="latents to count the feature on")
    parser.add_argument("--n-attack", type=int, default=100, help="latents to attack")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    try:
        device = resolve_device(given.device)
        original = load(given.original, given.latent_dim, device)
        if given.sheet:
            z = prior(original, given.sheet, stream(given.seed, "label"))
            plots.save(plots.sheet(sample(original, z), 20, "samples 0, 1, 2, ... by row"), given.out / "sheet.png")
            return
        if not given.generator or not given.labels:
            raise ValueError("give --generator and --labels, or --sheet N to see the samples to label.")
        unlearned = load(given.generator, given.latent_dim, device)
        marks = read_labels(given.labels, 10**9)
        found, figures = audit(original, unlearned, marks, given.n, given.n_attack, given.seed)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"audit: {error}")
    places = {"original": given.original, "unlearned": given.generator}
    found["models"] = {n: digest(Path(p))["sha256"] if Path(p).is_file() else p for n, p in places.items()}
    write_json(given.out / "audit.json", found)
    with replacing(given.out / "audit.html") as temporary:
        temporary.write_text(page(found, figures))


if __name__ == "__main__":
    main()
