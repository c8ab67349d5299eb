"""The paper's terms: zero where they must be, and worked by hand on tiny images."""

import pytest
import torch

from lib import losses


@pytest.fixture
def images():
    return torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_unlearn_and_recon_by_hand():
    g, f = torch.zeros(2, 1, 2, 2), torch.tensor([0.5, 0.25]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
    sim = torch.tensor([1.0, 0.0])
    assert losses.loss_unlearn(g, f, sim).item() == pytest.approx(0.25)  # 0.5 of one of two images
    assert losses.loss_recon(g, f, sim).item() == pytest.approx(0.125)  # 0.25 of the other


def test_terms_vanish_where_sim_says_so(images):
    other = images.flip(0)
    ones, zeros = torch.ones(4), torch.zeros(4)
    assert losses.loss_unlearn(images, other, zeros) == 0
    assert losses.loss_percep(images, other, zeros) == 0
    assert losses.loss_recon(images, other, ones) == 0


def test_everything_vanishes_when_student_and_teacher_agree(images):
    terms = losses.loss_total(images, images, torch.tensor([1.0, 0, 1, 0]), alpha=2.0)
    assert all(abs(float(term)) < 1e-6 for term in terms.values())


def test_total_is_alpha_times_removal_plus_reconstruction(images):
    terms = losses.loss_total(images, images.flip(0), torch.tensor([1.0, 0, 1, 0]), alpha=3.0)
    expected = 3 * (terms["unlearn"] + terms["percep"]) + terms["recon"]
    assert torch.isclose(terms["total"], expected)


def test_percep_has_a_gradient_only_where_sim_is_one(images):
    g = images.clone().requires_grad_(True)
    losses.loss_percep(g, 0.5 * images, torch.tensor([1.0, 0, 0, 0])).backward()
    assert g.grad[0].abs().sum() > 0
    assert g.grad[1:].abs().sum() == 0


def test_kl_of_the_prior_is_zero_and_of_a_shift_is_half_its_square():
    assert losses.loss_kl(torch.zeros(3, 2), torch.zeros(3, 2)) == 0
    assert losses.loss_kl(torch.full((3, 2), 2.0), torch.zeros(3, 2)).item() == pytest.approx(4)


def test_information_is_one_when_nothing_is_read_and_zero_when_all_is():
    z = torch.randn(1000, 8, generator=torch.Generator().manual_seed(0))
    assert losses.loss_information(z, torch.zeros(1000, 8)).item() == pytest.approx(1, abs=0.05)
    assert losses.loss_information(z, z) == 0


def test_gan_losses_at_an_undecided_discriminator():
    zero = torch.zeros(5)
    assert losses.loss_discriminator(zero, zero).item() == pytest.approx(2 * 0.693147, abs=1e-5)
    assert losses.loss_generator(zero).item() == pytest.approx(0.693147, abs=1e-5)


def test_likelihood_counts_nats_per_image():
    black = -torch.ones(2, 1, 4, 4)
    assert losses.loss_likelihood(torch.zeros(2, 1, 4, 4), black).item() == pytest.approx(16 * 0.693147, abs=1e-4)
