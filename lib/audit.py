"""Audit of one's own model: what an unlearned generator removed, kept, and gives back under attack, on one page.

    python -m lib.audit --original before.pt --generator after.pt --latent-dim 128 --labels labels.csv --out audit/

Takes any two generators that map latents (N, d) from N(0, I) to images (N, 1 or 3, H, H) in [-1, 1]: TorchScript, the kit's
own safetensors, or a Python callable ``module:function`` that returns such a module. The labels are those of the original's
samples: a CSV with the columns index,label (1, 0, unsure), index the number of the latent. Without a label file yet,
``--sheet`` writes the samples to be labelled; labels belong to the latents of one ``--seed``.

The same from Python, as in notebook 08: ``load`` two generators, ``audit`` them, ``write`` the page.
"""

import argparse
import base64
import importlib
import io
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from lib import metrics, plots, tampering
from lib.attacks import amplify, latent_search, start_latents
from lib.by_eye import VIEWS, cross_validated, fit_eye_judge, views
from lib.files import digest, replacing, write_json
from lib.judges import read
from lib.labels import read_labels
from lib.latent import latents, prior, stream, target_vector
from lib.lite0 import Lite0, load_lite0
from lib.metrics import Errors
from lib.models import GENERATORS, load_generator, sample
from lib.report import html_page
from lib.train import resolve_device
from lib.weights import header

RADII = (1.0, 2.0, 4.0)
PART = 100  # images held at a time: of 1024 pixels a gigabyte


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
        self.leading, self.sizes = getattr(generator, "leading", None), getattr(generator, "sizes", {})

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
        try:
            build = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ValueError(
                f"{place} is no callable that can be imported ({error}): give it as module:function."
            ) from error
        try:
            model = build()
        except TypeError as error:
            model = error
        if not isinstance(model, nn.Module):
            raise ValueError(f"{place} must return a torch module when called without arguments, not {model!r}.")
        generator = Foreign(model, latent_dim)
    elif not Path(place).is_file():
        raise FileNotFoundError(f"generator {place} does not exist: give a file, or a callable as module:function.")
    elif Path(place).suffix == ".safetensors":
        generator = load_generator(Path(place), kind_of(Path(place)), device)
    else:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # torch announces TorchScript's successor
                generator = Foreign(torch.jit.load(place, map_location="cpu"), latent_dim)
        except RuntimeError as error:
            raise ValueError(f"{place} is not TorchScript: save the generator with torch.jit.script or trace.") from error
    generator = Rgb(generator).to(device).eval().requires_grad_(False)
    generator.sizes = {"size": check(generator, place)}
    return generator


def kind_of(path: Path) -> str:
    """Which of ``GENERATORS`` a file of the kit's own holds; ValueError if it is none."""
    model = str(header(path).get("kind")).removesuffix("-generator")
    if model not in GENERATORS:
        raise ValueError(f"{path} holds no generator of this kit: give TorchScript or a callable.")
    return model


def check(generator: nn.Module, place: str) -> int:
    """The side of its images. Raises ValueError unless two latents give two square ones of three channels, and nineteen in
    twenty of their values lie in [-1, 1]: those of StyleGAN2 leave it a little."""
    device = next(generator.parameters()).device
    try:
        with torch.no_grad():
            images = generator(latents(2, generator.latent_dim, 0).to(device)).float().cpu()
    except (RuntimeError, IndexError) as error:
        reason = str(error).strip().splitlines()[-1]
        shape = f"(N, {generator.latent_dim})"
        raise ValueError(f"{place} does not take latents {shape}: give its own --latent-dim ({reason}).") from error
    if images.ndim != 4 or len(images) != 2 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
        raise ValueError(f"{place} makes {tuple(images.shape)} of two latents: square images (2, 1 or 3, H, H) are needed.")
    if not images.isfinite().all() or (images.abs() > 1.01).float().mean() > 0.05:
        raise ValueError(f"{place} makes values outside [-1, 1]: let it end with tanh, or scale its images.")
    return images.shape[-1]


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


def pictures(generator: nn.Module, z: Tensor) -> Iterator[Tensor]:
    """The generator's images of latents (N, d) in [-1, 1], ``PART`` at a time."""
    return (sample(generator, part) for part in z.split(PART))


