"""StyleGAN2 (Karras et al., 2020) in plain PyTorch: a mapping network and a synthesis network with skip connections.

Parameters carry the names of NVIDIA's PyTorch code (stylegan2-ada-pytorch, and networks_stylegan2 in stylegan3), so the
weights in its network pickles fit as they are; ``lib.models.stylegan2_files`` reads them. Images equal those of that code
with ``noise_mode="const"`` and ``force_fp32=True``: everything here is float32, whereas on a GPU that code runs its largest
blocks in float16 unless told otherwise. Noise is always the stored constant, so that two generators differ only where their
weights do.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu, linear, pad

from lib.latent import latents, stream, whiten

TAPS = (1.0, 3.0, 3.0, 1.0)  # the low-pass filter of every resampling step
MAPPING_RATE = 0.01  # learning rate multiplier of the mapping network, which also scales its weights


def low_pass() -> Tensor:
    """The two-dimensional filter (4, 4) that sums to one."""
    taps = torch.tensor(TAPS)
    return torch.outer(taps, taps) / taps.sum() ** 2


def upfirdn(x: Tensor, kernel: Tensor, up: int, before: int, after: int) -> Tensor:
    """Put ``up`` - 1 zeros after each pixel, pad both axes with zeros, and convolve each channel with ``kernel``.

    x: (N, C, H, W); kernel: (k, k); before, after: rows and columns of zeros on the two sides.
    Returns (N, C, H', W') with H' = up H + before + after - k + 1.
    """
    n, channels, height, width = x.shape
    if up > 1:
        x = pad(x[:, :, :, None, :, None], (0, up - 1, 0, 0, 0, up - 1)).reshape(n, channels, up * height, up * width)
    x = pad(x, (before, after, before, after))
    weight = kernel.flip(0, 1).expand(channels, 1, *kernel.shape)  # conv2d correlates
    return conv2d(x, weight, groups=channels)


def upsample(images: Tensor, kernel: Tensor) -> Tensor:
    """Twice the side, interpolated: (N, C, H, W) -> (N, C, 2H, 2W). A constant stays constant away from the border."""
    return upfirdn(images, 4 * kernel, 2, 2, 1)


def up_convolution(x: Tensor, weight: Tensor, kernel: Tensor) -> Tensor:
    """A transposed 3x3 convolution with stride two, then the low-pass filter: (N, I, H, W) -> (N, O, 2H, 2W)."""
    return upfirdn(conv_transpose2d(x, weight.transpose(0, 1), stride=2), 4 * kernel, 1, 1, 1)


def demodulation(weight: Tensor, styles: Tensor) -> Tensor:
    """(N, O): what brings each output channel of the weight (O, I, k, k), scaled by the styles (N, I), to unit norm."""
    return (styles.square() @ weight.square().sum((2, 3)).T + 1e-8).rsqrt()


def scaled(x: Tensor, factors: Tensor) -> Tensor:
    """Each channel of each image (N, C, H, W) times its factor (N, C)."""
    return x * factors[:, :, None, None]


def clamped(x: Tensor, limit: float | None) -> Tensor:
    return x if limit is None else x.clamp(-limit, limit)


def activated(x: Tensor, limit: float | None = None) -> Tensor:
    """Leaky ReLU with the gain that keeps the variance, then the clamp."""
    return clamped(leaky_relu(x, 0.2) * math.sqrt(2), limit)


class Dense(nn.Module):
    """A linear layer with equalised learning rate: (N, n_in) -> (N, n_out)."""

    def __init__(self, n_in: int, n_out: int, bias: float = 0.0, rate: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_out, n_in) / rate)
        self.bias = nn.Parameter(torch.full((n_out,), bias))
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight * (self.rate / math.sqrt(self.weight.shape[1])), self.bias * self.rate)


class Mapping(nn.Module):
    """Latents z (N, latent_dim) -> w (N, w_dim), drawn towards their average ``w_avg`` when ``psi`` is below one."""

    def __init__(self, latent_dim: int, w_dim: int, layers: int) -> None:
        super().__init__()
        self.layers = [f"fc{i}" for i in range(layers)]
        for name, (n_in, n_out) in zip(self.layers, pairwise([latent_dim] + [w_dim] * layers), strict=True):
            self.add_module(name, Dense(n_in, n_out, rate=MAPPING_RATE))
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor, psi: float = 1.0) -> Tensor:
        x = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        for name in self.layers:
            x = activated(self.get_submodule(name)(x))
        return self.w_avg.lerp(x.to(self.w_avg.dtype), psi)  # autocast may have made x shorter


class StyledConvolution(nn.Module):
    """x (N, n_in, H, W), w (N, w_dim) -> (N, n_out, size, size): modulated convolution, noise, bias, leaky ReLU."""

    def __init__(self, n_in: int, n_out: int, w_dim: int, size: int, clamp: float | None) -> None:
        super().__init__()
        self.clamp = clamp
        self.affine = Dense(w_dim, n_in, bias=1.0)
        self.weight = nn.Parameter(torch.randn(n_out, n_in, 3, 3))
        self.register_buffer("noise_const", torch.randn(size, size))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x: Tensor, w: Tensor, kernel: Tensor | None = None) -> Tensor:
        """With a low-pass ``kernel`` the side doubles."""
        styles = self.affine(w)
        x = scaled(x, styles)
        x = conv2d(x, self.weight, padding=1) if kernel is None else up_convolution(x, self.weight, kernel)
        x = scaled(x, demodulation(self.weight, styles)) + self.noise_const * self.noise_strength
        return activated(x + self.bias[:, None, None], self.clamp)


class ToRGB(nn.Module):
    """x (N, n_in, H, W), w (N, w_dim) -> a part of the image (N, channels, H, W)."""

    def __init__(self, n_in: int, channels: int, w_dim: int, clamp: float | None) -> None:
        super().__init__()
        self.clamp = clamp
        self.affine = Dense(w_dim, n_in, bias=1.0)
        self.weight = nn.Parameter(torch.randn(channels, n_in, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        styles = self.affine(w) / math.sqrt(self.weight.shape[1])
        return clamped(conv2d(scaled(x, styles), self.weight) + self.bias[:, None, None], self.clamp)


class Block(nn.Module):
    """One resolution: features and image of half the side -> of this side. The first block starts from a constant."""

    def __init__(self, n_in: int | None, n_out: int, channels: int, w_dim: int, size: int, clamp: float | None) -> None:
        super().__init__()
        if n_in is None:
            self.const = nn.Parameter(torch.randn(n_out, size, size))
            self.conv0 = None
        else:
            self.conv0 = StyledConvolution(n_in, n_out, w_dim, size, clamp)
        self.conv1 = StyledConvolution(n_out, n_out, w_dim, size, clamp)
        self.torgb = ToRGB(n_out, channels, w_dim, clamp)
        self.register_buffer("kernel", low_pass(), persistent=False)
        self.convolutions = 1 if n_in is None else 2

    def forward(self, x: Tensor | None, image: Tensor | None, ws: Tensor) -> tuple[Tensor, Tensor]:
        """ws: (N, convolutions + 1, w_dim), one w a layer."""
        *_, w_conv, w_rgb = ws.unbind(1)
        x = self.const.expand(len(ws), -1, -1, -1) if self.conv0 is None else self.conv0(x, ws[:, 0], self.kernel)
        x = self.conv1(x, w_conv)
        part = self.torgb(x, w_rgb)
        return x, part if image is None else upsample(image, self.kernel) + part


class Synthesis(nn.Module):
    """w (N, w_dim), or one for each layer (N, num_ws, w_dim) -> images (N, channels, size, size)."""

    def __init__(self, widths: dict[int, int], channels: int, w_dim: int, clamp: float | None) -> None:
        super().__init__()
        self.w_dim = w_dim
        self.num_ws = 2 * len(widths)
        self.blocks = [f"b{size}" for size in widths]
        for (size, n_out), n_in in zip(widths.items(), [None, *widths.values()], strict=False):
            self.add_module(f"b{size}", Block(n_in, n_out, channels, w_dim, size, clamp))

    def forward(self, w: Tensor) -> Tensor:
        ws = w[:, None].expand(-1, self.num_ws, -1) if w.ndim == 2 else w
        if ws.shape[1:] != (self.num_ws, self.w_dim):
            shapes = f"(N, {self.w_dim}) or (N, {self.num_ws}, {self.w_dim})"
            raise ValueError(f"w must have shape {shapes}, not {tuple(w.shape)}.")
        x = image = None
        first = 0
        for name in self.blocks:
            block = self.get_submodule(name)
            # The w of a block's image layer is also the w of the next block's first convolution.
            x, image = block(x, image, ws[:, first : first + block.convolutions + 1])
            first += block.convolutions
        return image


def widths(size: int, channel_base: int, channel_max: int) -> dict[int, int]:
    """Feature channels at 4, 8, ..., ``size`` pixels. Raises ValueError unless ``size`` is 4, 8, 16, ..."""
    if size < 4 or size & (size - 1):
        raise ValueError(f"size must be a power of two of 4 or more, not {size}.")
    sides = [4 << i for i in range(size.bit_length() - 2)]
    return {side: min(channel_base // side, channel_max) for side in sides}


class StyleGAN2(nn.Module):
    """Latents z (N, latent_dim) -> images (N, channels, size, size), most but not all of whose values lie in [-1, 1].

    As in NVIDIA's code nothing clamps the images: ``lib.models.sample`` does. ``mapping(z)`` gives w (N, w_dim) and
    ``synthesis(w)`` images from w, or from one w a layer. ``psi``, the truncation of w, is 1 for none and 0 for the average
    image; it is saved with the weights. ``channel_base`` is 32768 in config F and 16384 in config E. ``conv_clamp`` bounds
    the features (256 where NVIDIA trained in half precision). Raises ValueError unless ``size`` is 4, 8, 16, ...
    """

    def __init__(
        self,
        latent_dim: int = 512,
        w_dim: int = 512,
        channels: int = 3,
        size: int = 256,
        channel_base: int = 32768,
        channel_max: int = 512,
        mapping_layers: int = 8,
        conv_clamp: float | None = None,
        psi: float = 1.0,
    ) -> None:
        super().__init__()
        self.sizes = {
            "latent_dim": latent_dim,
            "w_dim": w_dim,
            "channels": channels,
            "size": size,
            "channel_base": channel_base,
            "channel_max": channel_max,
            "mapping_layers": mapping_layers,
            "conv_clamp": conv_clamp,
            "psi": psi,
        }
        self.latent_dim, self.psi = latent_dim, psi
        self.mapping = Mapping(latent_dim, w_dim, mapping_layers)
        self.synthesis = Synthesis(widths(size, channel_base, channel_max), channels, w_dim, conv_clamp)
        self.num_ws = self.synthesis.num_ws

    def forward(self, z: Tensor, psi: float | None = None) -> Tensor:
        return self.synthesis(self.mapping(z, self.psi if psi is None else psi))


class StyleGAN2W(StyleGAN2):
    """The same generator seen from w: latents (N, w_dim) are whitened w, as in ``lib.models.readout.ReadOutW``.

    ``enter`` maps z, of the same dimension, to these latents; the mapping network stays as it is. Raises ValueError unless
    z and w have one dimension.
    """

    frozen = ("mapping",)
    leading = 32

    def __init__(self, latent_dim: int = 512, w_dim: int = 512, **sizes: float | None) -> None:
        if latent_dim != w_dim:
            raise ValueError(f"z has {latent_dim} dimensions and w {w_dim}: a generator seen from w needs as many of both.")
        super().__init__(latent_dim, w_dim, **sizes)
        self.register_buffer("centre", torch.zeros(w_dim))
        self.register_buffer("colour", torch.eye(w_dim))
        self.register_buffer("white", torch.eye(w_dim))

    def enter(self, z: Tensor) -> Tensor:
        """Latents (N, w_dim) of z (N, w_dim)."""
        return (self.mapping(z, self.psi) - self.centre) @ self.white

    def forward(self, z: Tensor) -> Tensor:
        return self.synthesis(self.centre + z @ self.colour)


@torch.no_grad()
def seen_from_w(original: StyleGAN2, count: int = 20_000) -> StyleGAN2W:
    """The generator with whitened w as its latents; mean and covariance are those of ``count`` fixed latents."""
    generator = StyleGAN2W(**original.sizes)
    generator.load_state_dict(original.state_dict(), strict=False)
    parts = latents(count, original.latent_dim, stream(0, "whiten")).split(1000)
    return whiten(generator, torch.cat([original.mapping(z, original.psi) for z in parts]))
