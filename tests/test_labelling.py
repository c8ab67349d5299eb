"""Marking samples by eye, without a browser: nothing marked is lost, nothing foreign is overwritten."""

import io

import ipywidgets
import numpy as np
import pytest
import torch
from PIL import Image

from lib import labelling
from lib.labelling import Labelling, png, present, widget
from lib.labels import read_labels, read_marks


@pytest.fixture
def path(tmp_path):
    return tmp_path / "labels.csv"


@pytest.fixture
def images():
    """Ten grey images, each of another level."""
    return torch.linspace(-1, 1, 10)[:, None, None, None].expand(10, 1, 8, 8)


@pytest.fixture
def session(images, path):
    """Ten samples, four a page, nothing marked."""
    return Labelling(images, range(10), path, per_page=4)


def test_each_mark_is_in_the_file_at_once(session, path):
    assert not path.exists()
    session.mark(3, 1)
    assert path.read_text() == "index,label\n3,1\n"
    session.mark(0, "unsure")
    session.mark(3, "0")
    assert path.read_text() == "index,label\n0,unsure\n3,0\n"
    assert [file.name for file in path.parent.iterdir()] == ["labels.csv"]


def test_a_click_goes_from_0_to_1_to_unsure_and_round(session):
    seen = []
    for _ in range(4):
        session.toggle(2)
        seen.append(session.marks[2])
    assert seen == ["0", "1", "unsure", "0"]


def test_the_file_is_what_the_notebooks_read(session, path):
    session.mark(1, 1)
    session.mark(2, 0)
    session.mark(9, "unsure")
    assert read_labels(path, 10) == {1: True, 2: False}
    assert read_marks(path, 10) == session.marks


def test_counts_run_along(session):
    for index, value in enumerate([1, 1, 0, "unsure", 0, 1]):
        session.mark(index, value)
    assert session.counts == {"0": 2, "1": 3, "unsure": 1}
    assert labelling.tally(session) == "1: 3 · 0: 2 · unsure: 1 · to do: 4"


def test_a_session_goes_on_where_the_last_one_stopped(session, images, path):
    for index in (0, 1, 2, 3, 5):
        session.mark(index, 1)
    later = Labelling(images, range(10), path, per_page=4)
    assert later.marks == session.marks
    assert (later.page, later.shown) == (1, [4, 5, 6, 7])
    later.mark(4, 0)
    assert read_marks(path, 10) == {**session.marks, 4: "0"}


def test_pages_end_where_the_samples_end(session):
    assert session.pages == 3
    session.turn(-1)
    assert session.page == 0
    session.turn(5)
    assert (session.page, session.shown) == (2, [8, 9])


def test_a_chosen_order_keeps_marks_of_samples_it_does_not_show(session, images, path):
    session.mark(0, 1)
    few = Labelling(images, np.array([7, 3]), path)
    few.toggle(few.shown[0])
    assert read_marks(path, 10) == {0: "1", 7: "0"}
    assert few.counts == {"0": 1, "1": 1, "unsure": 0}


def test_undo_takes_back_the_last_change_in_the_file_too(session, path):
    session.mark(0, 1)
    session.mark(0, 0)
    session.rest()
    assert session.marks == {0: "0", 1: "0", 2: "0", 3: "0"}
    session.undo()
    assert read_marks(path, 10) == {0: "0"}
    session.undo()
    assert read_marks(path, 10) == {0: "1"}
    session.undo()
    session.undo()
    assert session.marks == read_marks(path, 10) == {}


def test_the_rest_of_a_page_leaves_marks_and_other_pages_alone(session):
    session.mark(2, 1)
    session.rest()
    assert session.marks == {0: "0", 1: "0", 2: "1", 3: "0"}
    session.rest()
    session.undo()
    assert session.marks == {2: "1"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name,age\nEve,30\n", r"labels.csv has the columns \['name', 'age'\]"),
        ("index,label\n50,1\n", r"line 2: index 50 is outside 0\.\.9"),
        ("index,label\n1,1\n2,yes\n", "line 3: label 'yes' must be 0, 1 or unsure"),
        ("index,label\n1\n", "line 2: label None must be 0, 1 or unsure"),
        ("index,label\n1,1,mine\n", "line 2: the row has more than the columns index,label"),
        ("", "has the columns None"),
    ],
)
def test_a_foreign_file_is_refused_and_left_alone(images, path, text, sentence):
    path.write_text(text)
    with pytest.raises(ValueError, match=sentence):
        Labelling(images, range(10), path)
    assert path.read_text() == text


