"""Tables and figures of a run, made from its rows (metrics.csv, attacks.csv, costs.csv) alone."""

from contextlib import suppress
from pathlib import Path

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lib import plots
from lib.domains import DOMAINS
from lib.evaluation import load_bench, see
from lib.files import replacing
from lib.latent import prior, stream
from lib.methods import METHODS
from lib.models import at_full_size, load_generator, sample
from lib.runs import ATTACKS, COSTS, METRICS, find, read_rows, write_rows

METHOD_ORDER = ("original", "oracle edit", "rejection", *METHODS, "gold retrain")
CHAIN = ["dataset", "model", "feature"]
FREE = "FD-.* to feature-free"
FULL_SIZE = ("ratio exact, full size", "ratio B, full size")


def gather(folder: Path, published: Path) -> list[str]:
    """Join the rows of all stages under ``folder`` into metrics.csv, attacks.csv and costs.csv, in a fixed order.

    A data set counts when one of its generators was both evaluated and attacked; the rows of others stay as they are in
    these three files. A folder without any gets the published run's rows. Returns the data sets with rows of their own.
    """
    own = [
        name
        for name in DOMAINS
        if any((folder / name).rglob("metrics-evaluate.csv")) and any((folder / name).rglob("attacks-attack.csv"))
    ]
    for kind, columns in (("metrics", METRICS), ("attacks", ATTACKS), ("costs", COSTS)):
        old = (folder if own else published) / f"{kind}.csv"
        kept = read_rows(old) if old.is_file() else []
        rows = []
        for name in DOMAINS:
            parts = sorted((folder / name).rglob(f"{kind}-*.csv")) if name in own else []
            rows += [row for part in parts for row in read_rows(part)]
            rows += [row for row in kept if row["dataset"] == name and name not in own]
        write_rows(folder / f"{kind}.csv", columns, rows)
    return own


def has_weights(*cell: str | int) -> bool:
    """Whether the original and an unlearned generator of (profile, dataset, model, seed, feature) are at hand."""
    return len(generators_of(*cell)) > 1


def generators_of(*cell: str | int) -> dict[str, Path]:
    """The files of the original and of every unlearned generator that is at hand, by method; cell as ``has_weights``."""
    found = {}
    for name, folder in {"original": (), **{method: (cell[4], method) for method in METHODS}}.items():
        with suppress(FileNotFoundError):
            found[name] = find(*cell[:4], *folder, "generator.safetensors")
    return found


def latents_with(*cell: str | int, count: int, device: torch.device) -> Tensor:
    """The first latents (count, d) of a fixed stream whose original image has the feature; fewer if 1000 hold fewer.

    cell: (profile, dataset, model, seed, feature).
    """
    profile, dataset, model, seed, feature = cell
    original = load_generator(find(*cell[:4], "generator.safetensors"), model, device)
    bench, found = load_bench(profile, dataset, feature, device), []
    for z in prior(original, 1000, stream(seed, "show")).split(50):
        found.append(z[torch.from_numpy(see(sample(original, z), bench).exact)])
        if sum(map(len, found)) >= count:
            break
    return torch.cat(found)[:count]


def before_after(*cell: str | int, z: Tensor, device: torch.device) -> dict[str, Tensor]:
    """What the original and each unlearned generator make of the latents, named for a figure; cell as ``latents_with``."""
    _, _, model, _, feature = cell
    places = generators_of(*cell).items()
    return {f"{model}, {feature}: {name}": sample(load_generator(place, model, device), z) for name, place in places}


def full_size(*cell: str | int, z: Tensor, device: torch.device) -> dict[str, Tensor]:
    """As ``before_after``, of a read-out: what the full network makes with the blocks of the original and of *exact*."""
    _, _, model, _, feature = cell
    places = {name: place for name, place in generators_of(*cell).items() if name in ("original", "exact")}
    read_outs = {name: load_generator(place, model, device) for name, place in places.items()}
    return {f"{model}, {feature}, 1024 px: {name}": at_full_size(g, z, 256) for name, g in read_outs.items()}


def read_table(path: Path) -> pd.DataFrame:
    """Rows as a frame; empty cells of text columns stay empty text."""
    frame = pd.read_csv(path, keep_default_na=False, dtype=str)
    numbers = [name for name in ("value", "low", "high", "n", "seconds", "steps") if name in frame]
    return frame.assign(**{name: pd.to_numeric(frame[name]) for name in numbers})


