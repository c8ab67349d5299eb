"""Tables and figures of a run, made from its rows (metrics.csv, attacks.csv, costs.csv) alone."""

import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lib import plots
from lib.attacks import first_showing
from lib.card import card
from lib.domains import DOMAINS
from lib.evaluation import POINTS, load_bench, see
from lib.files import replacing
from lib.latent import prior, stream
from lib.methods import METHODS
from lib.metrics import mean_interval
from lib.models import at_full_size, load_generator, sample
from lib.pipeline import read_profile
from lib.runs import ATTACKS, COSTS, METRICS, NEEDS, TRIALS, find, read_rows, write_rows

METHOD_ORDER = ("original", "oracle edit", "rejection", *METHODS, "gold retrain")
CHAIN = ["dataset", "model", "feature"]
FREE = "FD-.* to feature-free"
NEEDED = {  # metric -> how the table of needs writes it, and times what
    "ratio exact": (".2f", 100),
    "ratio B corrected": (".2f", 100),
    "precision": (".3f", 1),
    "recall": (".3f", 1),
    "preservation L1": (".4f", 1),
    "search success": (".0f", 100),
}
FULL_SIZE = ("ratio exact, full size", "ratio B, full size")
MANY = 10  # methods, originals and controls among them: of more only half of the rows of attacks are kept


def gather(folder: Path, published: Path) -> list[str]:
    """Join the rows of all stages under ``folder`` into metrics.csv, attacks.csv and costs.csv, in a fixed order, and into
    trials.csv and needs.csv if there are any.

    A data set counts when one of its generators was both evaluated and attacked; the rows of others stay as they are in
    these files. A folder without any gets the published run's rows. Of several seeds or many methods attacks are kept
    without the verdicts of judge A, which gave the gradients, and without the differences to the gold retrain, which
    ``axes_of`` takes again: these are half of the file. Returns the data sets with rows of their own.
    """
    own = [
        name
        for name in DOMAINS
        if any((folder / name).rglob("metrics-evaluate.csv")) and any((folder / name).rglob("attacks-attack.csv"))
    ]
    kinds = {"metrics": METRICS, "attacks": ATTACKS, "costs": COSTS, "trials": TRIALS, "needs": NEEDS}
    for kind, columns in kinds.items():
        old = (folder if own else published) / f"{kind}.csv"
        kept = read_rows(old) if old.is_file() else []
        rows = []
        for name in DOMAINS:
            parts = sorted((folder / name).rglob(f"{kind}-*.csv")) if name in own else []
            rows += [row for part in parts for row in read_rows(part)]
            rows += [row for row in kept if row["dataset"] == name and name not in own]
        if kind == "attacks" and (len({row["seed"] for row in rows}) > 1 or len({row["method"] for row in rows}) > MANY):
            rows = [row for row in rows if row["judge"] != "A" and row["metric"] != "success minus gold"]
        if rows or kind not in ("trials", "needs"):
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
    bench, z = load_bench(profile, dataset, feature, device), prior(original, 1000, stream(seed, "show"))
    return first_showing(original, z, count, lambda images: see(images, bench).exact)


def before_after(*cell: str | int, methods: list[str], z: Tensor, device: torch.device) -> dict[str, Tensor]:
    """What those of ``methods`` that have a generator at hand make of the latents, named for a figure; cell as
    ``latents_with``."""
    _, _, model, _, feature = cell
    places = {name: place for name, place in generators_of(*cell).items() if name in methods}.items()
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


def check_datasets(metrics: pd.DataFrame, datasets: list[str]) -> None:
    """Raise ValueError in one sentence for the first of ``datasets`` that has no rows."""
    for name in datasets:
        if name not in set(metrics.dataset):
            profile = next((known for known in ("cpu", "gpu") if name in read_profile(known)["datasets"]), "cpu")
            command = f"make reproduce PROFILE={profile} DATASETS={name}"
            raise ValueError(f"there are no rows of {name!r} to report: run `{command}` first.")


def ordered(frame: pd.DataFrame, by: tuple[str, ...] = (*CHAIN, "method")) -> pd.DataFrame:
    """Rows in the order of data sets and chains, and within a chain of methods as a reader expects them."""
    ranks = {
        name: {word: number for number, word in enumerate(words)}
        for name, words in (("dataset", DOMAINS), ("method", METHOD_ORDER))
    }
    return frame.sort_values(
        list(by), key=lambda c: c.map(ranks[c.name]) if c.name in ranks else c, ignore_index=True, kind="stable"
    )


