"""Attacks on weights: known answers on a layer written by hand, and that the given generator stays as it is."""

import copy
import math

import pytest
import torch
from torch import nn

from lib import tampering
from lib.latent import latents
from lib.models import sample

CPU = torch.device("cpu")


def layer(values):
    linear = nn.Linear(len(values[0]), len(values))
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(values))
    return linear.requires_grad_(False)


def test_pruning_zeroes_the_smallest_share():
    pruned = tampering.pruned(layer([[1.0, -4.0], [0.5, 3.0]]), 0.5)
    assert pruned.weight.tolist() == [[0, -4], [0, 3]]
    assert tampering.pruned(layer([[1.0, -4.0]]), 0.0).weight.tolist() == [[1, -4]]


def test_rounding_has_as_many_levels_as_the_bits_allow():
    rounded = tampering.rounded(layer([[7.0, 0.4], [-2.6, 3.0]]), 4)
    assert rounded.weight.tolist() == [[7, 0], [-3, 3]]
    many = tampering.rounded(layer(latents(40, 40, 0).tolist()), 4)
    assert len(many.weight.unique()) <= 15


def test_rounding_to_eight_bits_is_finer_than_to_four():
    whole = layer(latents(40, 40, 0).tolist())
    apart = [(tampering.rounded(whole, bits).weight - whole.weight).abs().max() for bits in (4, 8)]
    assert apart[1] < apart[0] / 10


def test_weights_within_half_a_step_round_to_the_same_level():
    old, near, far = layer([[7.0, 1.0]]), layer([[7.0, 1.3]]), layer([[7.0, 1.8]])
    assert tampering.same_level(near, old, 4) == 1
    assert tampering.same_level(far, old, 4) == 0.5


def test_noise_is_a_share_of_the_layers_size():
    whole = layer((3 * latents(100, 100, 0)).tolist())
    noise = tampering.noisy(whole, 0.1, 0).weight - whole.weight
    assert noise.std().item() == pytest.approx(0.3, rel=0.05)
    assert not torch.equal(noise, tampering.noisy(whole, 0.1, 1).weight - whole.weight)


def test_interpolation_goes_from_one_to_the_other():
    ours, old = layer([[0.0, 2.0]]), layer([[4.0, 4.0]])
    halfway = [tampering.interpolated(ours, old, share).weight.tolist() for share in (0.0, 0.5, 1.0)]
    assert halfway == [[[0, 2]], [[2, 3]], [[4, 4]]]


@pytest.mark.parametrize(
    "attack",
    [lambda g: tampering.noisy(g, 0.1, 0), lambda g: tampering.pruned(g, 0.3), lambda g: tampering.rounded(g, 4)],
)
def test_the_given_generator_stays_and_its_copy_shows_something_else(attack, generator, z):
    before = copy.deepcopy(generator.state_dict())
    other = attack(generator)
    assert all(torch.equal(before[name], value) for name, value in generator.state_dict().items())
    assert not torch.equal(sample(other, z), sample(generator, z))


def test_relearning_brings_the_images_back_and_keeps_the_rest(generator, z):
    before = copy.deepcopy(generator.state_dict())
    goal = sample(generator, latents(4, 8, 9)).flip(2)
    start = latents(4, 8, 10)
    states = tampering.relearn(generator, goal, start, 40, 0, CPU, batch=16, rate=3e-3)
    first = (sample(next(states), start) - goal).abs().mean()
    *_, learner = states
    last = (sample(learner, start) - goal).abs().mean()
    assert last < 0.8 * first
    assert all(torch.equal(before[name], value) for name, value in generator.state_dict().items())


def test_steps_to_a_goal():
    assert tampering.steps_to([0.0, 0.02, 0.06, 0.05], [0, 10, 20, 30], 0.05) == 20
    assert tampering.steps_to([0.0, 0.01], [0, 10], 0.05) == float("inf")


def test_speed_is_one_for_who_learns_as_slowly_as_who_never_knew():
    assert tampering.relative_speed(20.0, 20.0) == 1
    assert tampering.relative_speed(20.0, 5.0) == 4
    assert tampering.relative_speed(5.0, float("inf")) == 0
    assert tampering.relative_speed(float("inf"), 5.0) == tampering.relative_speed(5.0, 0.0) == float("inf")
    assert math.isnan(tampering.relative_speed(float("inf"), float("inf")))
