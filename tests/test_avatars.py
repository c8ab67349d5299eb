"""Cartoon faces: reproducible, of the frequencies asked for, and labelled truly."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from dicebear import Avatar

from lib import avatars, cartoons, features
from lib.avatars import CODES, FREQUENCIES, check_table, draw, labels, render
from lib.data import load, save, to_float
from lib.domains import DOMAINS, codes
from lib.judges import Judge, load_judge, read, shifted
from lib.runs import shipped

BINARY = [name for name in FREQUENCIES if name not in CODES]


def table(**columns):
    """A table of bare, short-haired, serious faces with these columns in their place (underscores for hyphens)."""
    n = max((len(column) for column in columns.values()), default=1)
    given = {name.replace("_", "-"): np.array(column, np.float32) for name, column in columns.items()}
    return {name: np.zeros(n, np.float32) for name in FREQUENCIES} | given


def within(mean, p, n):
    """Four and a half standard errors: one false alarm in 150,000."""
    return abs(mean - p) <= 4.5 * np.sqrt(p * (1 - p) / n)


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_a_draw_repeats_and_a_larger_one_begins_with_it():
    small, again, large = draw(12, 3, processes=1), draw(12, 3, processes=1), draw(30, 3, processes=1)
    assert small.images.shape == (12, 3, 64, 64)
    assert small.images.dtype == np.uint8
    assert np.array_equal(small.images, again.images)
    assert np.array_equal(small.images, large.images[:12])
    assert same(small.table, {name: column[:12] for name, column in large.table.items()})
    assert np.array_equal(small.train, large.train[:12])
    assert large.train.sum() == 25
    assert not np.array_equal(small.images, draw(12, 4, processes=1).images)


def test_two_processes_draw_what_one_draws(monkeypatch):
    monkeypatch.setattr(avatars, "CHUNK", 7)
    faces = labels(20, 0)
    assert np.array_equal(render(faces, 0, processes=2), render(faces, 0, processes=1))


def test_the_worker_does_not_load_torch():
    code = "import lib.cartoons, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_frequencies_are_those_of_the_table():
    n = 20_000
    drawn = labels(n, 0)
    assert drawn.keys() == FREQUENCIES.keys()
    for name, asked in FREQUENCIES.items():
        assert drawn[name].dtype == np.float32
        for code, p in enumerate(asked if name in CODES else [1 - asked, asked]):
            assert within((drawn[name] == code).mean(), p, n), (name, code)
    for a, b in avatars.EXCLUSIVE:
        assert not (drawn[a] * drawn[b]).any()


def test_what_is_not_asked_for_stays_independent():
    n = 20_000
    drawn = labels(n, 1)
    for a, b in (("hat", "beard"), ("glasses", "smile"), ("bangs", "glasses")):
        assert within((drawn[a] * drawn[b]).mean(), FREQUENCIES[a] * FREQUENCIES[b], n)
    bare = drawn["hat"] == 0  # without a hat, bangs and long hair know nothing of each other
    assert within((drawn["bangs"] * drawn["long-hair"])[bare].mean(), 0.1 * 0.3 / 0.9**2, bare.sum())


def test_other_frequencies_down_to_none_and_up_to_all():
    asked = {"hat": 0, "glasses": 0.5, "sunglasses": 0.5, "smile": 1, "hair-colour": (0, 0, 1, 0, 0, 0)}
    drawn = labels(5000, 0, asked)
    assert not drawn["hat"].any()
    assert (drawn["glasses"] + drawn["sunglasses"] == 1).all()
    assert (drawn["smile"] == 1).all()
    assert (drawn["hair-colour"] == 2).all()
    assert within(drawn["glasses"].mean(), 0.5, 5000)


def test_conditional_frequencies_leave_the_others_as_they_are():
    n = 20_000
    tones = (0.6, 0.1, 0.1, 0.1, 0.1)
    given = {"hat": {"beard": 0.5, "skin-tone": tones}, "beard": {"smile": 0.9}}
    drawn = labels(n, 0, given=given)
    hat, beard = drawn["hat"] == 1, drawn["beard"] == 1
    assert within(drawn["beard"][hat].mean(), 0.5, hat.sum())
    assert within(drawn["smile"][beard].mean(), 0.9, beard.sum())
    for code, p in enumerate(tones):
        assert within((drawn["skin-tone"][hat] == code).mean(), p, hat.sum())
    for name in BINARY:
        assert within(drawn[name].mean(), FREQUENCIES[name], n), name


def test_a_condition_may_decide_all():
    drawn = labels(5000, 0, given={"hat": {"beard": 1}})  # both a tenth, so that none is left without a hat
    assert np.array_equal(drawn["hat"], drawn["beard"])


def test_the_fit_is_exact_in_a_two_by_two_table():
    blocks = [(np.array([0, 0, 1, 1]), np.array([0.7, 0.3])), (np.array([0, 1, 0, 1]), np.array([0.6, 0.4]))]
    assert avatars.fit(4, blocks) == pytest.approx([0.42, 0.28, 0.18, 0.12])


@pytest.mark.parametrize(
    ("frequencies", "given", "message"),
    [
        ({"mullet": 0.1}, None, "attribute 'mullet' is unknown: choose among bangs"),
        ({"hat": 1.2}, None, "frequencies of hat must lie in 0..1"),
        ({"hat": float("nan")}, None, "frequencies of hat must lie in 0..1"),
        ({"hat": (0.1, 0.2)}, None, "hat needs 1 frequencies, not 2"),
        ({"skin-tone": 0.5}, None, "skin-tone needs 5 frequencies, not 1"),
        ({"skin-tone": (0.5, 0.5, 0.5, 0, 0)}, None, "skin-tone must add up to 1, not 1.5"),
        ({"glasses": 0.6, "sunglasses": 0.6}, None, "glasses and sunglasses exclude each other"),
        ({"hat": 0.6, "bangs": 0.6}, None, "hat and bangs exclude each other"),
        (None, {"hat": {"bangs": 0.3}}, "bangs given hat can only be 0"),
        (None, {"bangs": {"hat": 0.3}}, "hat given bangs can only be 0"),
        (None, {"hat": {"mullet": 0.3}}, "attribute 'mullet' is unknown"),
        (None, {"mullet": {"hat": 0.3}}, r"given\['mullet'\] cannot set hat"),
        (None, {"skin-tone": {"hat": 0.3}}, "the condition must be another 0/1 attribute"),
        (None, {"hat": {"hat": 0.3}}, "the condition must be another 0/1 attribute"),
        ({"hat": 0.5}, {"hat": {"beard": 0.9}}, "beard given hat cannot be 0.9"),
        ({"hat": 0.5}, {"hat": {"glasses": 0.2, "sunglasses": 0.2, "smile": 0.9}}, "smile given hat cannot be 0.9"),
        ({"glasses": 0.4, "sunglasses": 0.4}, {"hat": {"glasses": 0.7, "sunglasses": 0.7}}, "cannot hold together"),
    ],
)
def test_what_no_population_can_have_is_refused(frequencies, given, message):
    with pytest.raises(ValueError, match=message):
        labels(10, 0, frequencies, given)


def test_a_table_that_cannot_be_drawn_is_refused():
    check_table(table(hat=[0, 1]))
    with pytest.raises(ValueError, match="row 1 has hat and bangs, which exclude each other"):
        check_table(table(hat=[0, 1], bangs=[0, 1]))
    with pytest.raises(ValueError, match="column 'skin-tone' must hold whole numbers from 0 to 4"):
        check_table(table(skin_tone=[5]))
    with pytest.raises(ValueError, match="the table has no column 'hat'"):
        check_table({name: column for name, column in table().items() if name != "hat"})
    with pytest.raises(ValueError, match="their lengths differ"):
        check_table({**table(hat=[0, 1]), "beard": np.zeros(3)})
    with pytest.raises(ValueError, match="must not be negative"):
        labels(-1, 0)


def test_the_renderer_draws_the_variants_that_the_labels_demand():
    drawn = labels(60, 2, {"glasses": 0.3, "sunglasses": 0.3, "beard": 0.3, "moustache": 0.3, "hat": 0.2})
    for i in range(60):
        row = {name: column[i] for name, column in drawn.items()}
        made = Avatar(cartoons.style(), cartoons.options(row, np.random.default_rng(i))).to_json()["options"]
        assert made["topVariant"] in cartoons.TOPS[row["hat"], row["bangs"], row["long-hair"]]
        assert made["mouthVariant"] in cartoons.MOUTHS[(row["smile"],)]
        for part, kinds, names in (
            ("accessories", cartoons.ACCESSORIES, ("glasses", "sunglasses")),
            ("facialHair", cartoons.FACIAL_HAIR, ("beard", "moustache")),
        ):
            allowed = kinds[tuple(row[name] for name in names)]
            assert made.get(f"{part}Variant") in (allowed or (None,))
        assert made["skinColor"] == ["#" + list(cartoons.SKIN_TONES.values())[int(row["skin-tone"])]]
        colour = ["#" + list(cartoons.HAIR_COLOURS.values())[int(row["hair-colour"])]]
        assert all(made[key] == colour for key in ("hairColor", "facialHairColor") if key in made)


def test_every_variant_named_here_exists():
    parts = {name: set(part.variants()) for name, part in cartoons.style().components().items()}
    for part, kinds in (
        ("top", cartoons.TOPS),
        ("accessories", cartoons.ACCESSORIES),
        ("facialHair", cartoons.FACIAL_HAIR),
        ("mouth", cartoons.MOUTHS),
        ("eyes", {"": cartoons.EYES}),
        ("eyebrows", {"": cartoons.BROWS}),
        ("clothes", {"": cartoons.CLOTHES}),
    ):
        assert {variant for variants in kinds.values() for variant in variants} <= parts[part]


def changed(attribute):
    """How much each pixel of 16 faces changes with a 0/1 attribute, all else equal: (16, 64, 64)."""
    on, off = (render({**table(hat=np.zeros(16)), attribute: np.full(16, value)}, 0, 1).astype(int) for value in (1, 0))
    return np.abs(on - off).max(1)


@pytest.mark.parametrize(
    ("attribute", "rows"),
    [
        ("glasses", slice(18, 34)),
        ("sunglasses", slice(18, 34)),
        ("beard", slice(20, 55)),
        ("moustache", slice(29, 40)),
        ("smile", slice(32, 43)),
    ],
)
def test_an_attribute_changes_its_part_of_the_picture_and_no_other(attribute, rows):
    change = changed(attribute)
    assert (change.max((1, 2)) > 50).all()  # every face shows it
    change[:, rows] = 0
    assert change.max() == 0


def test_a_hat_changes_every_head_and_no_mouth():
    change = changed("hat")
    assert (change[:, :20].max((1, 2)) > 50).all()
    assert change[:, 36:42, 28:36].max() == 0


def test_pictures_are_opaque_and_fill_the_range():
    images = draw(20, 0, processes=1).images
    assert images.min() < 40
    assert images.max() > 215
    assert (images[:, :, 0, 0].min(1) > 100).all()  # a light background reaches the corner
    assert images.std((0, 2, 3)).min() > 30


def test_features_are_columns_and_survive_a_file(tmp_path):
    dataset = draw(8, 0, processes=1)
    save(tmp_path / "avatars.npz", dataset)
    loaded = load(tmp_path / "avatars.npz")
    assert same(loaded.table, dataset.table)
    for name in ("bangs", "beard", "glasses"):
        score = features.named("avatars", name).score(to_float(loaded.images), loaded.table)
        assert np.array_equal(score, dataset.table[name])


def test_colour_images_are_shifted_with_their_own_edge():
    blue = torch.full((2, 3, 8, 8), 0.5)
    digits = torch.full((2, 1, 8, 8), 0.5)
    offsets = [np.random.default_rng(seed) for seed in range(6)]
    assert all((shifted(blue, rng) == 0.5).all() for rng in offsets)
    moved = torch.stack([shifted(digits, np.random.default_rng(seed)) for seed in range(6)])
    assert set(moved.unique().tolist()) == {-1.0, 0.5}


def test_a_judge_reads_colour_images_of_its_size():
    judge, images = Judge(3, width=4, channels=3, size=64).eval(), to_float(draw(4, 0, processes=1).images)
    assert read(judge, images).logits.shape == (4, 3)
    with pytest.raises(ValueError, match=r"must have shape \(N, 3, 64, 64\)"):
        read(judge, images[:, :1])


def test_nothing_to_draw_gives_an_empty_set():
    assert draw(0, 0).images.shape == (0, 3, 64, 64)


def test_the_shipped_judges_see_what_can_be_seen():
    faces = draw(400, 11)  # no run's seed
    images, truth = to_float(faces.images), faces.table
    files = {name: shipped("avatars", f"{name}.safetensors") for name in ("classifier", "judge-a", "judge-b")}
    judges = {name: load_judge(file, torch.device("cpu")) for name, file in files.items()}
    said = codes(read(judges["classifier"], images).logits, DOMAINS["avatars"])
    right = {name: said[name] == truth[name] for name in truth}
    assert right["hair-colour"][truth["hat"] == 0].mean() >= 0.97
    assert right["hair-colour"][truth["hat"] == 1].mean() < 0.6  # a hat hides the hair
    assert min(right[name].mean() for name in right if name != "hair-colour") >= 0.97
    for name in ("judge-a", "judge-b"):
        verdicts = read(judges[name], images).logits > 0
        shown = np.stack([feature.score(images, truth) for feature in features.FEATURES["avatars"].values()], 1) >= 0.5
        assert (verdicts == shown).mean(0).min() >= 0.97