def ordered(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of data sets and chains, and within a chain of methods as a reader expects them."""
    ranks = {
        name: {word: number for number, word in enumerate(words)}
        for name, words in (("dataset", DOMAINS), ("method", METHOD_ORDER))
    }
    by = [*CHAIN, "method"]
    return frame.sort_values(by, key=lambda c: c.map(ranks[c.name]) if c.name in ranks else c, ignore_index=True)


def wide(metrics: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """One line a chain and method, one column a metric (mean over seeds), in the order of ``names``."""
    chosen = metrics[metrics.metric.isin(names)]
    table = chosen.pivot_table(index=[*CHAIN, "method"], columns="metric", values="value", aggfunc="mean", sort=False)
    return ordered(table.reindex(columns=[name for name in names if name in table]).reset_index())


def matching(metrics: pd.DataFrame, *starts: str) -> list[str]:
    """The metrics whose names begin with one of ``starts``, in order of appearance."""
    return [name for name in metrics.metric.unique() if name.startswith(starts)]


def percent(value: float, low: float, high: float) -> str:
    """A ratio with its interval, in per cent."""
    return f"{100 * value:.2f} [{100 * low:.2f}, {100 * high:.2f}]"


def headline(metrics: pd.DataFrame, attacks: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """The paper's kind of table: removal, quality, preservation, attack and cost for every chain and method."""
    evaluated = metrics[metrics.method.isin(METHOD_ORDER) & metrics.metric.eq("ratio exact")]
    table = evaluated[[*CHAIN, "method", "seed"]].copy()
    keys = [*CHAIN, "method", "seed"]

    def column(name: str, text: str, form: str) -> None:
        found = metrics[metrics.metric.str.fullmatch(name)].set_index(keys).value
        table[text] = [
            f"{found[key]:{form}}" if key in found else "-" for key in table[keys].itertuples(index=False, name=None)
        ]

    for metric, text in (("ratio exact", "ratio, exact judge (%)"), ("ratio B corrected", "ratio, judge B corrected (%)")):
        rows = metrics[metrics.metric.eq(metric)].set_index(keys)
        table[text] = [
            percent(*rows.loc[key, ["value", "low", "high"]]) for key in table[keys].itertuples(index=False, name=None)
        ]
    column(FREE, "FD to feature-free", ".1f")  # each data set in its own features: see the table of quality
    column("inception score", "IS", ".2f")
    column("preservation L1", "preservation L1", ".4f")
    searched = attacks[attacks.attack.eq("latent search") & attacks.judge.eq("exact") & attacks.metric.eq("success")]
    radii = searched.budget.str.split(",").str[0]  # "radius 2, 20 steps, 2 runs": steps and runs differ by data set
    ascending = sorted(radii.unique(), key=lambda text: float(text.split()[1]))
    middle = ascending[len(ascending) // 2] if ascending else ""
    success = searched[radii.eq(middle)].set_index(keys).value
    seconds = costs[costs.stage.isin(["unlearn", "gold", "pretrain"])].set_index(keys).seconds
    rows = list(table[keys].itertuples(index=False, name=None))
    table[f"attack success, {middle} (%)"] = [f"{100 * success[k]:.0f}" if k in success else "-" for k in rows]
    spent = [trained_as(*row) for row in rows]
    table["training seconds"] = [f"{seconds[key]:.0f}" if key in seconds else "-" for key in spent]
    return ordered(table.drop(columns="seed"))


def trained_as(dataset: str, model: str, feature: str, method: str, seed: str) -> tuple:
    """The key under which a method's training cost is recorded."""
    if method == "original":
        return dataset, model, "", "pretrain", seed
    return dataset, model, feature, {"gold retrain": "gold"}.get(method, method), seed


def attack_table(attacks: pd.DataFrame) -> pd.DataFrame:
    """Success of every attack and budget, one column a method."""
    chosen = attacks[attacks.metric.eq("success")]
    table = chosen.pivot_table(
        index=[*CHAIN, "attack", "budget", "judge"], columns="method", values="value", aggfunc="mean", sort=False
    )
    return table.reindex(columns=[name for name in METHOD_ORDER if name in table]).reset_index()


def direction_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """One line for the direction that the edit follows, and one for each that notebook 03 compares it with."""
    found = metrics[metrics.method.str.startswith("direction")]
    return wide(found, found.metric.unique().tolist())


def cost_table(costs: pd.DataFrame) -> pd.DataFrame:
    """Seconds and steps of every training, and its share of the pre-training of the same model."""
    table = costs[costs.stage.isin(["pretrain", "gold", "unlearn"])].copy()
    original = table[table.stage.eq("pretrain")].set_index(["dataset", "model", "seed"]).seconds
    table["share of pre-training"] = [
        row.seconds / original.get((row.dataset, row.model, row.seed), float("nan")) for row in table.itertuples()
    ]
    return table


def build_tables(metrics: pd.DataFrame, attacks: pd.DataFrame, costs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Every table of ``TABLES`` from the three frames of rows."""
    judged = metrics[metrics.metric.str.startswith("judge ")]
    trained = metrics[metrics.method.isin(["pretrain", "gold", "real"])]
    return {
        "headline": headline(metrics, attacks, costs),
        "judges": judged[[*CHAIN, "metric", "value", "low", "high", "n", "protocol"]],
        "generators": wide(trained, trained.metric.unique().tolist()),
        "directions": direction_table(metrics),
        "removal": metrics[
            metrics.metric.isin(["ratio exact", "ratio B", "ratio B corrected", "miss rate", "creation rate", *FULL_SIZE])
        ][[*CHAIN, "method", "metric", "value", "low", "high", "n"]],
        "quality": wide(
            metrics, [*matching(metrics, "inception", "FD-", "KID-", "FID-"), "precision", "recall", "density", "coverage"]
        ),
        "preservation": wide(metrics, matching(metrics, "preservation", "likeness")),
        "drift": wide(metrics, matching(metrics, "drift")),
        "attacks": attack_table(attacks),
        "costs": cost_table(costs),
    }


def write_table(folder: Path, name: str, table: pd.DataFrame) -> None:
    """Write ``<name>.csv`` and ``<name>.md``."""
    with replacing(folder / f"{name}.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
    with replacing(folder / f"{name}.md") as temporary:
        temporary.write_text(table.to_markdown(index=False, floatfmt=".4g", disable_numparse=name == "headline") + "\n")


def removal_quality(metrics: pd.DataFrame) -> Figure:
    """Each method's ratio against its distance to feature-free real images, one panel a chain of one data set."""
    compared = metrics[metrics.method.isin(METHOD_ORDER)]  # a floor may come from fewer images, under a name of its own
    free = next(name for name in matching(compared, "FD-") if name.endswith("to feature-free"))
    table = wide(compared, ["ratio exact", free])
    points = {
        " ".join(chain): {row.method: (100 * row["ratio exact"], row[free]) for _, row in part.iterrows()}
        for chain, part in table.groupby(["model", "feature"], sort=False)
    }
    return plots.scatter(points, "ratio, exact judge (%)", "distance to feature-free images")


def attack_curves(attacks: pd.DataFrame) -> Figure:
    """Success of the latent search against its radius, one panel a chain, one line a method; radius 0 is no attack."""
    chosen = attacks[
        attacks.metric.eq("success") & attacks.judge.eq("exact") & attacks.attack.isin(["none", "latent search"])
    ]
    radius = [
        0.0 if attack == "none" else float(budget.split()[1].rstrip(","))
        for attack, budget in zip(chosen.attack, chosen.budget, strict=True)
    ]
    chosen = chosen.assign(radius=radius)
    chains = {}
    for chain, part in chosen.groupby(["model", "feature"], sort=False):
        means = part.groupby(["method", "radius"], sort=True).value.mean()
        chains[" ".join(chain)] = {
            name: (means[name].index.tolist(), (100 * means[name]).tolist()) for name in METHOD_ORDER if name in means
        }
    return plots.panels(chains, "radius (prior sd)", "success, exact judge (%)", (-3, 103))


def preservation_curves(metrics: pd.DataFrame) -> Figure:
    """Paired L1 on feature-free latents by their distance from the exact threshold, one panel a chain."""
    bands = metrics[metrics.metric.str.startswith("preservation L1 ")]
    middle = [sum(map(float, name.split()[-1].split(".."))) / 2 for name in bands.metric]
    chains = {}
    for chain, part in bands.assign(middle=middle).groupby(["model", "feature"], sort=False):
        means = part.groupby(["method", "middle"], sort=True).value.mean()
        chains[" ".join(chain)] = {
            name: (means[name].index.tolist(), means[name].tolist()) for name in METHOD_ORDER if name in means
        }
    return plots.panels(chains, "proj(z) - t (prior sd)", "paired L1")


def write_html(path: Path, title: str, tables: dict[str, pd.DataFrame], figures: tuple[str, ...]) -> None:
    """One page with every table and, by relative path, every figure."""
    images = "".join(f'<h2>{name}</h2><img src="figures/{name}.png" style="max-width:100%">' for name in figures)
    body = "".join(
        f"<h2>{name}</h2>{table.to_html(index=False, float_format='%.4g', border=0)}" for name, table in tables.items()
    )
    with replacing(path) as temporary:
        temporary.write_text(html_page(title, images + body))


def html_page(title: str, body: str) -> str:
    """A page of HTML around ``body``."""
    style = "body{font:14px sans-serif;margin:2em auto;max-width:1200px}td,th{padding:2px 8px;text-align:left}"
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{style}</style>'
    return f"{page}<h1>{title}</h1>{body}</html>\n"