def fit_judges(network: Lite0, generator: nn.Module, known: Tensor, labels: np.ndarray, seed: int) -> Judges:
    """Two judges of different depth, fitted to a generator's images of latents (N, d) and to their bool labels (N,)."""
    column, names = labels.astype(float)[:, None], ("judge-a", "classifier")
    parts = [[views(network, images, VIEWS[name]) for name in names] for images in pictures(generator, known)]
    seen = dict(zip(names, map(np.concatenate, zip(*parts, strict=True)), strict=True))
    side = sample(generator, known[:1]).shape[-1]
    a, b = (fit_eye_judge(network, part, column, VIEWS[name], seed, side) for name, part in seen.items())
    (auc,), (errors,) = cross_validated(seen["classifier"], column, seed)
    return Judges(a, b, errors, auc)


class Pairs(NamedTuple):
    """What is seen of two generators' images of the same N latents, each in turn before and after.

    Judge B's verdicts, bool (N,); Lite0 maps (N, k) at 64 pixels; and of every pair L1 and MS-SSIM, (N,).
    """

    had: np.ndarray
    has: np.ndarray
    before: np.ndarray
    after: np.ndarray
    l1: np.ndarray
    ms_ssim: np.ndarray


def compare(network: Lite0, judges: Judges, original: nn.Module, unlearned: nn.Module, z: Tensor) -> Pairs:
    """Look at the images of both generators at latents z (N, d)."""
    parts = []
    for x, y in zip(pictures(original, z), pictures(unlearned, z), strict=True):
        maps = (views(network, images, VIEWS["judge-b"]) for images in (x, y))
        parts.append((judges.says(x), judges.says(y), *maps, metrics.l1(x, y).numpy(), metrics.ms_ssim(x, y).numpy()))
    return Pairs(*map(np.concatenate, zip(*parts, strict=True)))


def ratio(said: np.ndarray, errors: Errors) -> dict[str, list[float]]:
    """Share of images with the feature from judge B's verdicts (N,), raw and corrected, each with its 95 % interval."""
    hits, n = int(said.sum()), len(said)
    return {
        "raw": list(metrics.wilson(hits, n)),
        "corrected": list(metrics.rogan_gladen(hits, n, errors)),
        "resolvable": metrics.resolvable(n, errors),
    }


def distance(pairs: Pairs, seed: int) -> dict[str, list[float] | float]:
    """Fréchet distance from the original's images to the unlearned ones, and to further ones of its own: the floor.

    Both between the same number of images of different latents: images of the same latents lie closer than chance has it.
    """
    some = pairs.before[:1000]
    axes = np.linalg.svd(some - some.mean(0), full_matrices=False)[2][:32].T
    (first, second), (_, changed) = (metrics.halves(maps @ axes, seed) for maps in (pairs.before, pairs.after))
    return {
        "original to unlearned": list(metrics.frechet_interval(first, changed)),
        "original to itself": list(metrics.frechet_interval(first, second)),
    }


def attacks(models: dict[str, nn.Module], judges: Judges, vector: Tensor, n: int, seed: int) -> list[dict]:
    """Success of every attack on both models by judge B, as rows attack, budget, model, success with its interval.

    Attacks on the weights leave out a model that shows none, as frozen TorchScript does.
    """
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
        if not weights_at_hand(model):
            continue
        for bits in (8, 4):
            note("rounding", f"{bits} bits", name, sample(tampering.rounded(model, bits), start))
        for share in (0.02, 0.1):
            note("weight noise", f"{share:.0%}", name, sample(tampering.noisy(model, share, seed), start))
        note("pruning", "30 %", name, sample(tampering.pruned(model, 0.3), start))
    return rows


def weights_at_hand(model: nn.Module) -> bool:
    """Whether there are weights that can be rounded, disturbed or pruned."""
    return any(True for _ in tampering.layers(model))


def require_alike(original: nn.Module, unlearned: nn.Module) -> None:
    """Raise ValueError unless both take the same latents and make images of the same size."""
    ours, theirs = (tuple(sample(model, latents(2, model.latent_dim, 0)).shape[1:]) for model in (original, unlearned))
    if ours != theirs or original.latent_dim != unlearned.latent_dim:
        raise ValueError(
            f"the generators do not belong together: latents of {original.latent_dim} and {unlearned.latent_dim}, "
            f"images of {ours} and {theirs}."
        )