def wide(metrics: pd.DataFrame, names: list[str], written: bool = True) -> pd.DataFrame:
    """One line a chain and method, one column a metric, in the order of ``names``.

    The value of one seed; of several the mean and, if ``written``, its 95 % t interval in words.
    """
    chosen = metrics[metrics.metric.isin(names)]
    table = pivoted(chosen, [*CHAIN, "method"], "metric", written)
    return ordered(table.reindex(columns=[name for name in names if name in table]).reset_index())


def pivoted(rows: pd.DataFrame, index: list[str], columns: str, written: bool = True) -> pd.DataFrame:
    """Values by ``index`` and ``columns``, in order of appearance: of one seed, or of several as in ``wide``."""
    if written and rows.seed.nunique() > 1:
        cells = rows.groupby([*index, columns], sort=False).apply(over_seeds, ".4g", 1, False, include_groups=False)
        return (
            cells.rename("value")
            .reset_index()
            .pivot_table(index=index, columns=columns, values="value", aggfunc="first", sort=False)
        )
    return rows.pivot_table(index=index, columns=columns, values="value", aggfunc="mean", sort=False)


def matching(metrics: pd.DataFrame, *starts: str) -> list[str]:
    """The metrics whose names begin with one of ``starts``, in order of appearance."""
    return [name for name in metrics.metric.unique() if name.startswith(starts)]


