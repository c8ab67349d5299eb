"""Figures. Each function draws one and returns it; images are float (N, C, H, W) in [-1, 1], drawn black on white."""

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

from lib.files import replacing

COLOURS = {
    "original": "#444444",
    "oracle edit": "#8c6bb1",
    "rejection": "#b8860b",
    "literal": "#d95f02",
    "exact": "#1b9e77",
    "conditional": "#66a61e",
    "least": "#c51b7d",
    "gold retrain": "#2c6fbb",
    "mean difference": "#444444",
    "LDA": "#d95f02",
    "logistic": "#1b9e77",
    "SVM": "#2c6fbb",
    "joint": "#8c6bb1",
    "gradient": "#b8860b",
}
OTHERS = ("#2c6fbb", "#d95f02", "#1b9e77", "#c51b7d", "#8c6bb1", "#b8860b")  # of names without a colour of their own
LINE = 16  # images side by side at most, where many rows of few share a figure
THOUSANDS = 2**14  # colours; a sheet of faces has twenty times as many, a chart a tenth
KINDS = (("s", "--"), ("^", ":"), ("D", "-."))  # marker and line of these, a round of the colours each


def looks(names: Iterable[str]) -> dict[str, dict[str, str | None]]:
    """Colour, marker and line of each name; where many have no colour of their own, no two of eighteen look alike."""
    plain = [name for name in names if name not in COLOURS]
    found = {name: {"color": COLOURS.get(name), "marker": "o", "linestyle": "-"} for name in names}
    for number, name in enumerate(plain if len(plain) > len(OTHERS) else []):
        marker, line = KINDS[number // len(OTHERS) % len(KINDS)]
        found[name] = {"color": OTHERS[number % len(OTHERS)], "marker": marker, "linestyle": line}
    return found


def save(figure: Figure, path: Path) -> None:
    """Write the figure as PNG in 256 colours without time stamp or software name, under a temporary name first."""
    figure.savefig(whole := BytesIO(), format="png", dpi=110, bbox_inches="tight")
    with replacing(path) as temporary:
        temporary.write_bytes(in_few_colours(whole.getvalue(), 256))


def in_few_colours(png: bytes, count: int) -> bytes:
    """A PNG in ``count`` colours, rare ones among them: sheets of faces take a third of the space.

    Of a picture with thousands of colours every 25th pixel gives the palette, in a hundredth of the time.
    """
    picture, few = Image.open(BytesIO(png)).convert("RGB"), {"method": Image.Quantize.MAXCOVERAGE, "kmeans": 4}
    if picture.getcolors(THOUSANDS):
        reduced = picture.quantize(count, **few)
    else:
        part = picture.resize((picture.width // 5, picture.height // 5), Image.Resampling.NEAREST)
        reduced = picture.quantize(palette=part.quantize(count, **few), dither=Image.Dither.NONE)
    reduced.save(small := BytesIO(), "png", optimize=True)
    return small.getvalue()


def tiled(images: Tensor, columns: int, gap: float = -0.7) -> Tensor:
    """Images (N, C, H, W) row by row as one picture (3, height, width), with a pixel of ``gap`` around each.

    What torchvision's ``make_grid`` makes, whose import takes a second that every notebook would wait for.
    """
    columns = min(columns, len(images))
    missing = images.new_full((-len(images) % columns, *images.shape[1:]), gap)
    framed = pad(torch.cat([images, missing]), (1, 0, 1, 0), value=gap)  # left and above
    picture = framed.unflatten(0, (-1, columns)).permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)
    return pad(picture, (0, 1, 0, 1), value=gap).expand(3, -1, -1)


def show_images(axis: Axes, images: Tensor, columns: int, title: str = "") -> None:
    """Draw images as one sheet of ``columns`` columns; the title alone if there are none."""
    if len(images):
        sheet = tiled(images.clamp(-1, 1), columns).permute(1, 2, 0).numpy()
        axis.imshow(0.5 - sheet / 2 if images.shape[1] == 1 else sheet / 2 + 0.5, vmin=0, vmax=1)
    axis.set_title(title, fontsize=9, loc="left")
    axis.axis("off")


def sheet(images: Tensor, columns: int = 16, title: str = "") -> Figure:
    """One contact sheet."""
    rows = -(-len(images) // columns)
    figure, axis = plt.subplots(figsize=(9, 9 * rows / columns + 0.3))
    show_images(axis, images, columns, title)
    return figure


def sheets(groups: dict[str, Tensor], columns: int = 10) -> Figure:
    """Contact sheets side by side, one a name."""
    figure, axes = plt.subplots(1, len(groups), figsize=(3.1 * len(groups), 3.4), squeeze=False)
    for axis, (name, images) in zip(axes[0], groups.items(), strict=True):
        show_images(axis, images, columns, name)
    return figure


def pairs(rows: dict[str, Tensor], difference: bool = True) -> Figure:
    """The same latents in every row; with ``difference``, a last row maps |last - first|, empty where they agree.

    Many rows of few images stand side by side, first downwards. Titles alone where there is no image.
    """
    count, columns = len(rows) + difference, max(map(len, rows.values()), default=0)
    if not columns:
        return sheets(rows or {"no images": torch.empty(0)})
    across = max(LINE // columns, 1) if count > LINE else 1
    width, tall = (12 if across > 1 else 9), -(-count // across)
    figure, axes = plt.subplots(tall, across, figsize=(width, tall * (width / across / columns + 0.3)), squeeze=False)
    axes = axes.T.ravel()
    for axis in axes[count:]:
        axis.axis("off")
    for axis, (name, images) in zip(axes, rows.items(), strict=False):
        show_images(axis, images, columns, name)
    if difference:
        first, *_, last = rows.values()
        show_images(axes[count - 1], (last - first).abs() - 1, columns, "difference of the last and the first row")
    figure.tight_layout(pad=0.3)
    return figure


def strip(images: Tensor, positions: list[float], title: str) -> Figure:
    """Edit strips: images (rows * len(positions), C, H, W), one row a latent, one column a projection."""
    figure, axis = plt.subplots(figsize=(9, 9 * len(images) / len(positions) ** 2 + 0.5))
    show_images(axis, images, len(positions), title)
    width = images.shape[-1] + 1
    for number, position in enumerate(positions):
        axis.text((number + 0.5) * width, -2, f"{position:+.1f}", ha="center", va="bottom", fontsize=8)
    axis.set_title(title, fontsize=9, loc="left", pad=14)
    return figure


def projections(proj: np.ndarray, has_feature: np.ndarray, thresholds: dict[str, float], feature: str) -> Figure:
    """Histograms of projections with and without the feature, and the thresholds."""
    figure, axis = plt.subplots(figsize=(7, 3))
    bins = np.linspace(proj.min(), proj.max(), 60)
    axis.hist(proj[~has_feature], bins, color="#bbbbbb", label=f"without {feature}")
    axis.hist(proj[has_feature], bins, color="#d95f02", alpha=0.8, label=f"with {feature}")
    for style, (name, t) in zip(("--", "-"), thresholds.items(), strict=False):
        axis.axvline(t, color="black", linestyle=style, label=f"{name} t = {t:.2f}")
    axis.set(xlabel="proj(z), in prior standard deviations", ylabel="samples")
    axis.legend(fontsize=8, frameon=False)
    return figure


def histograms(values: dict[str, np.ndarray], xlabel: str, marks: dict[str, float] | None = None) -> Figure:
    """Densities of one quantity in several groups, with marked positions."""
    figure, axis = plt.subplots(figsize=(7, 3))
    everything = np.concatenate(list(values.values()))
    bins = np.linspace(*np.quantile(everything, [0.001, 0.999]), 60)
    for name, group in values.items():
        axis.hist(group, bins, density=True, histtype="step", linewidth=1.6, label=name, color=COLOURS.get(name))
    for name, position in (marks or {}).items():
        axis.axvline(position, color="black", linestyle=":", label=f"{name} {position:.2f}")
    axis.set(xlabel=xlabel, ylabel="density")
    axis.legend(fontsize=8, frameon=False)
    return figure


def lines(
    series: dict[str, tuple[list, list]], xlabel: str, ylabel: str, title: str = "", logx: bool = False, **marks: float
) -> Figure:
    """One line a name: name -> (x, y). ``marks`` are dotted horizontal levels."""
    figure, axis = plt.subplots(figsize=(6.5, 3.2))
    draw_lines(axis, series, xlabel, ylabel, title)
    for name, level in marks.items():
        axis.axhline(level, color="black", linestyle=":", label=f"{name.replace('_', ' ')} {level:.3g}")
    if logx:
        axis.set_xscale("log")
    axis.legend(fontsize=8, frameon=False)
    return figure


def draw_lines(axis: Axes, series: dict[str, tuple[list, list]], xlabel: str, ylabel: str, title: str = "") -> None:
    """The lines of ``series`` on an axis."""
    look = looks(series)
    for name, (x, y) in series.items():
        (line,) = axis.plot(x, y, markersize=4, label=name, **look[name])
        if len(x) >= 20:
            line.set_marker("")
    axis.set(xlabel=xlabel, ylabel=ylabel, title=title)
    axis.title.set_fontsize(9)


def bars(groups: dict[str, np.ndarray], labels: list[str], xlabel: str, ylabel: str) -> Figure:
    """Grouped bars: one group a label, one bar a name."""
    figure, axis = plt.subplots(figsize=(8, 3))
    width = 0.8 / len(groups)
    for number, (name, heights) in enumerate(groups.items()):
        positions = np.arange(len(labels)) + (number - (len(groups) - 1) / 2) * width
        axis.bar(positions, heights, width, label=name, color=COLOURS.get(name))
    many = {"rotation": 60, "ha": "right", "fontsize": 8} if len(labels) > 10 else {}
    axis.set_xticks(range(len(labels)), labels, **many)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    axis.legend(fontsize=8, frameon=False, ncols=2)
    return figure


def panel_size(panels: dict[str, dict]) -> tuple[float, float]:
    """Inches of a row of panels: wider ones where many names share one."""
    many = max(map(len, panels.values())) > 10
    return (5.5 if many else 2.9) * len(panels), 4.2 if many else 3


def named_size(panels: dict[str, dict]) -> tuple[float, float]:
    """Inches of a row of panels whose points bear names."""
    many = max(map(len, panels.values())) > 10
    return (8.5 if many else 5.2) * len(panels), 6.5 if many else 4.4


def shared_legend(figure: Figure) -> None:
    """One legend below all panels, each name once: a gold retrain may be in some of them only."""
    handles = {}
    for axis in figure.axes:
        for handle, name in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    figure.tight_layout()
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.02), "ncols": 6}
    figure.legend(handles.values(), handles, **below, fontsize=8, frameon=False)


def scatter(points: dict[str, dict[str, tuple[float, float]]], xlabel: str, ylabel: str) -> Figure:
    """Panels (chain -> method -> (x, y)), one point a method: quality against removal."""
    figure, axes = plt.subplots(1, len(points), figsize=panel_size(points), sharey=False, squeeze=False)
    for axis, (chain, methods) in zip(axes[0], points.items(), strict=True):
        look = looks(methods)
        for name, (x, y) in methods.items():
            marked = {"color": look[name]["color"], "marker": look[name]["marker"]}
            axis.scatter(x, y, **marked, label=name, s=36, clip_on=False, zorder=3)
        axis.set(title=chain, xlabel=xlabel, xlim=(0, None), ylim=(0, None))
        axis.title.set_fontsize(9)
    axes[0][0].set_ylabel(ylabel)
    shared_legend(figure)
    return figure


def named_points(points: dict[str, dict[str, tuple[float, float, float]]], xlabel: str, ylabel: str, colour: str) -> Figure:
    """Panels (chain -> name -> (x, y, 0..100)), each point with its name and, unless that is NaN, its colour; both axes
    logarithmic, zeros at half of the smallest other value."""
    figure, axes = plt.subplots(1, len(points), figsize=named_size(points), squeeze=False, layout="constrained")
    for axis, (chain, named) in zip(axes[0], points.items(), strict=True):
        x, y, c = (np.array(column, dtype=float) for column in zip(*named.values(), strict=True))
        x = np.maximum(x, 0.5 * x[x > 0].min())
        axis.scatter(x, y, facecolor="none", edgecolor="#999999", s=40)
        drawn = axis.scatter(x, y, c=c, vmin=0, vmax=100, cmap="viridis_r", s=40, zorder=3)
        axis.set(title=chain, xlabel=xlabel, xscale="log", yscale="log")
        for names, position in together(named, x, y):
            next_to_it = (x > 1.05 * position[0]) & (x < 2.5 * position[0]) & (abs(np.log(y / position[1])) < 0.02)
            side = {"ha": "right", "xytext": (-5, 0)} if next_to_it.any() else {"ha": "left", "xytext": (5, 0)}
            axis.annotate(", ".join(names), position, textcoords="offset points", fontsize=7, va="center", **side)
        axis.margins(x=0.2)
        for line, values in ((axis.xaxis, x), (axis.yaxis, y)):
            line.set_major_formatter("{x:g}")
            line.set_minor_formatter("{x:.4g}" if values.max() < 10 * values.min() else "")
        axis.title.set_fontsize(9)
    axes[0][0].set_ylabel(ylabel)
    figure.colorbar(drawn, ax=axes[0].tolist(), label=colour)
    return figure


def together(names: Iterable[str], x: np.ndarray, y: np.ndarray, near: float = 0.05) -> list[tuple[list[str], tuple]]:
    """Names and place of every point on logarithmic axes, points of nearly one place (``near`` of the range, by height
    half of that) as one, so that no name is written over another."""
    groups = []
    spread = [np.ptp(np.log(values)) or 1 for values in (x, y)]
    for name, *place in sorted(zip(names, x, y, strict=True), key=lambda point: -point[2]):
        for group, first in groups:
            steps = [abs(np.log(a / b)) / width for a, b, width in zip(place, first, spread, strict=True)]
            if steps[0] < near and steps[1] < near / 2:
                group.append(name)
                break
        else:
            groups.append(([name], tuple(place)))
    return groups


def panels(
    chains: dict[str, dict[str, tuple[list, list]]], xlabel: str, ylabel: str, ylim: tuple[float, float] | None = None
) -> Figure:
    """Panels of lines: chain -> method -> (x, y), as for attack curves."""
    figure, axes = plt.subplots(1, len(chains), figsize=panel_size(chains), sharey=True, squeeze=False)
    for axis, (chain, series) in zip(axes[0], chains.items(), strict=True):
        draw_lines(axis, series, xlabel, "", chain)
        if ylim:
            axis.set_ylim(*ylim)
    axes[0][0].set_ylabel(ylabel)
    shared_legend(figure)
    return figure


def measures(panels: dict[str, dict[str, tuple[list, np.ndarray]]], xlabel: str) -> Figure:
    """One panel a measure, one line a name for the mean of its columns, and of several columns a thin line each: measure ->
    name -> (x, y (len(x), columns)), NaN where a column has no value; x logarithmic."""
    figure, axes = plt.subplots(1, len(panels), figsize=(3.2 * len(panels), 3), squeeze=False, layout="constrained")
    for axis, (measure, series) in zip(axes[0], panels.items(), strict=True):
        draw_lines(axis, {name: (x, np.nanmean(y, axis=1)) for name, (x, y) in series.items()}, xlabel, measure)
        for name, (x, y) in series.items():
            if y.shape[1] > 1:
                axis.plot(x, y, color=COLOURS.get(name), linewidth=0.6, alpha=0.6)
        ticks = sorted({x for xs, _ in series.values() for x in xs})
        axis.set(xscale="log", ylim=(0, None))
        axis.set_xticks(ticks, [f"{x:g}" for x in ticks])
        axis.minorticks_off()
    axes[0][0].legend(fontsize=8, frameon=False)
    return figure


def quiet_style() -> None:
    """Light axes for every figure of a notebook."""
    matplotlib.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 90, "font.size": 9})
