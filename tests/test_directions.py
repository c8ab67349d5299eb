"""Directions: on latents whose feature is linear all find it, and each does what sets it apart."""

import pandas as pd
import pytest
import torch
from torch import nn

from lib import directions, report
from lib.latent import angle_cosine, latents, split_half_cosine

TRUTH = nn.functional.normalize(torch.tensor([1.0, 2.0, 0, 0, 0, -1.0, 0, 0]), dim=0)
LABELLED = [directions.mean_difference, directions.discriminant, directions.logistic, directions.support_vector]


@pytest.fixture(scope="module")
def sampled():
    z = latents(4000, 8, 0)
    return z, z @ TRUTH > 1.28


@pytest.mark.parametrize("find", LABELLED)
def test_a_linear_feature_is_found(find, sampled):
    found = find(*sampled)
    assert found.norm().item() == pytest.approx(1, abs=1e-5)
    assert angle_cosine(found, TRUTH) > 0.97


def test_the_discriminant_whitens_what_the_mean_difference_does_not(sampled):
    z, has = sampled
    stretch = torch.tensor([6.0, 1, 1, 1, 1, 1, 1, 1])
    stretched, across = z * stretch, nn.functional.normalize(TRUTH / stretch, dim=0)  # still a linear feature
    assert angle_cosine(directions.discriminant(stretched, has, 1e-6), across) > 0.95
    assert angle_cosine(directions.mean_difference(stretched, has), across) < 0.7


def test_the_joint_regression_leaves_out_what_another_attribute_explains():
    z = latents(4000, 8, 1)
    # Two attributes that go together: the label follows z0, the other z1, and the label looks at the other as well.
    other = (z[:, 1] > 0).float()
    has = z[:, 0] + 1.5 * other > 1.5
    marginal, partial = directions.mean_difference(z, has), directions.joint(z, has, other[:, None])
    assert marginal[1] > 0.5
    assert abs(partial[1]) < 0.15
    assert partial[0] > 0.95
    with pytest.raises(ValueError, match="too few"):
        directions.joint(z[:9], has[:9], other[:9, None])


def test_the_gradient_direction_of_a_linear_judge_is_its_weight():
    slopes = directions.slopes(latents(100, 8, 2), lambda z: 3 * z @ TRUTH, torch.device("cpu"), batch=30)
    torch.testing.assert_close(slopes, TRUTH.repeat(100, 1), atol=1e-6, rtol=0)
    torch.testing.assert_close(directions.gradient(slopes), TRUTH, atol=1e-6, rtol=0)


@pytest.fixture(scope="module")
def known(sampled):
    z, has = sampled
    return directions.Known(z, has, (z[:, 3:4] > 0).float(), TRUTH.repeat(10, 1))


def test_every_direction_finds_a_linear_feature_and_agrees_with_itself(known):
    found, stable = directions.every(known), directions.agreement(known, 0)
    assert list(found) == list(stable) == list(directions.DIRECTIONS)
    assert all(angle_cosine(vector, TRUTH) > 0.97 for vector in found.values())
    assert all(cosine > 0.95 for cosine in stable.values())
    halved = split_half_cosine(known.z, known.has_feature, 0)
    assert stable["mean difference"] == pytest.approx(halved, abs=1e-6)


def test_coordinates_beyond_the_leading_ones_stay_out(known):
    for name in directions.DIRECTIONS:
        found = directions.find(name, known._replace(leading=3))
        assert found.shape == (8,)
        assert found[3:].abs().max() == 0
        assert found.norm().item() == pytest.approx(1, abs=1e-5)


def test_the_joint_regression_stands_aside_where_labels_are_few(known):
    few = directions.Known(known.z[:12], known.z[:12, 0] > 0, known.others[:12], known.slopes)
    assert "joint" in directions.every(few)
    assert "joint" not in directions.agreement(few, 0)  # six labels a half, nine columns


def test_the_comparison_knows_the_numbers_of_a_perfect_direction(known):
    held = latents(4000, 8, 3)
    # The other attribute is the first coordinate, in its standard deviations: it moves by what the direction has of it.
    rows = directions.compare(known, held, held @ TRUTH > 1.28, torch.eye(8)[:1], 0)
    numbers = {name: {row["metric"]: row["value"] for row in part} for name, part in rows.items()}
    exact = numbers["gradient"]  # here the truth itself
    assert exact["AUC"] == pytest.approx(1)
    assert exact["least share left"] <= exact["share left (half edited)"] < 1e-3
    assert exact["others moved"] == pytest.approx(float(TRUTH[0]), abs=1e-5)
    assert numbers["mean difference"]["cosine with the mean difference"] == pytest.approx(1, abs=1e-6)
    assert exact["split-half cosine"] == pytest.approx(1, abs=1e-6)


def test_the_table_of_directions_has_a_line_for_each(known):
    about = {"dataset": "mnist", "model": "gan", "feature": "thick", "seed": "0"}
    rows = [{**about, "method": "direction", "metric": "AUC", "value": 0.5}]
    compared = directions.compare(known, known.z, known.has_feature, torch.eye(8)[:1], 0)
    rows += [{**about, "method": f"direction: {name}", **row} for name, part in compared.items() for row in part]
    table = report.direction_table(pd.DataFrame(rows))
    assert table.method.tolist() == ["direction", *(f"direction: {name}" for name in directions.DIRECTIONS)]
    assert "split-half cosine" in table
    assert table.AUC.notna().all()
    assert table["others moved"].notna().sum() == len(directions.DIRECTIONS)
