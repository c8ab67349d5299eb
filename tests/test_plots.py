"""Figures of images: sheets as torchvision tiles them; a group without members is an empty sheet, not an error."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.utils import make_grid

from lib import plots


@pytest.mark.parametrize(("n", "columns", "channels"), [(6, 3, 1), (7, 3, 3), (2, 5, 3)])
def test_tiled_images_are_those_of_torchvision(n, columns, channels):
    images = torch.rand(n, channels, 4, 5, generator=torch.Generator().manual_seed(0))
    expected = make_grid(images, nrow=columns, padding=1, pad_value=0.25)
    assert torch.equal(plots.tiled(images, columns, 0.25), expected)


def test_a_sheet_without_images_has_its_title_and_nothing_else():
    figure = plots.sheets({"bald": torch.zeros(0, 3, 64, 64), "not bald": torch.zeros(4, 3, 64, 64)}, columns=2)
    empty, full = figure.axes
    assert empty.get_title(loc="left") == "bald"
    assert (len(empty.images), len(full.images)) == (0, 1)


@pytest.mark.parametrize("rows", [{}, {"original": torch.zeros(0, 1, 8, 8), "exact": torch.zeros(0, 1, 8, 8)}])
def test_pairs_without_images_are_titles_alone(rows):
    axes = plots.pairs(rows).axes
    assert not any(axis.images for axis in axes)
    assert [axis.get_title(loc="left") for axis in axes] == (list(rows) or ["no images"])


def test_many_rows_of_few_images_stand_side_by_side_and_first_downwards():
    few = {str(k): torch.full((5, 1, 8, 8), -1.0) for k in range(19)}
    axes = [axis for axis in plots.pairs(few).axes if axis.images]
    places = {axis.get_title(loc="left"): axis.get_subplotspec() for axis in axes}
    assert {(spec.rowspan.start, spec.colspan.start): name for name, spec in places.items()} == {
        (k % 7, k // 7): name for k, name in enumerate([*few, "difference of the last and the first row"])
    }
    wide = plots.pairs({name: images.repeat(3, 1, 1, 1) for name, images in few.items()})
    assert {axis.get_subplotspec().colspan.start for axis in wide.axes} == {0}


def test_no_two_of_eighteen_names_look_alike():
    names = [f"method {k}" for k in range(18)] + ["exact"]
    assert len({tuple(look.values()) for look in plots.looks(names).values()}) == 19


def test_names_of_one_place_are_written_together():
    x, y = np.array([1.0, 1.01, 10.0]), np.array([5.0, 5.01, 20.0])
    groups = plots.together(["a", "b", "c"], x, y)
    assert [names for names, _ in groups] == [["c"], ["b", "a"]]


def test_a_saved_figure_is_close_to_what_was_drawn_and_the_same_every_time(tmp_path):
    ramp = torch.linspace(-1, 1, 32)
    images = torch.stack(
        [torch.stack([ramp.expand(32, 32), ramp.expand(32, 32).T, ramp[k * 10].expand(32, 32)]) for k in range(4)]
    )
    figure = plots.sheet(images, 4, "ramps of colour")
    for name in ("once.png", "again.png"):
        plots.save(figure, tmp_path / name)
    figure.savefig(tmp_path / "whole.png", dpi=110, bbox_inches="tight")
    saved, whole = (np.asarray(Image.open(tmp_path / name).convert("RGB"), float) for name in ("once.png", "whole.png"))
    assert (tmp_path / "once.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    assert saved.shape == whole.shape
    assert np.abs(saved - whole).mean() < 4
    assert len(np.unique(saved.reshape(-1, 3), axis=0)) <= 256


@pytest.mark.parametrize("draw", [plots.panels, plots.scatter])
def test_the_legend_names_what_only_a_later_panel_has(draw):
    point = ([0, 1], [0, 1]) if draw is plots.panels else (1.0, 1.0)
    names = {"first": ["original", "exact"], "second": ["original", "exact", "gold retrain"]}
    figure = draw({chain: dict.fromkeys(methods, point) for chain, methods in names.items()}, "x", "y")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == names["second"]


def png_of(pixels):
    Image.fromarray(pixels).save(whole := BytesIO(), "png")
    return whole.getvalue()


def test_a_picture_of_few_colours_stays_as_it_is():
    pixels = np.full((60, 60, 3), 255, np.uint8)
    pixels[30, 30], pixels[:, 5] = (200, 10, 10), (0, 0, 0)
    small = Image.open(BytesIO(plots.in_few_colours(png_of(pixels), 8)))
    assert np.array_equal(np.asarray(small.convert("RGB")), pixels)


def test_a_picture_of_a_hundred_thousand_colours_loses_little():
    y, x = np.mgrid[:400, :400] / 400
    noise = np.random.default_rng(0).normal(0, 0.03, (400, 400, 3))
    pixels = (255 * (np.stack([0.3 + 0.6 * y, 0.2 + 0.5 * x, 0.4 + 0.2 * y * x], 2) + noise).clip(0, 1)).astype(np.uint8)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100_000
    small = plots.in_few_colours(png_of(pixels), 256)
    shown = np.asarray(Image.open(BytesIO(small)).convert("RGB"))
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) <= 256
    assert np.abs(shown.astype(int) - pixels).mean() < 5
    assert len(small) < 0.6 * len(png_of(pixels))
