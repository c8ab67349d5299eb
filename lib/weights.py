"""Weights on disk: safetensors with a header that says what they are. Nothing is ever unpickled."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lib.files import replacing

PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".tar")


def save_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, object]) -> None:
    """Write tensors with ``about`` (JSON values, among them ``kind``) in the header, under a temporary name first."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # One key, because safetensors writes several in no fixed order and the bytes should repeat.
    with replacing(path) as temporary:
        save_file(whole, temporary, {"about": json.dumps(about, sort_keys=True)})


def header(path: Path) -> dict:
    """What ``save_tensors`` wrote beside the tensors, which are not read.

    Raises ValueError in one sentence for a pickle or a damaged file.
    """
    if path.suffix in PICKLES:
        raise ValueError(f"{path} looks like a pickle, which can run code when opened: convert it to safetensors first.")
    try:
        with safe_open(path, framework="pt") as file:
            return json.loads((file.metadata() or {}).get("about", "{}"))
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is damaged or not a safetensors file ({error}): make it again or restore it.") from error


def load_tensors(path: Path, kind: str) -> tuple[dict[str, Tensor], dict]:
    """The tensors and the header of a file that ``save_tensors`` wrote.

    Raises ValueError in one sentence as ``header``, and for a file of another kind.
    """
    about = header(path)
    if about.get("kind") != kind:
        raise ValueError(f"{path} holds {about.get('kind', 'foreign weights')!r}, not {kind!r}: give the right file.")
    return load_file(path), about


def save_module(path: Path, module: nn.Module, kind: str, **sizes: float | None) -> None:
    """Write a module's state with the ``sizes`` its constructor takes."""
    save_tensors(path, module.state_dict(), {"kind": kind, "sizes": sizes})


def load_module(path: Path, build: type[nn.Module], kind: str, device: torch.device) -> nn.Module:
    """Build the module with the sizes in the header and fill it, in eval mode on ``device``.

    Raises ValueError in one sentence when the tensors do not fit the architecture (and as ``load_tensors``).
    """
    tensors, about = load_tensors(path, kind)
    try:
        module = build(**about["sizes"])
        module.load_state_dict(tensors)
    except (KeyError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(f"{path} does not fit {build.__name__} ({reason}): give weights of this kit.") from error
    return module.to(device, memory_format=torch.channels_last).eval()
