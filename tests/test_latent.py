"""Projection, threshold and edit: known answers."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lib import latent
from lib.latent import Direction, Edit, latents, projection, target_vector
from lib.methods import conditional, exact, literal
from lib.models import sample, sample_moved


def plain(dim):
    """A generator of latents from N(0, I), as far as its prior goes."""
    return SimpleNamespace(latent_dim=dim)


def test_latents_are_prefix_stable_and_leave_global_randomness_alone():
    state = torch.get_rng_state()
    assert torch.equal(latents(100, 7, 3)[:10], latents(10, 7, 3))
    assert torch.equal(torch.get_rng_state(), state)


def test_streams_of_one_seed_differ():
    assert not torch.equal(latents(4, 8, latent.stream(0, "label")), latents(4, 8, latent.stream(0, "evaluate")))


def test_projection_is_the_length_along_the_vector_whatever_its_norm():
    z = torch.tensor([[3.0, 4.0]])
    assert projection(z, torch.tensor([2.0, 0.0])).item() == pytest.approx(3)
    assert projection(z, torch.tensor([30.0, 40.0])).item() == pytest.approx(5)


def test_target_vector_is_the_difference_of_means_and_flips_with_the_labels():
    z = torch.tensor([[1.0, 0.0], [3.0, 2.0], [0.0, 0.0], [0.0, 2.0]])
    labels = torch.tensor([True, True, False, False])
    assert torch.equal(target_vector(z, labels), torch.tensor([2.0, 0.0]))
    assert torch.equal(target_vector(z, ~labels), torch.tensor([-2.0, 0.0]))


def test_target_vector_among_leading_coordinates_is_zero_in_the_others():
    z = torch.tensor([[1.0, 0.0, 5.0], [3.0, 2.0, 7.0], [0.0, 1.0, 1.0]])
    has = torch.tensor([True, True, False])
    assert target_vector(z, has, 2).tolist() == [2.0, 0.0, 0.0]
    assert target_vector(z, has, 3).tolist() == target_vector(z, has).tolist() == [2.0, 0.0, 5.0]


@pytest.mark.parametrize(("value", "sentence"), [(False, "no labelled sample"), (True, "every labelled sample")])
def test_target_vector_needs_both_groups(z, value, sentence):
    with pytest.raises(ValueError, match=sentence):
        target_vector(z, torch.full((64,), value))


def test_exact_edit_lands_on_the_threshold_and_leaves_the_rest_alone(z):
    edit = Edit(torch.tensor([1.0] + [0.0] * 7), 0.3)
    edited = edit(z)
    beyond = z[:, 0] >= 0.3
    assert torch.allclose(edited[beyond, 0], torch.tensor(0.3), atol=1e-6)
    assert torch.equal(edited[~beyond], z[~beyond])
    assert torch.equal(edited[:, 1:], z[:, 1:])
    assert torch.equal(edit.similar(z), beyond.float())


def test_exact_edit_lands_on_the_threshold_in_any_direction(z):
    vector = latents(1, 8, 5)[0]
    edited = Edit(vector / vector.norm(), -0.2)(z)
    assert torch.allclose(projection(edited, vector), projection(z, vector).clamp(max=-0.2), atol=1e-6)


def test_literal_edit_overshoots_by_the_norm():
    direction = Direction(
        torch.tensor([2.0, 0.0]), mean=0.0, calibrated=0.5, others=torch.empty(0, 2), labels=torch.tensor([True])
    )
    z = torch.tensor([[1.0, 7.0]])
    assert torch.equal(literal.edit(direction)(z), torch.tensor([[-1.0, 7.0]]))  # 1 - (1 - 0) * 2
    assert torch.equal(exact.edit(direction)(z), torch.tensor([[0.5, 7.0]]))


def test_calibrated_threshold_leaves_the_wanted_share_of_an_ideal_feature():
    z = latents(20_000, 4, 1)
    chance = 1 / (1 + torch.exp(-(4 * z[:, 0] - 5)))
    labels = torch.from_numpy(np.random.default_rng(2).random(20_000)) < chance
    vector = torch.tensor([1.0, 0, 0, 0])
    t = latent.calibrated_threshold(z, labels, vector, residual=0.01)
    left = 1 / (1 + torch.exp(-(4 * z[:, 0].clamp(max=t) - 5)))
    assert left.mean().item() == pytest.approx(0.01, abs=0.002)


def test_a_direction_that_does_not_carry_the_feature_has_no_threshold():
    z = latents(2000, 4, 1)
    labels = torch.from_numpy(np.random.default_rng(2).random(2000)) < 0.1
    with pytest.raises(ValueError, match=r"no threshold along this direction leaves as little as 0\.01"):
        latent.calibrated_threshold(z, labels, torch.tensor([1.0, 0, 0, 0]), residual=0.01)


def test_rejected_latents_are_drawn_again_and_the_others_stay():
    edit, z = Edit(torch.tensor([1.0, 0.0]), 0.0), latents(100, 2, 0)
    kept = latent.rejected(plain(2), z, 1, edit)
    assert (kept[:, 0] < 0).all()
    assert torch.equal(kept[z[:, 0] < 0], z[z[:, 0] < 0])
    assert torch.equal(latent.rejected(plain(2), z, 1, Edit(torch.tensor([1.0, 0.0]), 5.0)), z)
    with pytest.raises(ValueError, match="98 %"):
        latent.rejected(plain(2), z, 1, Edit(torch.tensor([1.0, 0.0]), -5.0))


def test_only_the_images_of_latents_that_moved_are_made_again():
    generator, made, before = torch.nn.Linear(2, 3).requires_grad_(False), [], latents(50, 2, 0)
    generator.register_forward_hook(lambda module, inputs, images: made.append(len(images)))
    z, images = Edit(torch.tensor([1.0, 0.0]), 0.0)(before), sample(generator, before)
    torch.testing.assert_close(sample_moved(generator, z, before, images), sample(generator, z))
    assert torch.equal(sample_moved(generator, before, before, images), images)
    assert made == [50, int((before[:, 0] > 0).sum()), 50]  # none for the latents that all stayed


def test_expected_cosine_by_hand():
    assert latent.expected_cosine(2.0, 4, 4, 4) == pytest.approx(2 / math.sqrt(6))


def test_leanings_are_slopes_of_standardised_attributes():
    z = latents(20_000, 4, 0)
    attributes = np.stack([3 * z[:, 0].numpy() + 5, (z[:, 1] > 1).numpy(), latents(20_000, 1, 1)[:, 0].numpy()], 1)
    slopes = latent.leanings(z, attributes)
    wanted = torch.tensor([[1.0, 0, 0, 0], [0, 0.2420 / (0.1587 * 0.8413) ** 0.5, 0, 0], [0, 0, 0, 0]])
    assert torch.allclose(slopes, wanted, atol=0.03)  # the second is Stein's: density at the cut over the deviation
    assert latent.leanings(z, attributes, 1)[:, 1:].abs().max() == 0


def test_the_conditional_edit_lands_on_the_threshold_and_holds_the_others(z):
    others = torch.zeros(2, 8)
    others[0, 0], others[1, 3] = 0.9, 0.5
    vector = torch.tensor([3.0, 0, 4.0, 0, 0, 0, 0, 0])
    direction = Direction(vector, 0.0, 0.2, others, torch.tensor([True]))
    edit, plain = conditional.edit(direction), exact.edit(direction)
    edited, beyond = edit(z), plain.similar(z) == 1
    assert torch.allclose(projection(edited, vector)[beyond], torch.tensor(0.2), atol=1e-5)
    assert torch.equal(edited[~beyond], z[~beyond])
    # The first leans on one coordinate alone, of which 1 / (1 + 0.9² / RIDGE) is left; the second leans on none of the way.
    across = torch.tensor([0.6 / (1 + 0.81 / conditional.RIDGE), 0, 0.8, 0, 0, 0, 0, 0])
    torch.testing.assert_close(conditional.held(vector / 5, others), across)
    torch.testing.assert_close(edit.move, across / (across @ vector / 5))


def test_what_leans_more_is_held_more_and_a_held_leaning_is_halved_at_the_ridge():
    vector = torch.tensor([0.6, 0.8])
    half, strong = (conditional.held(vector, torch.tensor([[a, 0.0]]))[0] / 0.6 for a in (conditional.RIDGE**0.5, 2.0))
    assert float(half) == pytest.approx(0.5)
    assert float(strong) == pytest.approx(1 / (1 + 4 / conditional.RIDGE))


def test_without_other_attributes_the_conditional_edit_is_the_exact_one(z):
    direction = Direction(latents(1, 8, 5)[0], 0.0, 0.2, torch.empty(0, 8), torch.tensor([True]))
    assert torch.allclose(conditional.edit(direction)(z), exact.edit(direction)(z), atol=1e-6)


def test_split_half_cosine_is_one_without_noise_and_small_for_noise():
    z = torch.cat([torch.eye(8)[:1].repeat(50, 1), -torch.eye(8)[:1].repeat(50, 1)])
    assert latent.split_half_cosine(z, z[:, 0] > 0, 0) == pytest.approx(1)
    noise = latents(400, 64, 0)
    assert abs(latent.split_half_cosine(noise, latents(400, 1, 1)[:, 0] > 0, 0)) < 0.5


def test_direction_survives_a_file(tmp_path):
    direction = Direction(latents(1, 8, 0)[0], 0.125, -0.25, latents(3, 8, 1), torch.tensor([True, False]))
    direction.save(tmp_path / "direction.safetensors", feature="thick")
    loaded = Direction.load(tmp_path / "direction.safetensors")
    assert torch.equal(loaded.vector, direction.vector)
    assert (loaded.mean, loaded.calibrated) == (0.125, -0.25)
    assert torch.equal(loaded.others, direction.others)
    assert torch.equal(loaded.labels, direction.labels)
