"""StyleGAN2 weights of others, read without running anything that the files contain.

Two formats: NVIDIA's network pickles (``.pkl`` of stylegan2-ada-pytorch and stylegan3, whose ``legacy.py`` also makes them
from TensorFlow's) and the checkpoints (``.pt``) of rosinality's stylegan2-pytorch. ``read_generator`` reads both;
``lib.models.save_generator`` then writes safetensors.
"""

import argparse
import io
import math
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torch.storage import TypedStorage

from lib.latent import latents
from lib.models.stylegan2 import MAPPING_RATE, Mapping, StyleGAN2, low_pass

Tensors = dict[str, Tensor]  # the state of a StyleGAN2
Sizes = dict[str, int | float | None]  # the arguments of StyleGAN2

# Scalars and arrays of numpy (gains, mostly), none of which the generator needs.
NUMPY = {
    "numpy.dtype",
    "numpy.ndarray",
    "numpy.core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
}


class Inert:
    """Stands in for a class of the file: takes any arguments, keeps nothing, does nothing."""

    def __new__(cls, *args: object, **kwargs: object) -> "Inert":
        return object.__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class NetworkUnpickler(pickle.Unpickler):
    """Gives tensors and plain containers; a network becomes the dict of its attributes, and its source code is dropped.

    Nothing that the file names is imported or called: the names below get the stand-ins given here, and any other name
    raises UnpicklingError. The stand-ins are methods because a pickle can alter the attributes of a function.
    """

    def find_class(self, module: str, name: str) -> Callable:
        known = {
            "collections.OrderedDict": OrderedDict,
            "builtins.set": set,
            "__builtin__.set": set,
            "dnnlib.util.EasyDict": dict,
            "torch_utils.persistence._reconstruct_persistent_obj": self.network,
            "torch._utils._rebuild_parameter": self.parameter,
            "torch._utils._rebuild_tensor_v2": self.tensor,
            "torch.storage._load_from_bytes": self.storage,
        }
        full = f"{module}.{name}"
        if full in known:
            return known[full]
        if full in NUMPY or module.startswith("torch.nn.modules."):
            return Inert
        if module.startswith("dnnlib.tflib"):
            raise pickle.UnpicklingError("it is a TensorFlow pickle, which legacy.py of stylegan3 converts")
        raise pickle.UnpicklingError(f"it asks for {full}, which no network needs")

    def network(self, meta: dict) -> dict:
        """The attributes in what ``torch_utils.persistence`` pickles: {type, version, module_src, class_name, state}."""
        if not isinstance(meta, dict) or not isinstance(meta.get("state"), dict):
            raise pickle.UnpicklingError("a network in it has no attributes")
        return meta["state"]

    def parameter(self, data: object, *_: object) -> object:
        return data

    def tensor(self, storage: object, offset: int, size: tuple, stride: tuple, *_: object) -> Tensor:
        """A view of the storage; torch's own function would enlarge a storage that is too small."""
        if not isinstance(storage, TypedStorage):
            raise pickle.UnpicklingError("a tensor in it has no storage")
        content = torch.empty(0, dtype=storage.dtype).set_(storage._untyped_storage)
        end = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) + 1
        if min((offset, *size, *stride)) < 0 or (0 not in size and end > len(content)):
            raise pickle.UnpicklingError("a tensor in it is larger than its storage")
        return content.as_strided(size, stride, offset)

    def storage(self, content: bytes) -> object:
        """The storage that torch saved into the bytes."""
        return load_tensors_only(io.BytesIO(content))


