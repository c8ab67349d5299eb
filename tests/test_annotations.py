"""Labels by eye: read as written, refused when they cannot be meant, compared with a second look."""

import pytest

from lib.annotations import FOLDER, column, read, repeat

SHIPPED = {  # samples, and feature -> the fewest and the most of them that have it
    "digiface": (660, {"glasses": (60, 100), "hat": (60, 100), "facial-hair": (60, 100)}),
    "ffhq": (500, {"glasses": (90, 110), "hat": (30, 45), "bangs": (95, 115), "beard": (55, 70), "smile": (290, 320)}),
}
CASES = [(name, feature) for name, (_, shares) in SHIPPED.items() for feature in shares]


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_unsure_samples_are_left_out_and_the_rest_are_in_order(write):
    indices, labels = read(write("a.csv", "index,hat,glasses\n7,1,0\n2,0,1\n5,1,unsure\n"), "glasses")
    assert indices.tolist() == [2, 7]
    assert labels.tolist() == [True, False]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("index,hat\n0,1\n", r"no labels of 'glasses': choose one of hat"),
        ("", r"no labels of 'glasses': its columns must be index, and one a feature"),
        ("index;glasses\n0;1\n", r"its columns must be index, and one a feature"),
        ("index,glasses\n", r"holds no labelled sample"),
        ("index,glasses\n0,1,0\n", r"line 2: one field is needed for each column"),
        ("index,glasses,glasses\n0,1,0\n", r"columns of different names"),
        ("index,glasses\n0,1\n0,0\n", r"line 3: index '0' must be a whole number that no other row has"),
        ("index,glasses\nx,1\n", r"line 2: index 'x' must be a whole number"),
        ("index,glasses\n0,maybe\n", r"line 2: label 'maybe' must be 0, 1 or unsure"),
        ("index,glasses\n0\n", r"line 2: label None must be"),
    ],
)
def test_what_cannot_be_meant_is_refused(write, text, sentence):
    with pytest.raises(ValueError, match=sentence):
        read(write("a.csv", text), "glasses")


def test_a_spreadsheets_mark_is_no_part_of_the_first_column(write):
    assert read(write("a.csv", "\ufeffindex,glasses\n3,1\n"), "glasses")[0].tolist() == [3]


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"index,glasses\n\xff\xfe\n")
    with pytest.raises(ValueError, match="is not a text file"):
        read(tmp_path / "a.csv", "glasses")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv is missing"):
        read(tmp_path / "none.csv", "glasses")


def test_a_second_look_is_compared_on_the_shared_sure_samples_only(write):
    first = write("a.csv", "index,hat\n0,1\n1,0\n2,unsure\n3,1\n9,1\n")
    second = write("b.csv", "index,hat\n3,0\n2,1\n1,0\n0,1\n8,0\n")
    found = repeat(first, second, "hat")
    assert found == (1, 3, 1)
    assert found.rate.value == pytest.approx(1 / 3)
    assert found.rate.low < 1 / 3 < found.rate.high


def test_two_looks_without_a_shared_sure_sample_are_refused(write):
    first, second = write("a.csv", "index,hat\n0,unsure\n1,0\n"), write("b.csv", "index,hat\n0,1\n")
    with pytest.raises(ValueError, match="share no sample"):
        repeat(first, second, "hat")


@pytest.mark.parametrize(("name", "feature"), CASES)
def test_the_shipped_labels_cover_enough_samples_and_positives(name, feature):
    count, shares = SHIPPED[name]
    assert list(column(FOLDER / f"{name}.csv", feature)) == list(range(count))
    _, labels = read(FOLDER / f"{name}.csv", feature)
    assert len(labels) >= 0.88 * count
    fewest, most = shares[feature]
    assert fewest <= labels.sum() <= most


@pytest.mark.parametrize(("name", "feature"), CASES)
def test_the_labeller_agrees_with_itself_on_a_second_look(name, feature):
    first, second = FOLDER / f"{name}.csv", FOLDER / f"{name}-second.csv"
    assert len(column(second, feature)) == 100
    found = repeat(first, second, feature)
    assert found.sure + found.unsure == 100
    assert found.rate.value < 0.05
