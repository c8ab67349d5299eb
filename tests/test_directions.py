"""Directions: on latents whose feature is linear all find it, and each does what sets it apart."""

import pytest
import torch
from torch import nn

from lib import directions
from lib.latent import angle_cosine, latents

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


class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, z):
        return self.weight * z


def test_the_gradient_direction_of_a_linear_judge_is_its_weight():
    found = directions.gradient(latents(100, 8, 2), Flat(), lambda images: 3 * images @ TRUTH)
    torch.testing.assert_close(found, TRUTH, atol=1e-5, rtol=0)