def load_tensors_only(file: Path | io.BytesIO) -> object:
    """``torch.load(weights_only=True)`` on the CPU. Raises UnpicklingError naming what else the file asks for."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:
        asked = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it asks for {asked[1]}, which no tensor needs" if asked else "its tensors are damaged"
        raise pickle.UnpicklingError(reason) from error


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong with the content of ``path`` into one ValueError that names the file."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        if isinstance(error, KeyError):
            reason = f"it lacks {error.args[0]}"
        elif isinstance(error, pickle.UnpicklingError | ValueError):
            reason = " ".join(str(error).split())  # names from the file may hold line breaks
        else:
            reason = f"it is damaged, {type(error).__name__}"
        raise ValueError(
            f"{path} cannot be read as StyleGAN2 weights ({reason}); nothing in it was executed: give another file."
        ) from error


def sizes(tensors: Tensors, conv_clamp: float | None) -> Sizes:
    """The arguments of StyleGAN2, read off the shapes of its tensors. Raises KeyError or ValueError if some are missing."""
    names = (re.fullmatch(r"synthesis\.b(\d+)\.conv1\.bias", name) for name in tensors)
    widths = {int(name[1]): len(tensors[name[0]]) for name in names if name}
    return {
        "latent_dim": tensors["mapping.fc0.weight"].shape[1],
        "w_dim": len(tensors["mapping.w_avg"]),
        "channels": len(tensors["synthesis.b4.torgb.bias"]),
        "size": max(widths),
        # The smallest that gives these widths: it equals the one used in training wherever the widths tell it.
        "channel_base": max(side * width for side, width in widths.items()),
        "channel_max": max(widths.values()),
        "mapping_layers": sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", name)) for name in tensors),
        "conv_clamp": conv_clamp,
    }


def check_filter(kernel: Tensor, gain: int) -> None:
    """Raise ValueError unless the resampling filter (4, 4) is the usual one times ``gain``."""
    if kernel.shape != (4, 4) or not torch.allclose(kernel.float(), gain * low_pass()):
        raise ValueError("it resamples with another filter than [1, 3, 3, 1]")


def modules(network: dict, prefix: str = "") -> Iterator[tuple[str, dict]]:
    """The prefix of the names in, and the attributes of, an unpickled network and all networks inside it."""
    yield prefix, network
    for name, inner in network["_modules"].items():
        if isinstance(inner, dict):
            yield from modules(inner, f"{prefix}{name}.")


def check_architecture(network: dict) -> None:
    """Raise ValueError in one sentence for a variant of StyleGAN2 that ``StyleGAN2`` is not."""
    for prefix, attributes in modules(network):
        style = prefix.endswith("affine.")
        supported = {
            "c_dim": 0,
            "architecture": "skip",
            "use_noise": True,
            "activation": "linear" if style else "lrelu",
            "bias_gain": 1 if style else MAPPING_RATE,
        }
        for name, value in supported.items():
            if attributes.get(name, value) != value:
                raise ValueError(f"it has {name} {attributes[name]!r} where only {value!r} is supported")


def clamp_of(network: dict) -> float | None:
    """The conv_clamp of all layers. Raises ValueError if they differ."""
    clamps = {attributes["conv_clamp"] for _, attributes in modules(network) if "conv_clamp" in attributes}
    if len(clamps) != 1 or not isinstance(clamp := clamps.pop(), int | float | None):
        raise ValueError("its layers have no single conv_clamp")
    return clamp


def read_nvidia(path: Path) -> tuple[Tensors, Sizes]:
    """The averaged generator (``G_ema``) in a network pickle of NVIDIA: its tensors, and the arguments of StyleGAN2.

    Raises ValueError in one sentence, naming the file and, where a global that no network needs is asked for, the global;
    also for conditional generators and for the architectures "resnet" and "orig".
    """
    with explained(path):
        with path.open("rb") as file:
            content = NetworkUnpickler(file).load()
        network = content.get("G_ema") if isinstance(content, dict) else None
        if not isinstance(network, dict) or "synthesis" not in network["_modules"]:
            raise ValueError("it holds no network G_ema")
        check_architecture(network)
        tensors = {
            prefix + name: value
            for prefix, attributes in modules(network)
            for name, value in [*attributes["_parameters"].items(), *attributes["_buffers"].items()]
            if value is not None
        }
        for name in [name for name in tensors if name.endswith("resample_filter")]:
            check_filter(tensors.pop(name), 1)
        return tensors, sizes(tensors, clamp_of(network))


def read_rosinality(path: Path) -> tuple[Tensors, Sizes]:
    """The averaged generator (``g_ema``) in a checkpoint of rosinality: its tensors, and the arguments of StyleGAN2.

    What older checkpoints lack is made up as there: a missing ``latent_avg`` is the mean w of 4096 latents, and missing
    noise is drawn, both with fixed seeds. Raises ValueError in one sentence naming the file (and as ``read_nvidia``).
    """
    with explained(path):
        with torch.serialization.safe_globals([argparse.Namespace]):  # the training options, a plain holder of attributes
            content = load_tensors_only(path)
        if not isinstance(content, dict) or not isinstance(content.get("g_ema"), dict):
            raise ValueError("it holds no g_ema")
        tensors = converted(content["g_ema"])
        average = content.get("latent_avg")
        tensors["mapping.w_avg"] = mean_w(tensors) if average is None else average.flatten()
        return tensors, sizes(tensors, None)


def styled_layers(stages: int) -> Iterator[tuple[str, str, int, int]]:
    """rosinality's name, NVIDIA's name, the side and the number in order of each convolution with noise."""
    yield "conv1", "b4.conv1", 4, 0
    for i in range(2 * stages):
        side = 8 << i // 2
        yield f"convs.{i}", f"b{side}.conv{i % 2}", side, i + 1


def converted(theirs: Tensors) -> Tensors:
    """rosinality's ``g_ema`` under NVIDIA's names and in its shapes, without the average w.

    Raises KeyError for a tensor that is missing and ValueError for one that StyleGAN2 has not.
    """
    rest = dict(theirs)
    for name in [name for name in rest if name.endswith(".kernel")]:
        check_filter(rest.pop(name), 4)
    ours = {"b4.const": rest.pop("input.input").squeeze(0)}
    stages = sum(bool(re.fullmatch(r"to_rgbs\.\d+\.bias", name)) for name in rest)
    for name, to, side, number in styled_layers(stages):
        weight = rest.pop(f"{name}.conv.weight").squeeze(0)
        # There the weight is scaled before the demodulation, which would hardly show but for the epsilon.
        ours[f"{to}.weight"] = weight / math.sqrt(weight[0].numel())
        ours[f"{to}.bias"] = rest.pop(f"{name}.activate.bias")
        ours[f"{to}.noise_strength"] = rest.pop(f"{name}.noise.weight").squeeze()
        noise = rest.pop(f"noises.noise_{number}", None)
        ours[f"{to}.noise_const"] = latents(side, side, [0, number]) if noise is None else noise.squeeze()
    to_rgb = [("to_rgb1", "b4.torgb"), *((f"to_rgbs.{i}", f"b{8 << i}.torgb") for i in range(stages))]
    for name, to in to_rgb:
        ours[f"{to}.weight"] = rest.pop(f"{name}.conv.weight").squeeze(0)
        ours[f"{to}.bias"] = rest.pop(f"{name}.bias").flatten()
    for name, to in [*((name, to) for name, to, *_ in styled_layers(stages)), *to_rgb]:
        for part in ("weight", "bias"):
            ours[f"{to}.affine.{part}"] = rest.pop(f"{name}.conv.modulation.{part}")
    ours = {f"synthesis.{name}": value for name, value in ours.items()}
    for name in list(rest):
        if layer := re.fullmatch(r"style\.(\d+)\.(weight|bias)", name):
            ours[f"mapping.fc{int(layer[1]) - 1}.{layer[2]}"] = rest.pop(name)
    if rest:
        raise ValueError(f"it has {next(iter(rest))}, which StyleGAN2 has not")
    return ours


@torch.no_grad()
def mean_w(tensors: Tensors) -> Tensor:
    """The mean w (w_dim,) of 4096 latents, from a state that lacks it."""
    weights = [value for name, value in tensors.items() if re.fullmatch(r"mapping\.fc\d+\.weight", name)]
    w_dim, latent_dim = tensors["mapping.fc0.weight"].shape
    mapping = Mapping(latent_dim, w_dim, len(weights))
    state = {name.removeprefix("mapping."): value for name, value in tensors.items() if name.startswith("mapping.")}
    fill(mapping, {**state, "w_avg": torch.zeros(w_dim)})
    return mapping(latents(4096, latent_dim, 0)).mean(0)


def fill(module: torch.nn.Module, tensors: Tensors) -> None:
    """Load the tensors. Raises ValueError in one line if names or shapes do not fit."""
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(str(error).splitlines()[-1].strip().rstrip(".")) from error


def read_generator(path: Path | str, psi: float = 1.0) -> StyleGAN2:
    """The generator in a ``.pkl`` of NVIDIA or a ``.pt`` of rosinality, on the CPU, in eval mode; ``psi`` truncates its w.

    Raises ValueError in one sentence for another suffix, for tensors that do not fit together, and as ``read_nvidia``.
    """
    path, readers = Path(path), {".pkl": read_nvidia, ".pt": read_rosinality}
    if path.suffix not in readers:
        raise ValueError(f"{path} is neither a .pkl of NVIDIA nor a .pt of rosinality: give one of these.")
    tensors, arguments = readers[path.suffix](path)
    with explained(path):
        generator = StyleGAN2(**arguments, psi=psi)
        fill(generator, tensors)
    return generator.eval()
