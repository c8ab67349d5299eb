"""MobileStyleGAN (Belousov, 2021; arXiv:2104.04767): 1024-pixel faces in the style of FFHQ.

The package random-face holds the trained networks as OpenVINO files: an .xml that lists the constants (name, element type,
shape, offset) and a .bin with their bytes. Only the constants are read, by name; the computation is written out below.
Demodulation does not depend on the style in this network and is folded into the pointwise weights, as is the strength of
the noise into one fixed map for each convolution.
"""

from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, leaky_relu, leaky_relu_

from lib.archives import fetch, member

LATENT = 512
CHANNELS = (512, 512, 512, 512, 256, 128, 64)  # at 8, 16, ..., 512 px
PSI = 0.8
AVERAGED = 512  # latents whose mean in w is the centre of the truncation


class Mapping(nn.Module):
    """Latents z (N, 512) -> latents w (N, 512): the direction of z through eight linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(LATENT, LATENT) for _ in range(8))

    def forward(self, z: Tensor) -> Tensor:
        w = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        for layer in self.layers:
            w = 2**0.5 * leaky_relu(layer(w), 0.2)
        return w


def inverse_haar(x: Tensor) -> Tensor:
    """Inverse Haar wavelet transform (N, 4 C, H, W) -> (N, C, 2 H, 2 W).

    The first C channels are the averages; then come, for each channel, the vertical, horizontal and diagonal details.
    """
    n, channels, height, width = x.shape
    average, details = x[:, : channels // 4], x[:, channels // 4 :].unflatten(1, (channels // 4, 3))
    vertical, horizontal, diagonal = details.unbind(2)
    above, below = average + vertical, average - vertical
    right_above, right_below = horizontal + diagonal, horizontal - diagonal
    pixels = [above + right_above, above - right_above, below + right_below, below - right_below]
    # (N, H, 2, W, 2, C): the memory of channels_last images of twice the side.
    rows = torch.stack([pixel.permute(0, 2, 3, 1) for pixel in pixels], 3).unflatten(3, (2, 2)).transpose(2, 3)
    return 0.5 * rows.reshape(n, 2 * height, 2 * width, channels // 4).permute(0, 3, 1, 2)


class FirstConv(nn.Module):
    """The learned constant (512, 4, 4) through a style-modulated 3x3 convolution: w (N, 512) -> (N, 512, 4, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.zeros(1, LATENT, 4, 4))
        self.modulation = nn.Linear(LATENT, LATENT)
        self.weight = nn.Parameter(torch.zeros(LATENT, LATENT, 3, 3))
        self.noise = nn.Parameter(torch.zeros(1, 1, 4, 4))
        self.bias = nn.Parameter(torch.zeros(LATENT))

    def forward(self, w: Tensor) -> Tensor:
        style = self.modulation(w)[:, :, None, None] / (9 * LATENT) ** 0.5
        x = (style * self.constant).contiguous(memory_format=torch.channels_last)
        return leaky_relu(conv2d(x, self.weight, self.bias, padding=1) + self.noise, 0.2)


def styled_pointwise(x: Tensor, style: Tensor, weight: Tensor) -> Tensor:
    """The 1x1 convolution of x (N, n_in, H, W), its channels scaled by style (N, n_in): pixel rows (N, H W, n_out).

    The style scales the weight (n_out, n_in) of each image instead of the larger activations.
    """
    return torch.bmm(x.permute(0, 2, 3, 1).flatten(1, 2), style[:, :, None] * weight.T)


class StyledConv(nn.Module):
    """Depthwise 3x3, styled pointwise convolution, noise, bias, leaky ReLU: (N, n_in, s, s) -> (N, n_out, s, s)."""

    def __init__(self, n_in: int, n_out: int, size: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(LATENT, n_in)
        self.depthwise = nn.Parameter(torch.zeros(n_in, 1, 3, 3))
        self.pointwise = nn.Parameter(torch.zeros(n_out, n_in))
        self.noise = nn.Parameter(torch.zeros(1, 1, size, size))
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        n_in = self.depthwise.shape[0]
        # A depthwise convolution commutes with scaling its channels, so the style can wait for the pointwise weights.
        rows = styled_pointwise(
            conv2d(x, self.depthwise, padding=1, groups=n_in),
            self.modulation(w) / (9 * n_in) ** 0.5,
            self.pointwise,
        )
        # Added in the precision of the rows: mixed with bfloat16 an addition takes longer than the product before it.
        noise, bias = self.noise.view(-1, 1).to(rows.dtype), self.bias.to(rows.dtype)
        rows = leaky_relu_(rows.add_(noise).add_(bias), 0.2)
        return rows.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)