def headline(metrics: pd.DataFrame, attacks: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """The paper's kind of table: removal, quality, preservation, attack and cost for every chain and method.

    Of one seed the values and the intervals of the evaluation latents; of several the mean and its 95 % t interval.
    """
    keys = [*CHAIN, "method"]
    evaluated = metrics[metrics.method.isin(METHOD_ORDER) & metrics.metric.eq("ratio exact")]
    table = evaluated[keys].drop_duplicates().copy()

    def column(text: str, rows: pd.DataFrame, form: str, scale: float = 1, own: bool = False) -> None:
        parts = {key: part for key, part in rows.groupby(keys, sort=False)}
        cells = table.itertuples(index=False, name=None)
        table[text] = [over_seeds(parts[key[:4]], form, scale, own) if key[:4] in parts else "-" for key in cells]

    for metric, text in (("ratio exact", "ratio, exact judge (%)"), ("ratio B corrected", "ratio, judge B corrected (%)")):
        column(text, metrics[metrics.metric.eq(metric)], ".2f", 100, own=True)
    # each data set in its own features: see the table of quality
    column("FD to feature-free", metrics[metrics.metric.str.fullmatch(FREE)], ".1f")
    column("IS", metrics[metrics.metric.eq("inception score")], ".2f")
    column("preservation L1", metrics[metrics.metric.eq("preservation L1")], ".4f")
    searched, middle = at_middle_radius(attacks)
    column(f"attack success, {middle} (%)", searched, ".0f", 100)
    trained = costs[costs.stage.isin(["unlearn", "gold", "pretrain"])].set_index([*keys, "seed"]).seconds
    spent = [trained.get(trained_as(*row)) for row in evaluated[[*keys, "seed"]].itertuples(index=False, name=None)]
    column("training seconds", evaluated.assign(value=spent).dropna(subset="value"), ".0f")
    return ordered(table)


def averaged(rows: pd.DataFrame, scale: float = 1) -> tuple[float, float, float]:
    """``scale`` times the value of one row with its own interval; of several rows the mean and its 95 % t interval, which
    is NaN where a value is infinite (steps that were never reached)."""
    if len(rows) > 1 and np.isfinite(rows.value).all():
        return mean_interval(scale * rows.value)
    if len(rows) > 1:
        return scale * rows.value.mean(), float("nan"), float("nan")
    return tuple(scale * rows[name].iloc[0] for name in ("value", "low", "high"))


def over_seeds(rows: pd.DataFrame, form: str, scale: float, own: bool) -> str:
    """What ``averaged`` gives, written; of one row its interval only if its ``own`` is wanted."""
    value, low, high = averaged(rows, scale)
    return f"{value:{form}}" + (f" [{low:{form}}, {high:{form}}]" if own or (len(rows) > 1 and not np.isnan(low)) else "")


def trained_as(dataset: str, model: str, feature: str, method: str, seed: str) -> tuple:
    """The key under which a method's training cost is recorded."""
    if method == "original":
        return dataset, model, "", "pretrain", seed
    return dataset, model, feature, {"gold retrain": "gold"}.get(method, method), seed


def attack_table(attacks: pd.DataFrame) -> pd.DataFrame:
    """Success of every attack and budget, one column a method; a line that counts anything else says what."""
    said = attacks.attack.where(attacks.metric.eq("success"), attacks.attack + ": " + attacks.metric)
    chosen = attacks.assign(attack=said)
    table = pivoted(chosen, [*CHAIN, "attack", "budget", "judge"], "method")
    return table.reindex(columns=[name for name in METHOD_ORDER if name in table]).reset_index()


def direction_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """One line for the direction that the edit follows, and one for each that notebook 03 compares it with."""
    found = metrics[metrics.method.str.startswith("direction")]
    return wide(found, found.metric.unique().tolist())


def generator_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """One line a trained generator and measure of its samples; of the share of a label also that among the training images,
    and how far off it is, in per cent of that. Of several seeds means."""
    keys = [*CHAIN, "method", "metric"]
    trained = ordered(one_line(metrics[metrics.method.isin(["pretrain", "gold"])], keys), tuple(CHAIN))
    real = metrics[metrics.method.eq("real") & metrics.metric.str.startswith("share of ")]
    shares = real.groupby(["dataset", "metric"]).value.mean().rename("training images")
    table = trained.join(shares, on=["dataset", "metric"])
    table["off (%)"] = (100 * (table.value / table["training images"] - 1)).round(1)
    return table[[*keys, "value", "n", "training images", "off (%)"]]


def cost_table(costs: pd.DataFrame) -> pd.DataFrame:
    """Seconds and steps of every training, and its share of the pre-training and of the gold retrain of the same model."""
    table = costs[costs.stage.isin(["pretrain", "gold", "unlearn"])].copy()
    for stage, text, keys in (
        ("pretrain", "pre-training", ["dataset", "model", "seed"]),
        ("gold", "the gold retrain", [*CHAIN, "seed"]),
    ):
        whole = table[table.stage.eq(stage)].set_index(keys).seconds.rename("whole")
        table[f"share of {text}"] = table.seconds / table[keys].join(whole, on=keys).whole
    return table


def one_line(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Rows as they are, or of several seeds one each: the mean and its 95 % t interval, all else as in the first."""
    if rows.seed.nunique() < 2:
        return rows
    lines = []
    for _, part in rows.groupby(keys, sort=False):
        value, low, high = averaged(part)
        lines.append(part.iloc[[0]].assign(value=value, low=low, high=high))
    return pd.concat(lines)


def largest_drift(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The largest change, in points, of any share but the target feature's own: ``value`` for each of ``keys``."""
    drifted = rows.metric.str.removeprefix("drift ").str.lower().str.replace("[ _]", "-", regex=True)
    own = drifted.eq(rows.feature) | drifted.eq("no-" + rows.feature)  # CelebA has No_Beard
    shares = rows[rows.protocol.eq(POINTS) & rows.metric.str.startswith("drift ") & ~own]
    return shares.assign(value=shares.value.abs()).groupby(keys, sort=False, as_index=False).value.max()


def axes_of(metrics: pd.DataFrame, attacks: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """Rows of everything that a method may win or lose on: ``axis`` names it and which way is better. Success is counted
    by the exact judge."""
    named = {
        "ratio, exact judge (%), low": (metrics.metric.eq("ratio exact"), 100),
        "ratio, judge B corrected (%), low": (metrics.metric.eq("ratio B corrected"), 100),
        "FD to feature-free, low": (metrics.metric.str.fullmatch(FREE), 1),
        "precision, high": (metrics.metric.eq("precision"), 1),
        "recall, high": (metrics.metric.eq("recall"), 1),
        "preservation L1, low": (metrics.metric.eq("preservation L1"), 1),
    }
    drift = largest_drift(metrics, [*CHAIN, "method", "seed"])
    parts = [metrics[chosen].assign(axis=axis, scale=scale) for axis, (chosen, scale) in named.items()]
    parts += [drift.assign(axis="largest drift (points), low", scale=1)]
    exact = attacks[attacks.judge.eq("exact")]
    success, area = exact[exact.metric.eq("success")], exact[exact.metric.eq("area under the curve")]
    searched = success[success.attack.eq("latent search")]
    radius = searched.budget.str.split(",").str[0]
    parts += [searched.assign(axis="latent search, " + radius + " (%), low", scale=100)]
    relearned = area[area.attack.eq("relearning")]
    parts += [relearned.assign(axis="relearning, " + relearned.budget + ", area, low", scale=1)]
    shared = cost_table(costs).rename(columns={"share of the gold retrain": "value"})
    shared = shared[shared.stage.eq("unlearn")].dropna(subset="value")
    parts += [shared.assign(axis="training, share of the gold retrain (%), low", scale=100)]
    rows = pd.concat([part[[*CHAIN, "axis", "method", "seed", "value", "scale"]] for part in parts], ignore_index=True)
    return rows.assign(value=rows.scale * rows.value)


def axes_table(metrics: pd.DataFrame, attacks: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """One line a chain, axis and trained method: its value, and that minus the exact method's and the gold retrain's.

    Of several seeds means and 95 % t intervals, the differences taken seed by seed, on the same latents.
    """
    lines, rivals = [], ("exact", "gold retrain")
    for key, part in axes_of(metrics, attacks, costs).groupby([*CHAIN, "axis"], sort=False):
        table = part.pivot_table(index="seed", columns="method", values="value")
        for method in [name for name in METHOD_ORDER if name in table and name in (*METHODS, "gold retrain")]:
            line = dict(zip([*CHAIN, "axis"], key, strict=True)) | {"method": method, "value": written(table[method])}
            for rival in rivals:
                known = rival in table and method != rival
                line[f"minus {rival}"] = written(table[method] - table[rival]) if known else "-"
            lines.append(line)
    columns = [*CHAIN, "axis", "method", "value", *(f"minus {rival}" for rival in rivals)]
    return ordered(pd.DataFrame(lines, columns=columns), tuple(CHAIN))


def written(values: pd.Series) -> str:
    """The one value, or the mean of several with its 95 % t interval."""
    numbers = values.dropna()
    if len(numbers) < 2:
        return f"{numbers.iloc[0]:.3g}" if len(numbers) else "-"
    return "{:.3g} [{:.3g}, {:.3g}]".format(*mean_interval(numbers))


def best_trials(trials: pd.DataFrame) -> pd.DataFrame:
    """The best trial of every method's search of rate and strength, best first, with the score of its worst trial."""
    numbers = ["rate", "strength", "ratio", "distance", "preservation", "score"]
    table = trials.assign(**{name: pd.to_numeric(trials[name]) for name in numbers})
    grouped = table.groupby([*CHAIN, "method"], sort=False).score
    best = table.loc[grouped.idxmin(), [*CHAIN, "method", *numbers]]
    worst = grouped.agg(["max", "size"]).rename(columns={"max": "worst score", "size": "trials"})
    return best.join(worst, on=[*CHAIN, "method"]).sort_values([*CHAIN, "score"], ignore_index=True)


def needs_table(needs: pd.DataFrame) -> pd.DataFrame:
    """One line a method, variant and number of labels, fewest first: the mean over seeds and, of several, its 95 % t
    interval."""
    keys = [*CHAIN, "method", "variant", "labels"]
    drift = largest_drift(needs, [*keys, "seed"]).assign(metric="largest drift (points)")
    needs = pd.concat([needs[~needs.metric.str.startswith("drift ")], drift])
    by_labels = needs.sort_values(
        [*CHAIN, "labels"], key=lambda c: pd.to_numeric(c) if c.name == "labels" else c, na_position="first"
    )
    lines = []
    for key, part in by_labels.groupby(keys, sort=False):
        line = dict(zip(keys, key, strict=True)) | {"seeds": part.seed.nunique()}
        for metric, rows in part.groupby("metric", sort=False):
            form, scale = NEEDED.get(metric, (".1f", 1))
            line[f"{metric} (%)" if scale == 100 else metric] = over_seeds(rows, form, scale, own=False)
        lines.append(line)
    return pd.DataFrame(lines)


def label_curves(needs: pd.DataFrame) -> Figure:
    """What labels bring, of one chain: measures against the number of labels, a panel each, beside the gold retrain's; one
    value a seed, NaN where a seed has none."""
    counts = pd.to_numeric(needs.labels)[needs.variant.eq("from labels alone")]
    panels = {}
    for metric in ("ratio exact", "search success", "preservation L1"):
        scale = NEEDED[metric][1]
        rows, series = needs[needs.metric.eq(metric)], {}
        for method, part in rows[rows.variant.eq("from labels alone")].groupby("method", sort=False):
            table = part.assign(count=counts).pivot_table(index="count", columns="seed", values="value")
            series[method] = (table.index.tolist(), scale * table.to_numpy())
        gold = rows[rows.method.eq("gold retrain")].value.to_numpy()
        if len(gold):
            series["gold retrain"] = ([counts.min(), counts.max()], scale * np.stack([gold, gold]))
        panels[f"{metric} (%)" if scale == 100 else metric] = series
    return plots.measures(panels, "labelled samples")


def build_tables(metrics: pd.DataFrame, attacks: pd.DataFrame, costs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Every table of ``TABLES`` from the three frames of rows."""
    judged = metrics[metrics.metric.str.startswith(("judge ", "classifier accuracy", "AUC A", "AUC B", "AUC exact"))]
    ratios = ("ratio exact", "ratio B", "ratio B corrected", "miss rate", "creation rate", *FULL_SIZE)
    removed = metrics[metrics.metric.isin(ratios) | metrics.metric.str.startswith(("agreement ", "kappa "))]
    return {
        "headline": headline(metrics, attacks, costs),
        "judges": one_line(judged, [*CHAIN, "metric"])[[*CHAIN, "metric", "value", "low", "high", "n", "protocol"]],
        "generators": generator_table(metrics),
        "directions": direction_table(metrics),
        "axes": axes_table(metrics, attacks, costs),
        "removal": one_line(removed, [*CHAIN, "method", "metric"])[
            [*CHAIN, "method", "metric", "value", "low", "high", "n"]
        ],
        "quality": wide(
            metrics,
            [
                *matching(metrics, "inception", "FD-", "FD extrapolated-", "KID-", "KID p-", "FID-"),
                *("precision", "recall", "density", "coverage"),
            ],
        ),
        "card": card(metrics),
        "preservation": wide(metrics, matching(metrics, "preservation", "likeness")),
        "drift": wide(metrics, matching(metrics, "drift", "SaD", "PaD", "attribute dependency")),
        "attacks": attack_table(attacks),
        "costs": cost_table(costs),
    }


def tables_of(run: Path) -> dict[str, pd.DataFrame]:
    """Every table of the rows in ``run`` (results/<profile>); those of trials and needs only where it has such rows."""
    found = build_tables(*(read_table(run / f"{kind}.csv") for kind in ("metrics", "attacks", "costs")))
    for kind, table_of in {"trials": best_trials, "needs": needs_table}.items():
        if (run / f"{kind}.csv").is_file():
            found[kind] = table_of(read_table(run / f"{kind}.csv"))
    return found


def write_table(folder: Path, name: str, table: pd.DataFrame) -> None:
    """Write ``<name>.csv`` and ``<name>.md``, the latter without the padding of its columns, which doubles its size."""
    text = table.to_markdown(index=False, floatfmt=".4g", disable_numparse=name == "headline")
    with replacing(folder / f"{name}.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
    with replacing(folder / f"{name}.md") as temporary:
        temporary.write_text(re.sub(" {2,}", " ", re.sub("-{4,}", "---", text)) + "\n")


def removal_and_distance(metrics: pd.DataFrame) -> pd.DataFrame:
    """One line a chain and method of one data set: its ratio in per cent and its distance to feature-free images."""
    compared = metrics[metrics.method.isin(METHOD_ORDER)]  # a floor may come from fewer images, under a name of its own
    free = next(name for name in matching(compared, "FD-") if name.endswith("to feature-free"))
    table = wide(compared, ["ratio exact", free], written=False)
    return table.assign(ratio=100 * table["ratio exact"], distance=table[free])


def removal_quality(metrics: pd.DataFrame) -> Figure:
    """Each method's ratio against its distance to feature-free real images, one panel a chain of one data set."""
    points = {
        " ".join(chain): {row.method: (row.ratio, row.distance) for row in part.itertuples()}
        for chain, part in removal_and_distance(metrics).groupby(["model", "feature"], sort=False)
    }
    return plots.scatter(points, "ratio, exact judge (%)", "distance to feature-free images")


def three_axes(metrics: pd.DataFrame, attacks: pd.DataFrame) -> Figure:
    """Removal, quality and robustness at once, one panel a chain of one data set: ratio, distance to feature-free images,
    and as colour the success of the latent search at the middle radius. Methods that were not attacked stay empty."""
    searched, radius = at_middle_radius(attacks)
    success = 100 * searched.groupby(["model", "feature", "method"]).value.mean()
    points = {
        " ".join(chain): {
            row.method: (row.ratio, row.distance, success.get((*chain, row.method), float("nan")))
            for row in part.itertuples()
        }
        for chain, part in removal_and_distance(metrics).groupby(["model", "feature"], sort=False)
    }
    return plots.named_points(
        points, "ratio, exact judge (%)", "distance to feature-free images", f"success of the search, {radius} (%)"
    )


def at_middle_radius(attacks: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The rows of the latent search at the middle of its radii, counted by the exact judge, and that radius in words."""
    searched = attacks[attacks.attack.eq("latent search") & attacks.judge.eq("exact") & attacks.metric.eq("success")]
    radii = searched.budget.str.split(",").str[0]  # "radius 2, 20 steps, 2 runs": steps and runs differ by data set
    ascending = sorted(radii.unique(), key=lambda text: float(text.split()[1]))
    middle = ascending[len(ascending) // 2] if ascending else ""
    return searched[radii.eq(middle)], middle


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
