"""Strokes of known shape measure as drawn, and the thinning agrees bit by bit with a slow one."""

import itertools
import warnings

import numpy as np
import pytest
import torch

from lib import morphometry
from lib.morphometry import MEASUREMENTS, SCALE, measure

FINE = 8  # samples per pixel and axis, for anti-aliasing


def fine_grid(size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Sample positions x, y in pixels from the centre of the image."""
    at = (np.arange(size * FINE) + 0.5) / FINE - size / 2
    return at[None, :], at[:, None]


def drawn(mask: np.ndarray) -> torch.Tensor:
    """A mask of samples to one anti-aliased image (1, 1, size, size) in [-1, 1]."""
    size = len(mask) // FINE
    cover = mask.reshape(size, FINE, size, FINE).mean((1, 3))
    return torch.from_numpy(cover * 2 - 1).float()[None, None]


def bar(width: float, height: float, shear: float = 0.0, x: float = 0.0, size: int = 32) -> torch.Tensor:
    """An upright bar, its top moved by -shear * height / 2."""
    xs, ys = fine_grid(size)
    return drawn((abs(xs - x - shear * ys) <= width / 2) & (abs(ys) <= height / 2))


def ring(radius: float, width: float) -> torch.Tensor:
    return drawn(abs(np.hypot(*fine_grid()) - radius) <= width / 2)


def digits() -> torch.Tensor:
    """Digit-like shapes: one, zero, seven, four, six and a blob, (6, 1, 32, 32)."""
    xs, ys = fine_grid()
    seven = ((abs(ys + 8) < 1.5) & (abs(xs) < 7)) | ((abs(xs + ys / 2 - 2) < 1.3) & (abs(ys) < 9))
    four = ((abs(xs - 3) < 1.2) & (abs(ys) < 10)) | ((abs(ys - 1) < 1.7) & (abs(xs) < 7))
    four |= (abs(xs + 5 - ys / 4) < 1.1) & (ys < 1) & (ys > -8)
    six = (abs(np.hypot(xs, ys - 4) - 4.5) < 1.4) | ((abs(xs + 4 + ys / 5) < 1.3) & (ys < 4) & (ys > -11))
    blob = np.hypot(xs / 1.5, ys) < 6
    shapes = [bar(2.5, 18, -0.4), ring(7, 3), drawn(seven), drawn(four), drawn(six), drawn(blob)]
    return torch.cat(shapes)


def test_thickness_follows_the_width_of_the_bar() -> None:
    thickness = measure(torch.cat([bar(width, 26) for width in (2, 3, 4, 5)]))["thickness"]
    np.testing.assert_allclose(thickness, [2, 3, 4, 5], atol=0.6)
    assert (np.diff(thickness) > 0.5).all()


def test_ring_is_measured_along_its_middle() -> None:
    measured = measure(ring(8, 3))
    assert measured["thickness"][0] == pytest.approx(3, abs=0.3)
    assert measured["length"][0] == pytest.approx(2 * np.pi * 8, rel=0.12)
    assert measured["area"][0] == pytest.approx(2 * np.pi * 8 * 3, rel=0.03)


@pytest.mark.parametrize("shear", [-0.5, -0.2, 0.0, 0.2, 0.5])
def test_slant_is_negative_where_the_top_leans_left(shear: float) -> None:
    slant = measure(bar(3, 20, shear))["slant"][0]  # a positive shear moves the top to the left
    assert slant == pytest.approx(-np.arctan(shear), abs=0.03)


def test_bar_length_and_area() -> None:
    measured = measure(torch.cat([bar(3, height) for height in (12, 18, 24)]))
    np.testing.assert_allclose(np.diff(measured["length"]), 6, atol=0.1)
    np.testing.assert_allclose(measured["length"], [12, 18, 24], atol=3)
    np.testing.assert_allclose(measured["area"], [36, 54, 72], rtol=0.04)


def test_sides_are_those_of_the_box_and_undo_the_shear() -> None:
    measured = measure(torch.cat([bar(8, 20), bar(14, 10), bar(8, 20, 0.3)]))
    np.testing.assert_allclose(measured["width"], [8, 14, 8], atol=0.9)  # the smoothing widens them a little
    np.testing.assert_allclose(measured["height"], [20, 10, 20], atol=0.9)


@pytest.mark.parametrize("level", [-1.0, 0.2, 1.0])
def test_blank_image_measures_zero(level: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measured = measure(torch.full((2, 1, 32, 32), level))
    assert all((values == 0).all() for values in measured.values())


def test_result_does_not_depend_on_the_batch() -> None:
    noise = 0.1 * torch.randn(300, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    images = (digits().repeat(50, 1, 1, 1) + noise).clamp(-1, 1)
    together = measure(images)
    for part in (slice(0, 1), slice(2, 9), slice(1, 300), slice(258, 261)):
        for name, values in measure(images[part]).items():
            np.testing.assert_array_equal(values, together[name][part])


def test_translation_changes_nothing() -> None:
    images = digits()
    moved = measure(images.roll((2, -3), dims=(2, 3)))
    for name, values in measure(images).items():
        np.testing.assert_allclose(moved[name], values, rtol=1e-4, atol=1e-4)


def test_small_images_and_empty_batches() -> None:
    small, padded = measure(bar(3, 16, 0.2, size=28)), measure(bar(3, 16, 0.2))
    for name in MEASUREMENTS:
        np.testing.assert_allclose(small[name], padded[name], rtol=1e-5)
        assert small[name].dtype == np.float32
    assert all(values.shape == (0,) for values in measure(torch.zeros(0, 1, 32, 32)).values())


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(1, 32, 32),
        torch.zeros(1, 3, 32, 32),
        torch.zeros(1, 1, 64, 64),
        torch.zeros(1, 1, 32, 32, dtype=torch.uint8),
        torch.full((1, 1, 32, 32), 1.01),
        torch.full((1, 1, 32, 32), float("nan")),
    ],
)
def test_other_input_is_refused(images: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"^images must .*[.]$"):
        measure(images)


def test_thinning_agrees_with_the_slow_reference() -> None:
    levels = morphometry.grey_levels(digits())
    stroke = morphometry.strokes(morphometry.enlarge(levels, *morphometry.enlarging_matrices(32)))
    pixels = np.flatnonzero(stroke)
    squared = morphometry.background_distances(stroke, pixels)
    kept = morphometry.medial_axis(stroke, pixels, squared, morphometry.removable_neighbourhoods())
    expected_squared = np.concatenate([slow_squared_distances(one) for one in stroke])
    np.testing.assert_array_equal(squared, expected_squared)
    axis = np.zeros(stroke.size, bool)
    axis[pixels] = kept
    for one, thinned in zip(stroke, axis.reshape(stroke.shape), strict=True):
        np.testing.assert_array_equal(thinned, slow_medial_axis(one))


def slow_squared_distances(stroke: np.ndarray) -> np.ndarray:
    """Of every stroke pixel, in raster order, to the nearest of all background pixels."""
    background = np.argwhere(~stroke)
    return np.array([((background - at) ** 2).sum(1).min() for at in np.argwhere(stroke)])


def slow_medial_axis(stroke: np.ndarray) -> np.ndarray:
    """Visits one pixel after the other by distance, background neighbours, parity of row, of column."""
    places = np.argwhere(stroke)
    rank = [
        (squared, 9 - stroke[y - 1 : y + 2, x - 1 : x + 2].sum(), y % 2, x % 2)
        for squared, (y, x) in zip(slow_squared_distances(stroke), places, strict=True)
    ]
    left = stroke.copy()
    for _, (y, x) in sorted(zip(rank, places.tolist(), strict=True)):
        around = {(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if left[y + i, x + j]}
        left[y, x] = len(around) < 3 or components(around) != components(around - {(0, 0)})
    return left


def components(cells: set[tuple[int, int]]) -> int:
    """How many 8-connected components the cells form."""
    groups = [{cell} for cell in cells]
    for a, b in itertools.combinations(cells, 2):
        if max(abs(a[0] - b[0]), abs(a[1] - b[1])) == 1:
            joined = [group for group in groups if a in group or b in group]
            groups = [group for group in groups if group not in joined] + [set().union(*joined)]
    return len(groups)


def test_enlarging_keeps_flat_areas_exact() -> None:
    grey = torch.arange(0, 256, 5.0).reshape(-1, 1, 1)
    enlarged = morphometry.enlarge(grey.expand(-1, 28, 28), *morphometry.enlarging_matrices(28))
    assert enlarged.shape == (len(grey), 28 * SCALE, 28 * SCALE)
    np.testing.assert_array_equal(enlarged, np.broadcast_to(grey, enlarged.shape))
