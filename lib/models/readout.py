"""A small reading of MobileStyleGAN: its first blocks as they are, the rest shrunk; 64 or 128 px, fit for tuning on a CPU.

The network makes its pixels in the last blocks, at 128 to 1024 px, where most of its time goes. The read-out keeps mapping
and synthesis up to the wanted size with their own weights, and runs the remaining blocks at that size. Each inverse wavelet
becomes a mix of the bands, which starts as the mean over the pixels the wavelet would have made; the convolutions start
from the network's own. Then mixes and convolutions are fitted to the area-downsampled full images.
"""

import copy
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, conv2d, mse_loss

from lib.latent import latents, stream, whiten
from lib.models.mobilestylegan import (
    CHANNELS,
    LATENT,
    PSI,
    Mapping,
    MobileStyleGAN,
    StyledConv,
    Synthesis,
    pretrained,
    styled_pointwise,
    truncated,
)
from lib.runs import shipped, shown
from lib.train import Curve, run_steps, set_rate
from lib.weights import load_tensors, save_tensors

HEAD = "ffhq-read-out-head"


class ShrunkBlock(nn.Module):
    """Style-scaled mix of the bands, two styled convolutions: (N, n_in, s, s) -> (N, n_out, s, s), not enlarged."""

    def __init__(self, n_in: int, n_out: int, size: int) -> None:
        super().__init__()
        self.up = nn.Linear(LATENT, n_in)
        self.mix = nn.Parameter(torch.zeros(n_in // 4, n_in))
        self.conv1 = StyledConv(n_in // 4, n_out, size)
        self.conv2 = StyledConv(n_out, n_out, size)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        rows = styled_pointwise(x, self.up(w), self.mix)
        x = rows.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)
        return self.conv2(self.conv1(x, w), w)


class Head(nn.Module):
    """Features (N, channels, size, size) after ``blocks`` blocks and w -> RGB (N, 3, size, size), not clipped."""

    def __init__(self, blocks: int, size: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ShrunkBlock(*pair, size) for pair in pairwise(CHANNELS[blocks - 1 :]))
        self.modulation = nn.Linear(LATENT, CHANNELS[-1])
        self.weight = nn.Parameter(torch.zeros(3, CHANNELS[-1], 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x, w)
        style = self.modulation(w)[:, :, None, None] / CHANNELS[-1] ** 0.5
        return conv2d(x * style, self.weight, self.bias)


class ReadOut(nn.Module):
    """Latents z (N, 512) -> RGB images (N, 3, size, size) in [-1, 1], size 64 or 128; ``psi`` as in ``MobileStyleGAN``.

    Unlearning leaves the parts named in ``frozen`` alone: the head does not exist in the full network (see ``put_back``).
    """

    frozen = ("head",)
    half_precision = True  # good enough for samples, and twice as fast

    def __init__(self, size: int = 64, psi: float = PSI) -> None:
        super().__init__()
        self.sizes = {"size": size, "psi": psi}
        self.latent_dim, self.psi = LATENT, psi
        blocks = size.bit_length() - 3
        self.mapping = Mapping()
        self.synthesis = Synthesis(blocks)
        self.head = Head(blocks, size)
        self.register_buffer("average", torch.zeros(LATENT))

    def to_w(self, z: Tensor) -> Tensor:
        """Latents w (N, 512) of z (N, 512), truncated by ``psi``."""
        return truncated(self.mapping(z), self.average, self.psi)

    def synthesize(self, w: Tensor) -> Tensor:
        """Images (N, 3, size, size) in [-1, 1] of latents w (N, 512), which are taken as they are.

        On a CPU two at a time: a batch leaves the cache.
        """
        parts = w.split(2) if w.device.type == "cpu" else [w]
        return torch.cat([self.head(self.synthesis(part), part) for part in parts]).clamp(-1, 1)

    def styles(self, z: Tensor) -> Tensor:
        """The w (N, 512) that the blocks are styled by."""
        return self.to_w(z)

    def forward(self, z: Tensor) -> Tensor:
        return self.synthesize(self.styles(z))


class ReadOutW(ReadOut):
    """The same generator seen from w: latents (N, 512) are whitened w, which have mean 0 and covariance I as z has.

    Their coordinates are the principal components of w, the largest first; a direction is sought among the ``leading``
    ones, since the others, whose variance is too small to show, would be noise in it. ``enter`` maps z to these latents.
    The mapping network is passed by: only what makes images of w can be tuned.
    """

    frozen = ("head", "mapping")
    leading = 32

    def __init__(self, size: int = 64, psi: float = PSI) -> None:
        super().__init__(size, psi)
        self.register_buffer("centre", torch.zeros(LATENT))
        self.register_buffer("colour", torch.eye(LATENT))
        self.register_buffer("white", torch.eye(LATENT))

    def enter(self, z: Tensor) -> Tensor:
        """Latents (N, 512) of z (N, 512)."""
        return (self.to_w(z) - self.centre) @ self.white

    def styles(self, z: Tensor) -> Tensor:
        return self.centre + z @ self.colour


@torch.no_grad()
def seen_from_w(read_out: ReadOut, count: int = 20_000) -> ReadOutW:
    """The read-out with whitened w as its latents; mean and covariance are those of ``count`` fixed latents."""
    generator = ReadOutW(**read_out.sizes)
    generator.load_state_dict(read_out.state_dict(), strict=False)
    parts = latents(count, LATENT, stream(0, "whiten")).split(1000)
    return whiten(generator, torch.cat([read_out.to_w(z) for z in parts]))


def coarser(kernel: Tensor, factor: int) -> Tensor:
    """A depthwise kernel (C, 1, 3, 3) for a grid ``factor`` times coarser, which its neighbours reach by interpolation."""
    near, far = 1 - 1 / factor, 1 / factor
    taps = torch.tensor([[far, 0, 0], [near, 1, near], [0, 0, far]])
    return taps @ kernel @ taps.T


def shrink_conv(small: StyledConv, large: StyledConv) -> None:
    """Start a styled convolution at a coarser grid from the network's own."""
    size, factor = small.noise.shape[-1], large.noise.shape[-1] // small.noise.shape[-1]
    small.load_state_dict(
        large.state_dict()
        | {"depthwise": coarser(large.depthwise, factor), "noise": adaptive_avg_pool2d(large.noise, size)}
    )


@torch.no_grad()
def truncate(model: MobileStyleGAN, size: int) -> ReadOut:
    """The read-out of the full network before any fit, in eval mode: a head that starts from the blocks cut off."""
    read_out = ReadOut(size, model.psi)
    read_out.average.copy_(model.average)
    read_out.mapping.load_state_dict(model.mapping.state_dict())
    kept = len(read_out.synthesis.blocks)
    state = model.synthesis.state_dict()
    read_out.synthesis.load_state_dict({name: state[name] for name in read_out.synthesis.state_dict()})
    for small, large in zip(read_out.head.blocks, model.synthesis.blocks[kept:], strict=True):
        small.up.load_state_dict(large.up.state_dict())
        small.mix.copy_(torch.eye(*small.mix.shape) / 2)  # half the average band is the mean of the pixels it makes
        shrink_conv(small.conv1, large.conv1)
        shrink_conv(small.conv2, large.conv2)
    read_out.head.modulation.load_state_dict(model.to_image.modulation.state_dict())
    read_out.head.weight.copy_(model.to_image.weight[:3] / 2)
    read_out.head.bias.copy_(model.to_image.bias[:3] / 2)
    return read_out.eval()


@torch.no_grad()
def put_back(read_out: ReadOut, model: MobileStyleGAN) -> MobileStyleGAN:
    """A copy of the full network whose mapping and first blocks are those of the read-out, unlearned or not."""
    full = copy.deepcopy(model)
    full.mapping.load_state_dict(read_out.mapping.state_dict())
    full.synthesis.load_state_dict(read_out.synthesis.state_dict(), strict=False)
    return full


@torch.no_grad()
def at_full_size(read_out: ReadOut, latent: Tensor, size: int) -> Tensor:
    """What the full network makes of the latents (N, 512) with the mapping and blocks of the read-out.

    Images (N, 3, size, size) in [-1, 1], area-downsampled from 1024 px. Raises as ``pretrained``.
    """
    full = put_back(read_out, pretrained(read_out.psi))
    return downsampled(full, read_out.styles(latent.to(read_out.average.device)).cpu(), size)


def varied_w(model: MobileStyleGAN, count: int, seed: int) -> Tensor:
    """Latents w (count, 512) to fit a head on, each truncated by a psi of its own, drawn from [0.7, 1]."""
    z = latents(count, LATENT, stream(seed, "fit"))
    psi = np.random.default_rng(stream(seed, "fit psi")).uniform(0.7, 1, (count, 1)).astype(np.float32)
    return truncated(model.mapping(z), model.average, torch.from_numpy(psi))


def downsampled(model: MobileStyleGAN, w: Tensor, size: int) -> Tensor:
    """The area-downsampled full images (N, 3, size, size) in [-1, 1] of latents w (N, 512); about 0.4 s each on one core.

    One image at a time: on a CPU that is faster than a batch, whose activations leave the cache.
    """
    return torch.cat([adaptive_avg_pool2d(model.synthesize(one), size) for one in w.split(1)])


@torch.no_grad()
def features_of(read_out: ReadOut, w: Tensor) -> Tensor:
    """What the head sees of the latents w (N, 512), in half precision: 4 MiB each at 64 px."""
    return torch.cat([read_out.synthesis(part).half() for part in w.split(8)])


def fitted(head: Head) -> dict[str, nn.Parameter]:
    """The parameters of a head that ``fit`` changes, by name: all but the modulations, which stay the network's own."""
    return {name: value for name, value in head.named_parameters() if not {"up", "modulation"} & {*name.split(".")}}


def fit(read_out: ReadOut, w: Tensor, images: Tensor, steps: int, seed: int, batch: int = 4, rate: float = 3e-4) -> Curve:
    """Fit the head in place to images (N, 3, size, size) of the latents w (N, 512): least squares, Adam, a falling rate."""
    features = features_of(read_out, w)
    adam = torch.optim.Adam(fitted(read_out.head).values(), rate, (0.9, 0.99))

    def step(i: int) -> dict[str, Tensor]:
        chosen = np.random.default_rng([seed, i]).choice(len(w), batch, replace=False)
        set_rate(adam, rate * min(1, 20 * i / steps + 0.02, 1.02 - i / steps))
        x = features[chosen].float().contiguous(memory_format=torch.channels_last)
        loss = mse_loss(read_out.head(x, w[chosen]), images[chosen])
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        return {"squared error": loss}

    return run_steps(step, {"head": read_out.head, "adam": adam}, steps)


def fit_read_out(size: int, seed: int, count: int, steps: int) -> tuple[ReadOut, Curve]:
    """The read-out of the pre-trained network, its head fitted to ``count`` full images; all draws come from ``seed``."""
    model = pretrained()
    read_out = truncate(model, size)
    with torch.no_grad():
        w = varied_w(model, count, seed)
        images = downsampled(model, w, size)
    return read_out, fit(read_out, w, images, steps, seed)


def save_head(path: Path, read_out: ReadOut) -> None:
    """Write what ``fit`` has changed; the rest is in the archive of random-face."""
    save_tensors(path, fitted(read_out.head), {"kind": HEAD, "sizes": {"size": read_out.sizes["size"]}})


@torch.no_grad()
def pretrained_read_out(size: int = 64, psi: float = PSI, path: Path | None = None) -> ReadOut:
    """The read-out of the pre-trained network with the head in ``path`` (None: the shipped one), on the CPU, in eval mode.

    Raises FileNotFoundError or ValueError in one sentence when the archive or the head is missing, damaged or another.
    """
    path = path or shipped("ffhq", f"read-out-{size}.safetensors")
    if not path.is_file():
        raise FileNotFoundError(
            f"{shown(path)} is missing: give size 64 or 128, or make it with fit_read_out and save_head."
        )
    tensors, _ = load_tensors(path, HEAD)
    read_out = truncate(pretrained(psi), size)
    wanted = fitted(read_out.head)
    if {k: v.shape for k, v in tensors.items()} != {k: v.shape for k, v in wanted.items()}:
        raise ValueError(f"{shown(path)} holds the head of another read-out, not of {size} px: give the right file.")
    for name, parameter in wanted.items():
        parameter.copy_(tensors[name])
    return read_out


def r_squared(read: Tensor, images: Tensor) -> float:
    """Share of the variance of images (N, C, H, W) that ``read`` explains; the variance is about each channel's mean."""
    return 1 - float((read - images).square().mean() / images.var((0, 2, 3), correction=0).mean())
