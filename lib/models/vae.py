"""A convolutional VAE (Kingma & Welling, 2014) for square images of 32, 64, ... pixels. Its decoder is the generator."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from lib.models.dcgan import down_block, up_block, widths
from lib.models.flow import Flow
from lib.models.mixture import Mixture


class Encoder(nn.Module):
    """Images (N, channels, size, size) in [-1, 1] -> mean and log-variance of q(z|x), each (N, latent_dim)."""

    def __init__(self, latent_dim: int = 16, width: int = 32, channels: int = 1, size: int = 32) -> None:
        super().__init__()
        self.sizes = {"latent_dim": latent_dim, "width": width, "channels": channels, "size": size}
        stages = widths(width, size)[::-1]
        self.body = nn.Sequential(
            *(layer for pair in pairwise([channels, *stages]) for layer in down_block(*pair)),  # size => 4x4
            nn.Flatten(),
            nn.Linear(stages[-1] * 4 * 4, 2 * latent_dim),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.body(images).float().chunk(2, 1)
        return mean, log_variance


class Decoder(nn.Module):
    """Latents (N, latent_dim) -> images (N, channels, size, size) in [-1, 1]; ``logits`` before the squashing.

    couplings: of a flow that turns N(0, I) into the latents that the encoder really uses; none if 0. ``logits`` takes the
    encoder's latents, ``forward`` those from N(0, I).
    """

    def __init__(
        self, latent_dim: int = 16, width: int = 32, channels: int = 1, size: int = 32, couplings: int = 0
    ) -> None:
        super().__init__()
        self.sizes = {"latent_dim": latent_dim, "width": width, "channels": channels, "size": size}
        self.sizes |= {"couplings": couplings} if couplings else {}
        self.latent_dim = latent_dim
        self.flow = Flow(latent_dim, couplings) if couplings else nn.Identity()
        first, *stages = widths(width, size)
        stages = [2 * first, *stages]  # twice as wide at 4x4
        self.project = nn.Linear(latent_dim, stages[0] * 4 * 4, bias=False)
        self.body = nn.Sequential(
            nn.BatchNorm2d(stages[0]),
            nn.ReLU(),
            *(layer for pair in pairwise(stages) for layer in up_block(*pair)),  # 4x4 => size/2
            nn.ConvTranspose2d(width, channels, 4, 2, 1),  # size/2 => size
        )

    def logits(self, z: Tensor) -> Tensor:
        """Bernoulli logit of each pixel's intensity in [0, 1]: what training sees."""
        x = self.project(z).unflatten(1, (-1, 4, 4))
        return self.body(x.contiguous(memory_format=torch.channels_last))

    def encoded(self, z: Tensor) -> Tensor:
        """The encoder's latents (N, latent_dim) that z stands for."""
        return self.flow(z)

    def standing_for(self, code: Tensor) -> Tensor:
        """The z (N, latent_dim) that stand for the encoder's latents: what ``encoded`` makes these of."""
        return self.flow.inverse(code)[0] if self.sizes.get("couplings") else code

    def forward(self, z: Tensor) -> Tensor:
        # The Bernoulli mean is 2 sigmoid(l) - 1 = tanh(l / 2), which is blurred; at temperature 1/2 it is tanh(l), sharp
        # enough for digits of black and white. Colours have to stay what they are.
        logits = self.logits(self.encoded(z))
        return (logits if self.sizes["channels"] == 1 else logits / 2).tanh()


class DecoderW(Decoder):
    """The same decoder seen from its encoder: latents w (N, latent_dim) are the encoder's own, whitened.

    What images show lies straighter there than in latents from N(0, I), which have to be bent into the encoder's. ``enter``
    maps the latter to w through a Gaussian mixture of ``components``; it and the whitening are fitted after training.
    """

    def __init__(
        self, latent_dim: int = 16, width: int = 32, channels: int = 1, size: int = 32, components: int = 60
    ) -> None:
        super().__init__(latent_dim, width, channels, size)
        self.sizes |= {"components": components}
        self.mixture = Mixture(latent_dim, components)
        self.register_buffer("centre", torch.zeros(latent_dim))
        self.register_buffer("colour", torch.eye(latent_dim))  # lower Cholesky factor of the covariance

    def enter(self, z: Tensor) -> Tensor:
        """Latents w (N, latent_dim) of z (N, latent_dim)."""
        return self.mixture(z)

    def encoded(self, z: Tensor) -> Tensor:
        return self.centre + z @ self.colour.T

    def standing_for(self, code: Tensor) -> Tensor:
        return torch.linalg.solve_triangular(self.colour, (code - self.centre).T, upper=False).T
