"""A convolutional VAE (Kingma & Welling, 2014) for 32x32 images. Its decoder is the generator."""

import torch
from torch import Tensor, nn

from lib.models.dcgan import down_block, up_block


class Encoder(nn.Module):
    """Images (N, channels, 32, 32) in [-1, 1] -> mean and log-variance of q(z|x), each (N, latent_dim)."""

    def __init__(self, latent_dim: int = 16, width: int = 32, channels: int = 1) -> None:
        super().__init__()
        self.sizes = {"latent_dim": latent_dim, "width": width, "channels": channels}
        self.body = nn.Sequential(
            *down_block(channels, width),  # 32x32 => 16x16
            *down_block(width, 2 * width),  # 16x16 => 8x8
            *down_block(2 * width, 4 * width),  # 8x8 => 4x4
            nn.Flatten(),
            nn.Linear(4 * width * 4 * 4, 2 * latent_dim),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.body(images).float().chunk(2, 1)
        return mean, log_variance


class Decoder(nn.Module):
    """Latents (N, latent_dim) -> images (N, channels, 32, 32) in [-1, 1]; ``logits`` before the squashing."""

    def __init__(self, latent_dim: int = 16, width: int = 32, channels: int = 1) -> None:
        super().__init__()
        self.sizes = {"latent_dim": latent_dim, "width": width, "channels": channels}
        self.latent_dim = latent_dim
        self.project = nn.Linear(latent_dim, 8 * width * 4 * 4, bias=False)
        self.body = nn.Sequential(
            nn.BatchNorm2d(8 * width),
            nn.ReLU(),
            *up_block(8 * width, 2 * width),  # 4x4 => 8x8
            *up_block(2 * width, width),  # 8x8 => 16x16
            nn.ConvTranspose2d(width, channels, 4, 2, 1),  # 16x16 => 32x32
        )

    def logits(self, z: Tensor) -> Tensor:
        """Bernoulli logit of each pixel's intensity in [0, 1]: what training sees."""
        x = self.project(z).unflatten(1, (-1, 4, 4))
        return self.body(x.contiguous(memory_format=torch.channels_last))

    def forward(self, z: Tensor) -> Tensor:
        # The Bernoulli mean is 2 sigmoid(l) - 1 = tanh(l / 2), which is blurred; at temperature 1/2 it is tanh(l).
        return self.logits(z).tanh()
