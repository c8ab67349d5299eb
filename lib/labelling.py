"""Labelling by eye: a contact sheet whose marks go into the CSV that ``lib.labels`` reads.

``Labelling`` keeps the marks and needs no browser; ``widget`` draws it in a notebook.
"""

import html
import io
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import ipywidgets as widgets
from IPython.display import display
from PIL import Image
from torch import Tensor

from lib.data import to_uint8
from lib.labels import MARKS, read_marks, write_marks
from lib.runs import in_batch

STYLES = {None: "", "0": "info", "1": "success", "unsure": "warning"}  # colours of ipywidgets' buttons


class Labelling:
    """Marks of samples, shown in pages and written to their CSV after every change.

    images: float (N, C, H, W) in [-1, 1], row i made from latent i; indices: the rows to show, in this order; path: the
    CSV, whose marks are taken up if it exists and which is not made before the first mark. ``marks`` is index -> "0", "1"
    or "unsure". Raises ValueError for an index outside the images or given twice, and as ``read_marks`` for a foreign CSV,
    which is left as it is.
    """

    def __init__(self, images: Tensor, indices: Sequence[int], path: Path, per_page: int = 40) -> None:
        self.images, self.path, self.per_page = images, path, per_page
        self.indices = [int(index) for index in indices]
        if len(set(self.indices)) < len(self.indices) or not set(self.indices) <= set(range(len(images))):
            raise ValueError(f"indices must be different numbers in 0..{len(images) - 1}, one for each sample to show.")
        self.stored = self._read()
        self.marks = dict(self.stored)
        self.done: list[dict[int, str | None]] = []  # what each change replaced, for ``undo``
        unmarked = [place for place, index in enumerate(self.indices) if index not in self.marks]
        self.page = unmarked[0] // per_page if unmarked else 0

    @property
    def pages(self) -> int:
        """Number of pages, at least one."""
        return max(1, -(-len(self.indices) // self.per_page))

    @property
    def shown(self) -> list[int]:
        """The indices on the current page."""
        return self.indices[self.page * self.per_page :][: self.per_page]

    @property
    def counts(self) -> dict[str, int]:
        """How many samples of the CSV are marked "0", "1" and "unsure"."""
        given = list(self.marks.values())
        return {mark: given.count(mark) for mark in MARKS}

    def mark(self, index: int, value: int | str) -> None:
        """Mark a sample with 0, 1 or "unsure" and save.

        Raises ValueError for an index outside the images or another value; as ``save``, the mark then being kept in memory.
        """
        if not 0 <= index < len(self.images):
            raise ValueError(f"index {index} is outside 0..{len(self.images) - 1}.")
        if str(value) not in MARKS:
            raise ValueError(f"mark {value!r} must be 0, 1 or unsure.")
        self._change({index: str(value)})

    def toggle(self, index: int) -> None:
        """Mark a sample with what follows its mark: 0, then 1, then unsure, then 0 again."""
        at = MARKS.index(self.marks[index]) if index in self.marks else -1
        self.mark(index, MARKS[(at + 1) % len(MARKS)])

    def rest(self) -> None:
        """Mark with 0 whatever on this page has no mark: rare features are labelled by their positives."""
        unmarked = [index for index in self.shown if index not in self.marks]
        if unmarked:
            self._change(dict.fromkeys(unmarked, "0"))

    def undo(self) -> None:
        """Take the last change of this session back and save; nothing happens if there is none."""
        if self.done:
            self._apply(self.done.pop())
            self.save()

    def turn(self, pages: int) -> None:
        """Go forward by ``pages``, or back if negative, as far as there are any; save if an earlier save failed."""
        self.page = min(max(self.page + pages, 0), self.pages - 1)
        if self.marks != self.stored:
            self.save()

    def save(self) -> None:
        """Write all marks to the CSV, whole or not at all.

        Raises ValueError if the file has been changed since it was last read or written here, and leaves it as it is.
        """
        if self.path.exists() and self._read() != self.stored:
            raise ValueError(f"{self.path} has been changed elsewhere: move it away, then save the marks made here.")
        write_marks(self.path, self.marks)
        self.stored = dict(self.marks)

    def _read(self) -> dict[int, str]:
        return read_marks(self.path, len(self.images)) if self.path.exists() else {}

    def _change(self, changes: dict[int, str | None]) -> None:
        self.done.append({index: self.marks.get(index) for index in changes})
        self._apply(changes)
        self.save()

    def _apply(self, changes: dict[int, str | None]) -> None:
        self.marks |= changes
        self.marks = {index: mark for index, mark in self.marks.items() if mark is not None}


def png(image: Tensor) -> bytes:
    """A float image (C, H, W) in [-1, 1] as PNG; one channel is drawn black on white."""
    pixels = to_uint8(image[None])[0]
    file = io.BytesIO()
    picture = Image.fromarray(255 - pixels[0]) if len(pixels) == 1 else Image.fromarray(pixels.transpose(1, 2, 0))
    picture.save(file, "png")
    return file.getvalue()


def widget(labelling: Labelling, columns: int = 8) -> widgets.VBox:
    """The current page as a contact sheet: a row of buttons, the state, and under each image a button that cycles its mark.

    What cannot be saved is said in the state and stays in memory; the next change or Save tries again.
    """
    pictures = [widgets.Image(format="png", width=72) for _ in range(labelling.per_page)]
    marks = [widgets.Button(layout=widgets.Layout(width="72px")) for _ in pictures]
    tiles = [widgets.VBox(pair) for pair in zip(pictures, marks, strict=True)]
    sheet = widgets.GridBox(layout=widgets.Layout(grid_template_columns=f"repeat({columns}, 80px)"))
    state, trouble = widgets.Label(), widgets.HTML()

    def refresh() -> None:
        for picture, button, index in zip(pictures, marks, labelling.shown, strict=False):
            given = labelling.marks.get(index)
            picture.value = png(labelling.images[index])
            button.description, button.button_style, button.tooltip = given or "–", STYLES[given], f"sample {index}"
        sheet.children = tiles[: len(labelling.shown)]
        state.value = f"page {labelling.page + 1} of {labelling.pages} · " + tally(labelling)

    def doing(action: Callable[[], None]) -> Callable[[object], None]:
        def clicked(_: object) -> None:
            trouble.value = ""
            try:
                action()
            except (OSError, ValueError) as error:  # nobody sees an exception of a callback
                trouble.value = f"<b>Not saved.</b> {html.escape(str(error))}"
            refresh()

        return clicked

    def toggle(place: int) -> None:
        labelling.toggle(labelling.shown[place])

    actions = {
        "Previous": partial(labelling.turn, -1),
        "Next": partial(labelling.turn, 1),
        "Rest of page: 0": labelling.rest,
        "Undo": labelling.undo,
        "Save": labelling.save,
    }
    bar = [widgets.Button(description=name) for name in actions]
    for button, action in zip(bar, actions.values(), strict=True):
        button.on_click(doing(action))
    for place, button in enumerate(marks):
        button.on_click(doing(partial(toggle, place)))
    refresh()
    return widgets.VBox([widgets.HBox(bar), state, trouble, sheet])


def tally(labelling: Labelling) -> str:
    """The running counts in words."""
    counts = labelling.counts
    left = sum(index not in labelling.marks for index in labelling.indices)
    return f"1: {counts['1']} · 0: {counts['0']} · unsure: {counts['unsure']} · to do: {left}"


def present(labelling: Labelling) -> None:
    """Show the contact sheet where somebody is looking; in batch it is built and not shown."""
    sheet = widget(labelling)
    if not in_batch():
        display(sheet)
