"""A DCGAN (Radford, Metz & Chintala, 2016) for 32x32 images."""

import torch
from torch import Tensor, nn


def up_block(n_in: int, n_out: int) -> list[nn.Module]:
    """Twice the side: transposed convolution, batch norm, ReLU."""
    return [nn.ConvTranspose2d(n_in, n_out, 4, 2, 1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()]


def small_start(module: nn.Module) -> None:
    """Draw convolution weights from N(0, 0.02), as DCGAN does; for ``Module.apply``."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)


class Generator(nn.Module):
    """Latents (N, latent_dim) -> images (N, channels, 32, 32) in [-1, 1]."""

    def __init__(self, latent_dim: int = 16, width: int = 32, channels: int = 1) -> None:
        super().__init__()
        self.sizes = {"latent_dim": latent_dim, "width": width, "channels": channels}
        self.latent_dim = latent_dim
        self.project = nn.Linear(latent_dim, 4 * width * 4 * 4, bias=False)
        self.body = nn.Sequential(
            nn.BatchNorm2d(4 * width),
            nn.ReLU(),
            *up_block(4 * width, 2 * width),  # 4x4 => 8x8
            *up_block(2 * width, width),  # 8x8 => 16x16
            nn.ConvTranspose2d(width, channels, 4, 2, 1),  # 16x16 => 32x32
            nn.Tanh(),
        )
        self.apply(small_start)

    def forward(self, z: Tensor) -> Tensor:
        x = self.project(z).unflatten(1, (-1, 4, 4))
        return self.body(x.contiguous(memory_format=torch.channels_last))


def down_block(n_in: int, n_out: int) -> list[nn.Module]:
    """Half the side: strided convolution, batch norm, leaky ReLU."""
    return [nn.Conv2d(n_in, n_out, 4, 2, 1, bias=False), nn.BatchNorm2d(n_out), nn.LeakyReLU(0.2)]


class Discriminator(nn.Module):
    """Images (N, channels, 32, 32) in [-1, 1] -> one logit each, (N,): high for real ones."""

    def __init__(self, width: int = 32, channels: int = 1) -> None:
        super().__init__()
        self.sizes = {"width": width, "channels": channels}
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 4, 2, 1),  # 32x32 => 16x16
            nn.LeakyReLU(0.2),
            *down_block(width, 2 * width),  # 16x16 => 8x8
            *down_block(2 * width, 4 * width),  # 8x8 => 4x4
            nn.Flatten(),
            nn.Linear(4 * width * 4 * 4, 1),
        )
        self.apply(small_start)

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images).squeeze(1)