class Block(nn.Module):
    """Style-scaled inverse wavelet, two styled convolutions: (N, n_in, s, s) -> (N, n_out, 2 s, 2 s)."""

    def __init__(self, n_in: int, n_out: int, size: int) -> None:
        super().__init__()
        self.up = nn.Linear(LATENT, n_in)
        self.conv1 = StyledConv(n_in // 4, n_out, size)
        self.conv2 = StyledConv(n_out, n_out, size)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        x = inverse_haar(x * self.up(w)[:, :, None, None])
        return self.conv2(self.conv1(x, w), w)


class Synthesis(nn.Module):
    """Latents w (N, 512) -> features (N, channels, s, s), s = 4 * 2 ** blocks; all seven blocks make 512 px."""

    def __init__(self, blocks: int = len(CHANNELS)) -> None:
        super().__init__()
        widths = (LATENT, *CHANNELS[:blocks])
        self.first = FirstConv()
        self.blocks = nn.ModuleList(Block(*pair, 8 << k) for k, pair in enumerate(pairwise(widths)))

    def forward(self, w: Tensor) -> Tensor:
        x = self.first(w)
        for block in self.blocks:
            x = block(x, w)
        return x


class ToImage(nn.Module):
    """Features (N, 64, 512, 512) and w -> RGB images (N, 3, 1024, 1024), most of it in [-1, 1] (not clipped)."""

    def __init__(self) -> None:
        super().__init__()
        self.modulation = nn.Linear(LATENT, CHANNELS[-1])
        self.weight = nn.Parameter(torch.zeros(12, CHANNELS[-1], 1, 1))
        self.bias = nn.Parameter(torch.zeros(12))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.modulation(w)[:, :, None, None] / CHANNELS[-1] ** 0.5
        return inverse_haar(conv2d(x * style, self.weight, self.bias))


class MobileStyleGAN(nn.Module):
    """Latents z (N, 512) -> RGB images (N, 3, 1024, 1024); ``psi`` pulls w to its average (1: not at all; 0: one face)."""

    def __init__(self, psi: float = PSI) -> None:
        super().__init__()
        self.sizes = {"psi": psi}
        self.latent_dim, self.psi = LATENT, psi
        self.mapping = Mapping()
        self.synthesis = Synthesis()
        self.to_image = ToImage()
        self.register_buffer("average", torch.zeros(LATENT))

    def to_w(self, z: Tensor) -> Tensor:
        """Latents w (N, 512) of z (N, 512), truncated by ``psi``."""
        return truncated(self.mapping(z), self.average, self.psi)

    def synthesize(self, w: Tensor) -> Tensor:
        """Images (N, 3, 1024, 1024) in [-1, 1] of latents w (N, 512), which are taken as they are."""
        return self.to_image(self.synthesis(w), w).clamp(-1, 1)

    def forward(self, z: Tensor) -> Tensor:
        return self.synthesize(self.to_w(z))


def truncated(w: Tensor, average: Tensor, psi: float) -> Tensor:
    """The truncation trick (Karras et al., 2019): w (N, 512) drawn to the average (512,), which psi = 0 reaches."""
    return average + psi * (w - average)


def constants(xml: bytes, weights: bytes, file: str) -> dict[str, np.ndarray]:
    """The float32 constants of an OpenVINO network by name, from its .xml and its .bin.

    Raises ValueError naming ``file`` when the .xml is damaged or the .bin too short.
    """
    try:
        layers = [layer for layer in ElementTree.fromstring(xml).iter("layer") if layer.get("type") == "Const"]
        places = {layer.get("name"): layer.find("data").attrib for layer in layers}
        return {name: constant(weights, place) for name, place in places.items() if place["element_type"] == "f32"}
    except (ElementTree.ParseError, AttributeError, KeyError, ValueError) as error:
        raise ValueError(
            f"{file} is not a readable OpenVINO network ({error}): delete the archive and fetch it again."
        ) from error


def constant(weights: bytes, place: dict[str, str]) -> np.ndarray:
    """One float32 constant from the bytes of the .bin, at the ``shape``, ``offset`` and ``size`` that its layer states."""
    shape = [int(side) for side in place["shape"].split(",") if side.strip()]
    return np.frombuffer(weights, "<f4", int(place["size"]) // 4, int(place["offset"])).reshape(shape)


def mapping_names() -> dict[str, str]:
    """Parameter of ``Mapping`` -> name of its constant in MappingNetwork.xml (weights 173, 177, ...; biases one more)."""
    weights = [173, *range(177, 202, 4)]
    return {f"layers.{k}.{part}": str(weights[k] + add) for k in range(8) for add, part in enumerate(("weight", "bias"))}


def synthesis_names() -> dict[str, str]:
    """Parameter of ``Synthesis`` -> name of its constant in SynthesisNetwork.xml.

    Folded constants have lost the module's name; their numbers grow by 100 (weights) or 41 (noise) from block to block.
    """
    names = {
        "first.constant": "m.input.input",
        "first.modulation.weight": "m.conv1.conv.modulation.weight",
        "first.modulation.bias": "m.conv1.conv.modulation.bias",
        "first.weight": "Mul_39_copy",
        "first.noise": "1531",
        "first.bias": "m.conv1.bias",
    }
    for k in range(len(CHANNELS)):
        names |= {f"blocks.{k}.up.{part}": f"m.layers.{k}.up.modulation.{part}" for part in ("weight", "bias")}
        for conv, weight, noise in (("conv1", 106, 1560), ("conv2", 139, 1572)):
            ours, theirs = f"blocks.{k}.{conv}", f"m.layers.{k}.{conv}"
            names |= {
                f"{ours}.modulation.weight": f"{theirs}.conv.modulation.weight",
                f"{ours}.modulation.bias": f"{theirs}.conv.modulation.bias",
                f"{ours}.depthwise": f"{theirs}.conv.weight_dw",
                f"{ours}.pointwise": f"Mul_{weight + 100 * k}_copy",
                f"{ours}.noise": str(noise + 41 * k),
                f"{ours}.bias": f"{theirs}.bias",
            }
    return names


def to_image_names() -> dict[str, str]:
    """Parameter of ``ToImage`` -> name of its constant in SynthesisNetwork.xml."""
    theirs = f"m.layers.{len(CHANNELS) - 1}.to_img"
    return {
        "modulation.weight": f"{theirs}.conv.modulation.weight",
        "modulation.bias": f"{theirs}.conv.modulation.bias",
        "weight": f"{theirs}.conv.weight",
        "bias": f"{theirs}.bias",
    }


def fill(module: nn.Module, names: dict[str, str], found: dict[str, np.ndarray], file: str) -> None:
    """Copy the named constants into the module's parameters, each by its name.

    Raises ValueError in one sentence, naming ``file``, when one is missing or of another size.
    """
    parameters = dict(module.named_parameters())
    for name, parameter in parameters.items():
        if names[name] not in found:
            raise ValueError(f"{file} lacks the constant {names[name]!r} (for {name}): use random-face 2021.7.21.1.")
        value = torch.from_numpy(found[names[name]].copy())
        if value.numel() != parameter.numel():
            raise ValueError(f"{file} has {names[name]!r} of shape {tuple(value.shape)}: use random-face 2021.7.21.1.")
        parameter.data = value.view(parameter.shape)


def average_w(mapping: Mapping) -> Tensor:
    """The mean (512,) of w over fixed latents, the centre of the truncation."""
    z = np.random.default_rng(0).standard_normal((AVERAGED, LATENT))
    return mapping(torch.from_numpy(z).float()).mean(0)


@torch.no_grad()
def pretrained(psi: float = PSI, archive: Path | None = None) -> MobileStyleGAN:
    """The trained network, on the CPU, in eval mode, from ``archive`` (the wheel of random-face; fetched if None).

    Raises FileNotFoundError or ValueError in one sentence when the archive is missing, damaged or another version.
    """
    archive = archive or fetch("random-face")
    found = {}
    for name in ("MappingNetwork", "SynthesisNetwork"):
        inside = f"random_face/data/{name}"
        found[name] = constants(member(archive, f"{inside}.xml"), member(archive, f"{inside}.bin"), f"{name}.xml")
    model = MobileStyleGAN(psi)
    fill(model.mapping, mapping_names(), found["MappingNetwork"], "MappingNetwork.xml")
    fill(model.synthesis, synthesis_names(), found["SynthesisNetwork"], "SynthesisNetwork.xml")
    fill(model.to_image, to_image_names(), found["SynthesisNetwork"], "SynthesisNetwork.xml")
    model.average.copy_(average_w(model.mapping))
    return model.eval()