def test_a_binary_file_is_refused_and_left_alone(images, path):
    path.write_bytes(b"PK\x03\x04\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"labels.csv is not a text file"):
        Labelling(images, range(10), path)
    assert path.read_bytes() == b"PK\x03\x04\xff\xfe\x00"


def test_a_file_from_a_spreadsheet_is_taken_up(images, path):
    path.write_bytes("\ufeffindex,label\r\n4,1\r\n".encode())
    assert Labelling(images, range(10), path).marks == {4: "1"}


@pytest.mark.parametrize("text", ["index,label\n3,1\n4,1\n", "name,age\nEve,30\n"])
def test_a_file_changed_elsewhere_is_not_overwritten_and_the_mark_is_kept(session, path, text):
    session.mark(3, 1)
    path.write_text(text)
    with pytest.raises(ValueError, match=r"labels.csv has"):
        session.mark(5, 0)
    assert path.read_text() == text
    assert session.marks == {3: "1", 5: "0"}
    path.rename(path.with_name("theirs.csv"))
    session.turn(1)
    assert read_marks(path, 10) == {3: "1", 5: "0"}


def test_a_mark_that_cannot_be_written_is_kept(session, path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    session.mark(1, 1)
    with monkeypatch.context() as disk:
        disk.setattr(labelling, "write_marks", full)
        with pytest.raises(OSError, match="No space left"):
            session.mark(2, 0)
    assert read_marks(path, 10) == {1: "1"}
    session.save()
    assert read_marks(path, 10) == {1: "1", 2: "0"}


def test_wrong_marks_and_indices_are_refused(session, images, path):
    with pytest.raises(ValueError, match="mark 'maybe' must be 0, 1 or unsure"):
        session.mark(1, "maybe")
    with pytest.raises(ValueError, match=r"index 10 is outside 0\.\.9"):
        session.mark(10, 1)
    for indices in ([1, 1], [10], [-1]):
        with pytest.raises(ValueError, match=r"indices must be different numbers in 0\.\.9"):
            Labelling(images, indices, path)
    assert not path.exists()


def test_pictures_are_black_on_white_for_one_channel_and_in_colour_for_three(images):
    ink = Image.open(io.BytesIO(png(images[9])))
    assert (ink.mode, ink.getpixel((0, 0))) == ("L", 0)
    red = torch.tensor([1.0, -1.0, -1.0])[:, None, None].expand(3, 8, 8)
    colour = Image.open(io.BytesIO(png(red)))
    assert (colour.mode, colour.getpixel((0, 0))) == ("RGB", (255, 0, 0))


def parts(sheet, kind):
    """The widgets of one kind inside a widget."""
    inner = [part for child in getattr(sheet, "children", ()) for part in parts(child, kind)]
    return [sheet, *inner] if isinstance(sheet, kind) else inner


def press(sheet, name):
    next(button for button in parts(sheet, ipywidgets.Button) if button.description == name).click()


def tiles(sheet):
    """(picture, button) of each sample on the page."""
    (grid,) = parts(sheet, ipywidgets.GridBox)
    return [tile.children for tile in grid.children]


def state(sheet):
    return parts(sheet, ipywidgets.Label)[0].value


def test_clicks_on_the_sheet_drive_the_marks(session, images, path):
    sheet = widget(session)
    picture, button = tiles(sheet)[1]
    assert picture.value == png(images[1])
    button.click()
    button.click()
    assert read_marks(path, 10) == {1: "1"}
    assert (button.description, button.button_style) == ("1", "success")
    assert state(sheet) == "page 1 of 3 · 1: 1 · 0: 0 · unsure: 0 · to do: 9"
    press(sheet, "Rest of page: 0")
    assert [button.description for _, button in tiles(sheet)] == ["0", "1", "0", "0"]
    press(sheet, "Undo")
    assert read_marks(path, 10) == {1: "1"}


def test_pages_of_the_sheet_show_their_own_samples(session, images):
    sheet = widget(session)
    press(sheet, "Next")
    press(sheet, "Next")
    assert [picture.value for picture, _ in tiles(sheet)] == [png(images[8]), png(images[9])]
    tiles(sheet)[1][1].click()
    assert session.marks == {9: "0"}
    press(sheet, "Previous")
    assert len(tiles(sheet)) == 4
    assert {button.description for _, button in tiles(sheet)} == {"–"}


def test_the_sheet_says_what_it_could_not_save_and_save_tries_again(session, path):
    sheet = widget(session)
    (trouble,) = parts(sheet, ipywidgets.HTML)
    path.write_text("<b>,age\n")
    tiles(sheet)[0][1].click()
    assert trouble.value.startswith("<b>Not saved.</b>")
    assert "[&#x27;&lt;b&gt;&#x27;, &#x27;age&#x27;]" in trouble.value
    path.unlink()
    press(sheet, "Save")
    assert trouble.value == ""
    assert read_marks(path, 10) == {0: "0"}


def test_the_sheet_is_shown_only_where_somebody_looks(session, monkeypatch):
    shown = []
    monkeypatch.setattr(labelling, "display", shown.append)
    present(session)
    assert shown == []
    monkeypatch.delenv("TQDM_DISABLE")
    present(session)
    assert [type(sheet) for sheet in shown] == [ipywidgets.VBox]
