"""The mixture as a map: known quantiles, the right law, and a VAE seen from its encoder's whitened latents."""

import numpy as np
import pytest
import torch

from lib.latent import latents, prior
from lib.models import DecoderW, load_generator, save_generator
from lib.models.mixture import Mixture
from lib.train import encode, fit_mixture

CPU = torch.device("cpu")


def two(weights=(0.25, 0.75), means=((-10.0, 0.0), (10.0, 5.0)), scale=0.5):
    mixture = Mixture(2, 2)
    mixture.weights.copy_(torch.tensor(weights))
    mixture.means.copy_(torch.tensor(means))
    mixture.roots.mul_(scale)
    return mixture


def test_one_component_of_unit_covariance_is_the_identity():
    u = latents(200, 5, 0)
    torch.testing.assert_close(Mixture(5, 1)(u), u, atol=1e-4, rtol=1e-4)


def test_the_first_coordinate_chooses_by_its_quantile():
    normal = torch.distributions.Normal(0.0, 1.0)
    quantiles = torch.tensor([0.0625, 0.125, 0.2, 0.4, 0.625, 0.999])
    u = torch.stack([normal.icdf(quantiles), torch.zeros(6)], 1)
    made = two()(u)
    assert made[:, 1].tolist() == [0, 0, 0, 5, 5, 5]
    # 0.125 is the middle of [0, 0.25], 0.625 that of [0.25, 1]: the middle of a component is its mean.
    torch.testing.assert_close(made[[1, 4], 0], torch.tensor([-10.0, 10.0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(made[0, 0], -10 + 0.5 * normal.icdf(torch.tensor(0.25)), atol=1e-4, rtol=0)


def test_samples_follow_the_mixture():
    made = two()(latents(40_000, 2, 1))
    left = made[:, 0] < 0
    assert left.float().mean().item() == pytest.approx(0.25, abs=0.01)
    for side, mean in ((left, (-10, 0)), (~left, (10, 5))):
        torch.testing.assert_close(made[side].mean(0), torch.tensor(mean, dtype=torch.float), atol=0.03, rtol=0)
        torch.testing.assert_close(made[side].std(0), torch.tensor([0.5, 0.5]), atol=0.02, rtol=0)


def test_the_farthest_latents_stay_finite():
    assert two()(torch.tensor([[-12.0, 0.0], [12.0, 0.0]])).isfinite().all()


class Groups(torch.nn.Module):
    """An encoder that puts dark images at one place and bright ones, a tenth of all, at another."""

    def forward(self, images):
        bright = (images.flatten(1)[:, :1] > 0).float()
        return torch.cat([8 * bright - 1, 1 + 3 * bright, -bright], 1), torch.full((len(images), 3), -1.0)


def fitted():
    images = np.zeros((1000, 1, 1, 1), dtype=np.uint8)
    images[::10] = 255
    torch.manual_seed(0)
    decoder = DecoderW(3, 4, components=2).eval()
    curve = fit_mixture(decoder, Groups(), images, 0, CPU)
    return decoder, images, curve


def test_a_fitted_mixture_draws_a_rare_group_as_often_as_the_encoder():
    decoder, images, curve = fitted()
    assert curve.losses["mixture"][-1] <= curve.losses["mixture"][0]
    z = decoder.encoded(prior(decoder, 20_000, 0))
    rare = z[:, 0] > 3
    assert rare.float().mean().item() == pytest.approx(0.1, abs=0.01)
    torch.testing.assert_close(z[rare].mean(0), torch.tensor([7.0, 4.0, -1.0]), atol=0.15, rtol=0)
    assert encode(Groups(), images, CPU)[0].shape == (1000, 3)


def test_latents_seen_from_the_encoder_are_white():
    decoder, _, _ = fitted()
    w = prior(decoder, 40_000, 1)
    torch.testing.assert_close(w.mean(0), torch.zeros(3), atol=0.05, rtol=0)
    torch.testing.assert_close(w.T.cov(), torch.eye(3), atol=0.05, rtol=0)


def test_a_decoder_seen_from_its_encoder_comes_back_from_disk(tmp_path):
    decoder, _, _ = fitted()
    save_generator(tmp_path / "generator.safetensors", decoder)
    again = load_generator(tmp_path / "generator.safetensors", "vae-w", CPU)
    z = latents(4, 3, 2)
    torch.testing.assert_close(prior(again, 4, 2), decoder.enter(z))
    torch.testing.assert_close(again(z), decoder(z))
    assert (prior(again, 4, 2) - z).abs().max() > 0.1