def audit(
    original: nn.Module, unlearned: nn.Module, marks: dict[int, bool], n: int, n_attack: int, seed: int
) -> tuple[dict, dict[str, Figure]]:
    """Everything that the page says, and its figures.

    original, unlearned: what ``load`` gives; marks: index of a latent of the seed's labelling stream -> label, as
    ``lib.labels.read_labels`` gives them; n, n_attack: how many latents to count and to attack. Shares and their intervals
    are lists [value, low, high] in 0..1. Raises ValueError in one sentence for generators that do not belong together, for
    too few labels (``fit_eye_judge``), and for an n too small for a distance.
    """
    require_alike(original, unlearned)
    network = load_lite0(next(original.parameters()).device)
    known = prior(original, max(marks) + 1, stream(seed, "label"))[list(marks)]
    labels = np.array(list(marks.values()))
    judges = fit_judges(network, original, known, labels, seed)
    z = prior(original, n, stream(seed, "evaluate"))
    pairs = compare(network, judges, original, unlearned, z)
    had, has, kept = pairs.had, pairs.has, ~pairs.had
    models = {"original": original, "unlearned": unlearned}
    vector = target_vector(known, torch.from_numpy(labels), original.leading)
    found = {
        "labels": {"labelled": len(labels), "with the feature": int(labels.sum()), "judge B AUC": judges.auc},
        "ratio": {"original": ratio(had, judges.errors), "unlearned": ratio(has, judges.errors)},
        "miss rate": {"of latents that had it": list(metrics.wilson(int((has & had).sum()), max(int(had.sum()), 1)))},
        "preservation": {
            "L1": list(metrics.mean_interval(pairs.l1[kept])),
            "MS-SSIM": list(metrics.mean_interval(pairs.ms_ssim[kept])),
        },
        "distance": distance(pairs, seed),
        "attacks": attacks(models, judges, vector, n_attack, seed),
        "metric card": {
            "judges": "linear heads on EfficientNet-Lite0, A at 96 px, B at 128 px; errors of B by 5-fold cross-validation",
            "ratio": f"{n} fresh latents, Wilson and Rogan-Gladen 95 %",
            "preservation": f"{int(kept.sum())} latents on which the original does not show it, mean and 95 %",
            "distance": f"Fréchet, 32 principal components of Lite0 at 64 px, {n // 2} against {n // 2}, 95 % jackknife",
            "attacks": f"{n_attack} latents, judge A gave the gradient, judge B counted",
            "attacks on weights": "run"
            if all(map(weights_at_hand, models.values()))
            else "not run: a model shows no weights",
            "seed": seed,
        },
    }
    groups = {"with the feature": np.flatnonzero(had)[:16], "without the feature": np.flatnonzero(kept)[:16]}
    figures = {
        name: plots.pairs({model: sample(generator, z[shown]) for model, generator in models.items()})
        for name, shown in groups.items()
        if len(shown)
    }
    return found, figures


def written(value: object) -> str:
    """A value of the page: a list as value [low, high], numbers to four digits."""
    if isinstance(value, list):
        return f"{value[0]:.4g} [{value[1]:.4g}, {value[2]:.4g}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def tables(found: dict) -> dict[str, pd.DataFrame]:
    """The tables of the page, by title, from what ``audit`` found; every cell is text."""
    made = {}
    for name, part in found.items():
        if name == "attacks":
            rows = pd.DataFrame(part).set_index(["attack", "budget", "model"]).success.map(written)
            made[name] = rows.unstack("model", fill_value="-", sort=False)
        elif all(isinstance(entry, dict) for entry in part.values()):
            made[name] = pd.DataFrame(part).T.map(written)
        else:
            made[name] = pd.DataFrame({"": {key: written(entry) for key, entry in part.items()}})
    return made


def page(found: dict, figures: dict[str, Figure]) -> str:
    """The one-page HTML, figures inside."""
    with pd.option_context("display.max_colwidth", None):
        parts = [f"<h2>{name}</h2>{table.to_html(border=0)}" for name, table in tables(found).items()]
    for name, figure in figures.items():
        figure.savefig(buffer := io.BytesIO(), format="png", dpi=90, bbox_inches="tight")
        data = base64.b64encode(buffer.getvalue()).decode()
        parts.append(f'<h2>{name}</h2><img src="data:image/png;base64,{data}" style="max-width:100%">')
    return html_page("Unlearning audit", "".join(parts))


def write(folder: Path, found: dict, figures: dict[str, Figure], places: dict[str, str]) -> None:
    """Write ``audit.json`` and ``audit.html``, with the sha256 of every file in ``places`` (model -> path or callable)."""
    models = {name: digest(Path(place))["sha256"] if Path(place).is_file() else place for name, place in places.items()}
    whole = {**found, "models": models}
    write_json(folder / "audit.json", whole)
    with replacing(folder / "audit.html") as temporary:
        temporary.write_text(page(whole, figures))


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
    parser.add_argument("--seed", type=int, default=0, help="of all latents: the one whose samples were labelled")
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
        write(given.out, found, figures, {"original": given.original, "unlearned": given.generator})
    except (ValueError, OSError) as error:
        sys.exit(f"audit: {error}")


if __name__ == "__main__":
    main()
