"""A pre-trained 64x64 face GAN that this kit did not train: a DCGAN of DigiFace-1M faces (Bae et al., WACV 2023).

The weights come with the package gan-face-generate (MIT), whose network is the DCGAN of the PyTorch examples. They are
put into this kit's own ``Generator``, which computes the same function.
"""

import io

import torch
from torch import Tensor

from lib.archives import fetch, member
from lib.models.dcgan import Generator

SIZES = {"latent_dim": 100, "width": 64, "channels": 3, "size": 64}
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def load_digiface(device: torch.device) -> Generator:
    """The generator in eval mode: latents (N, 100) from N(0, I) -> face images (N, 3, 64, 64) in [-1, 1].

    Raises FileNotFoundError when the archive is missing and cannot be downloaded, ValueError when it is another file.
    """
    generator = Generator(**SIZES)
    generator.load_state_dict(converted(foreign_state()))
    return generator.to(device, memory_format=torch.channels_last).eval()


def foreign_state() -> dict[str, Tensor]:
    """The tensors as published, ``main.0.weight`` ... ``main.12.weight``; weights only, so no code can run."""
    weights = io.BytesIO(member(fetch("gan-face-generate"), "gan_face_generate/weights.tar"))
    return torch.load(weights, map_location="cpu", weights_only=True)["netG_state_dict"]


def converted(foreign: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of a PyTorch-example DCGAN, ``main.<layer>.<name>``, as the state of ``Generator(**SIZES)``.

    There, layer 0 is a transposed convolution of a 1x1 input, which is a linear map; the rest is ``body``, one layer on.
    """
    state = {"project.weight": foreign["main.0.weight"].flatten(1).T.contiguous()}
    for layer in (1, 4, 7, 10):
        state |= {f"body.{layer - 1}.{name}": foreign[f"main.{layer}.{name}"] for name in NORM}
    for layer in (3, 6, 9, 12):
        state[f"body.{layer - 1}.weight"] = foreign[f"main.{layer}.weight"]
    state["body.11.bias"] = torch.zeros(SIZES["channels"])  # the last layer there has no bias
    return state
