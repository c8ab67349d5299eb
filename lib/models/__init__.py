"""Generators: modules with a ``latent_dim`` that map latents (N, d) to images (N, C, H, W) in [-1, 1]."""

from pathlib import Path

import torch
from torch import Tensor, nn

from lib.models.dcgan import Discriminator, Generator
from lib.models.readout import ReadOut, ReadOutW, at_full_size
from lib.models.stylegan2 import StyleGAN2, StyleGAN2W
from lib.models.vae import Decoder, DecoderW, Encoder
from lib.train import autocast
from lib.weights import load_module, save_module

GENERATORS: dict[str, type[nn.Module]] = {
    "gan": Generator,
    "vae": Decoder,
    "vae-w": DecoderW,
    "stylegan2": StyleGAN2,
    "stylegan2-w": StyleGAN2W,
    "mobilestylegan": ReadOut,
    "mobilestylegan-w": ReadOutW,
}


def save_generator(path: Path, generator: nn.Module) -> None:
    """Write a generator with its sizes; ``load_generator`` gives it back."""
    model = next(name for name, build in GENERATORS.items() if type(generator) is build)
    save_module(path, generator, f"{model}-generator", **generator.sizes)


def load_generator(path: Path, model: str, device: torch.device) -> nn.Module:
    """The generator of the kind named in ``GENERATORS``, in eval mode; ValueError in one sentence for any other file."""
    return load_module(path, GENERATORS[model], f"{model}-generator", device)


@torch.no_grad()
def sample(generator: nn.Module, z: Tensor, batch: int | None = None) -> Tensor:
    """Images of the latents z (N, d), float32 in [-1, 1] on the CPU; under ``lib.train.autocast`` where the generator says
    that ``half_precision`` will do. Made in batches, by default of 250 up to 128 pixels and fewer of larger images."""
    device, side = next(generator.parameters()).device, getattr(generator, "sizes", {}).get("size", 64)
    batch = batch or max(1, 250 * 128**2 // max(128, side) ** 2)
    with autocast(device, getattr(generator, "half_precision", False)):
        return torch.cat([generator(part.to(device)).float().clamp(-1, 1).cpu() for part in z.split(batch)]).contiguous()


def sample_moved(generator: nn.Module, z: Tensor, before: Tensor, images: Tensor) -> Tensor:
    """Images of the latents z (N, d) where ``images`` (N, C, H, W) of the latents ``before`` (N, d) are known: only latents
    that moved are made again."""
    moved, images = (z != before).any(1), images.clone()
    if moved.any():
        images[moved] = sample(generator, z[moved])
    return images


__all__ = [
    "GENERATORS",
    "Decoder",
    "DecoderW",
    "Discriminator",
    "Encoder",
    "Generator",
    "ReadOut",
    "StyleGAN2",
    "at_full_size",
    "load_generator",
    "sample",
    "sample_moved",
    "save_generator",
]
