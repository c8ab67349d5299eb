"""Attacks stay inside their budget and find what can be found."""

from types import SimpleNamespace

import pytest
import torch

from lib import attacks
from lib.attacks import amplify, latent_search, start_latents, typical, typical_radii, within
from lib.latent import latents
from lib.models import Decoder, DecoderW, Encoder, sample


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


def test_asking_again_finds_a_rare_feature_sooner_or_later():
    assert attacks.sampling_success(0.1, 2) == pytest.approx(0.19)
    assert attacks.sampling_success(0.0, 10_000) == 0


def test_inversion_finds_the_latent_of_an_image(generator):
    truth = latents(4, 8, 1)
    start = latents(4, 8, 2)
    images = sample(generator, truth)
    found = attacks.invert(generator, images, start, 150)
    before, after = ((sample(generator, z) - images).square().mean() for z in (start, found))
    assert after < 0.3 * before
    low, high = attacks.typical_radii(8)
    assert ((found.norm(dim=1) >= low - 1e-3) & (found.norm(dim=1) <= high + 1e-3)).all()


def test_one_offset_serves_all_latents_and_stays_in_its_ball(generator, z):
    wanted = torch.zeros(8)
    wanted[2] = 1.5
    images = sample(generator, z + wanted)
    offset = attacks.universal_offset(generator, images, z, 2.0, 60)
    assert offset.norm() <= 2.0 + 1e-4
    goal = images.mean(0)
    before, after = ((sample(generator, z + u).mean(0) - goal).square().mean() for u in (0 * offset, offset))
    assert after < 0.5 * before


def test_a_probe_reads_what_a_layer_tells(generator):
    z = latents(600, 8, 3)
    outputs = attacks.layer_outputs(generator, z)
    assert all(len(o) == 600 for o in outputs.values())
    first = next(iter(outputs.values()))
    shown = first[:, 0] > first[:, 0].median()
    assert attacks.probe(first, shown) > 0.9
    chance = torch.rand(600, generator=torch.Generator().manual_seed(0)) > 0.5
    assert abs(attacks.probe(first, chance) - 0.5) < 0.15


def test_start_latents_that_show_the_feature_are_the_first_that_do():
    start = start_latents(plain(16), 700, 0)
    identity = Line()
    identity.latent_dim = 16
    found = attacks.starts_showing(identity, 4, 0, lambda images: (images[:, 0] > 0.5).numpy())
    assert torch.equal(found, start[start[:, 0] > 0.5][:4])
    with pytest.raises(ValueError, match="none of 700 start latents"):
        attacks.starts_showing(identity, 4, 0, lambda images: (images[:, 0] > 9).numpy())


def test_the_surrogate_points_where_the_scores_rise():
    z = latents(2000, 16, 0)
    found = attacks.surrogate_vector(z, z[:, 3])
    assert found.argmax() == 3
    assert found[3] > 10 * found[torch.arange(16) != 3].abs().mean()
    assert attacks.surrogate_vector(z, z[:, 3], leading=4)[4:].eq(0).all()
    two = torch.tensor([[0.0, 1.0], [2.0, 1.0], [0.0, 3.0]])
    assert attacks.surrogate_vector(two, torch.tensor([1.0, 9.0, 2.0])).tolist() == [2, -1]  # the best against two others


def test_the_nearest_sample_of_an_image_is_itself():
    images, z = latents(6, 12, 0).reshape(6, 3, 2, 2), latents(6, 4, 1)
    assert torch.equal(attacks.nearest(images[[4, 1]] + 0.01, images, z), z[[4, 1]])


@pytest.mark.parametrize(
    "decoder", [Decoder(8, 4), Decoder(8, 4, couplings=2), DecoderW(8, 4)], ids=["plain", "flow", "whitened"]
)
def test_latents_standing_for_the_encoders_are_what_the_decoder_turns_into_them(decoder):
    if isinstance(decoder, DecoderW):
        decoder.centre.fill_(0.5)
        decoder.colour.copy_(torch.tril(latents(8, 8, 1)) + 3 * torch.eye(8))
    code = latents(5, 8, 0)
    with torch.no_grad():
        assert torch.allclose(decoder.encoded(decoder.standing_for(code)), code, atol=1e-4)
    found = attacks.encoder_latents(Encoder(8, 4), decoder, torch.zeros(5, 1, 32, 32), 0)
    low, high = typical_radii(8)
    assert ((found.norm(dim=1) >= low - 1e-3) & (found.norm(dim=1) <= high + 1e-3)).all()


def test_a_probe_needs_both_classes_and_two_of_each_will_do():
    outputs = torch.linspace(0, 1, 20)[:, None]
    assert attacks.probe(outputs, outputs[:, 0] > 0.93) == 1
    with pytest.raises(ValueError, match="no labelled sample"):
        attacks.probe(outputs, outputs[:, 0] > 2)
