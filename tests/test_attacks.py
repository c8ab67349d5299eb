"""Attacks stay inside their budget and find what can be found."""

from types import SimpleNamespace

import pytest
import torch

from lib.attacks import amplify, latent_search, start_latents, typical, typical_radii, within
from lib.latent import latents


def plain(dim):
    """A generator of latents from N(0, I), as far as its prior goes."""
    return SimpleNamespace(latent_dim=dim)


class Line(torch.nn.Module):
    """A generator whose image is its latent."""

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, z):
        return z + 0 * self.unused


def first(images):
    """A judge that likes the first coordinate."""
    return images[:, 0]


def test_start_latents_are_typical_and_as_many_as_asked():
    z = start_latents(plain(16), 500, 0)
    low, high = typical_radii(16)
    assert len(z) == 500
    assert ((z.norm(dim=1) >= low) & (z.norm(dim=1) <= high)).all()


def test_typical_pulls_only_what_is_outside():
    _, high = typical_radii(16)
    z = latents(10, 16, 0)
    norms = typical(10 * z).norm(dim=1)
    assert torch.allclose(norms, torch.full_like(norms, high), atol=1e-4)
    inside = start_latents(plain(16), 10, 1)
    assert torch.allclose(typical(inside), inside)


@pytest.mark.parametrize("radius", [0.25, 1.0, 4.0])
def test_found_latents_lie_in_the_ball_and_are_typical(radius):
    start = start_latents(plain(16), 64, 0)
    found = latent_search(Line(), first, start, radius, iterations=10, restarts=2, seed=0)
    low, high = typical_radii(16)
    assert ((found - start).norm(dim=1) <= radius * 1.01).all()
    assert ((found.norm(dim=1) >= low - 1e-3) & (found.norm(dim=1) <= high + 1e-3)).all()


def test_search_climbs_a_linear_judge_by_about_the_radius():
    start = start_latents(plain(64), 64, 0)
    found = latent_search(Line(), first, start, 1.0, iterations=20, restarts=1, seed=0)
    gain = found[:, 0] - start[:, 0]
    assert (gain > -1e-6).all()
    assert gain.mean() > 0.9


def test_more_restarts_never_score_lower():
    start = start_latents(plain(16), 32, 0)
    few = latent_search(Line(), first, start, 1.0, 3, 1, 0)
    many = latent_search(Line(), first, start, 1.0, 3, 3, 0)
    assert (many[:, 0] >= few[:, 0] - 1e-6).all()


def test_within_returns_to_the_start_what_cannot_be_both():
    start = start_latents(plain(4), 8, 0)
    back = within(start + 100, start, 0.5)
    assert ((back - start).norm(dim=1) <= 0.51).all()


def test_amplification_moves_along_the_vector_whatever_its_norm():
    z, vector = 0.1 * latents(5, 64, 0) + 1, torch.eye(64)[0]
    assert torch.allclose(amplify(z, vector, 2.0), amplify(z, 9 * vector, 2.0))
    assert (amplify(z, vector, 2.0)[:, 0] > z[:, 0]).all()
