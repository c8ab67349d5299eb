"""Figures of images: a group without members is an empty sheet, not an error."""

import torch

from lib import plots


def test_a_sheet_without_images_has_its_title_and_nothing_else():
    figure = plots.sheets({"bald": torch.zeros(0, 3, 64, 64), "not bald": torch.zeros(4, 3, 64, 64)}, columns=2)
    empty, full = figure.axes
    assert empty.get_title(loc="left") == "bald"
    assert (len(empty.images), len(full.images)) == (0, 1)
