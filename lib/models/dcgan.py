"""A DCGAN (Radford, Metz & Chintala, 2016) for square images of 32, 64, ... pixels."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv_transpose2d


def widths(width: int, size: int) -> list[int]:
    """Channels at 4, 8, ..., size / 2 pixels: ``width`` at the largest, twice as many at each smaller size.

    Raises ValueError unless ``size`` is 8, 16, 32, ...
    """
    stages = size.bit_length() - 3
    if size != 4 << stages or stages < 1:
        raise ValueError(f"size must be a power of two of 8 or more, not {size}.")
    return [width << stage for stage in reversed(range(stages))]


def up_block(n_in: int, n_out: int) -> list[nn.Module]:
    """Twice the side: transposed convolution, batch norm, ReLU."""
    return [nn.ConvTranspose2d(n_in, n_out, 4, 2, 1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()]


def resize_block(n_in: int, n_out: int) -> list[nn.Module]:
    """Twice the side without a checkerboard: nearest pixels, convolution, batch norm, ReLU (Odena et al., 2016)."""
    convolution = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
    return [nn.Upsample(scale_factor=2), convolution, nn.BatchNorm2d(n_out), nn.ReLU()]


def enlarged(x: Tensor, convolution: nn.Conv2d) -> Tensor:
    """What a 3x3 convolution makes of x (N, C, H, W) with every pixel doubled, as one transposed convolution: the same
    numbers from less than half as many products (Karras et al., ICLR 2018, fused upscaling)."""
    kernel = 4 * avg_pool2d(convolution.weight.flip(2, 3).transpose(0, 1), 2, 1, padding=1)
    return conv_transpose2d(x, kernel.contiguous(memory_format=torch.channels_last), convolution.bias, 2, 1)


class Body(nn.Sequential):
    """Layers one after the other, a doubling of pixels together with the convolution that follows it."""

    def forward(self, x: Tensor) -> Tensor:
        layers = iter(self)
        for layer in layers:
            x = enlarged(x, next(layers)) if isinstance(layer, nn.Upsample) else layer(x)
        return x


def small_start(module: nn.Module) -> None:
    """Draw convolution weights from N(0, 0.02), as DCGAN does; for ``Module.apply``."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)


class Generator(nn.Module):
    """Latents (N, latent_dim) -> images (N, channels, size, size) in [-1, 1].

    resize: upsample by pixels and convolve, where DCGAN's transposed convolutions leave a checkerboard on flat colours.
    """

    def __init__(
        self, latent_dim: int = 64, width: int = 32, channels: int = 1, size: int = 32, resize: bool = False
    ) -> None:
        super().__init__()
        self.sizes = {"latent_dim": latent_dim, "width": width, "channels": channels, "size": size}
        self.sizes |= {"resize": True} if resize else {}
        self.latent_dim = latent_dim
        stages = widths(width, size)
        block, last = up_block, [nn.ConvTranspose2d(width, channels, 4, 2, 1)]
        if resize:
            block, last = resize_block, [nn.Upsample(scale_factor=2), nn.Conv2d(width, channels, 3, padding=1)]
        self.project = nn.Linear(latent_dim, stages[0] * 4 * 4, bias=False)
        self.body = Body(
            nn.BatchNorm2d(stages[0]),
            nn.ReLU(),
            *(layer for pair in pairwise(stages) for layer in block(*pair)),  # 4x4 => size/2
            *last,  # size/2 => size
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
    """Images (N, channels, size, size) in [-1, 1] -> one logit each, (N,): high for real ones."""

    def __init__(self, width: int = 24, channels: int = 1, size: int = 32) -> None:
        super().__init__()
        self.sizes = {"width": width, "channels": channels, "size": size}
        stages = widths(width, size)[::-1]
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 4, 2, 1),  # size => size/2
            nn.LeakyReLU(0.2),
            *(layer for pair in pairwise(stages) for layer in down_block(*pair)),  # size/2 => 4x4
            nn.Flatten(),
            nn.Linear(stages[-1] * 4 * 4, 1),
        )
        self.apply(small_start)

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images).squeeze(1)
