"""StyleGAN2: its parts against slow arithmetic, its images against the official code, and files that must not run."""

import argparse
import contextlib
import os
import pickle
import re
import sys
import types
import zlib
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d, leaky_relu

from lib.by_eye import ANNOTATED, read_labelled
from lib.latent import Edit, latents, prior, stream
from lib.models import StyleGAN2, load_generator, sample, save_generator
from lib.models.stylegan2 import StyledConvolution, low_pass, seen_from_w, up_convolution, upfirdn, upsample
from lib.models.stylegan2_files import read_generator, read_nvidia, read_rosinality
from lib.train import unlearn

CPU = torch.device("cpu")


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def wave(name, shape):
    """Values that any code can make again: a sine whose phase depends on the name."""
    steps = torch.arange(int(np.prod(shape)), dtype=torch.float64)
    return torch.sin(steps * 1.7 + zlib.crc32(name.encode()) % 1000).float().reshape(shape)


def filled(shapes, mapping):
    """A state of waves; the mapping layers get larger ones, because their learning rate multiplier shrinks them."""
    return OrderedDict(
        (name, wave(name, shape) * (50 if name.startswith(mapping) else 1)) for name, shape in shapes.items()
    )


def numbers(images):
    """What is compared with the official code: mean, standard deviation and four pixels."""
    return [
        float(x) for x in (images.mean(), images.std(), *images[[0, 0, 1, 1], [0, 1, 2, 0], [0, 5, 15, 10], [0, 9, 8, 3]])
    ]


@pytest.fixture
def generator():
    """A narrow generator of 16 pixels in which every tensor matters."""
    generator = StyleGAN2(8, 6, 3, 16, channel_base=64, channel_max=8, mapping_layers=2, conv_clamp=1.5).eval()
    shapes = {name: value.shape for name, value in generator.state_dict().items()}
    generator.load_state_dict(filled(shapes, "mapping.fc"))
    return generator.requires_grad_(False)


# --- Resampling and convolution -------------------------------------------------------------------------------------------


def test_an_impulse_becomes_the_filter_unflipped():
    kernel = torch.arange(9.0).reshape(3, 3)
    impulse = torch.zeros(1, 2, 1, 1)
    impulse[:, 1] = 1
    out = upfirdn(impulse, kernel, 1, 2, 2)
    assert torch.equal(out[0, 1], kernel)
    assert not out[0, 0].any()


def test_the_sum_is_preserved_when_nothing_is_cut_off():
    x = draw(2, 3, 5, 5)
    out = upfirdn(x, low_pass(), 2, 3, 3)
    assert out.shape == (2, 3, 13, 13)
    torch.testing.assert_close(out.sum((2, 3)), x.sum((2, 3)), rtol=0, atol=1e-5)


def test_a_constant_image_stays_constant_inside_and_fades_at_the_border():
    out = upsample(torch.full((1, 1, 6, 6), 3.0), low_pass())
    assert out.shape == (1, 1, 12, 12)
    torch.testing.assert_close(out[0, 0, 1:-1, 1:-1], torch.full((10, 10), 3.0))
    assert out[0, 0, 0, 0] == pytest.approx(3.0 * (3 / 4) ** 2)


def test_a_ramp_is_interpolated_at_quarter_steps():
    out = upsample(torch.arange(6.0).expand(1, 1, 6, 6), low_pass())[0, 0, 5]
    torch.testing.assert_close(out[1:-1], torch.arange(10) / 2 + 0.25)


def test_an_up_convolution_is_interpolation_then_a_flipped_convolution():
    x, weight = draw(2, 4, 5, 5), draw(3, 4, 3, 3, seed=1)
    slow = conv2d(upfirdn(x, 4 * low_pass(), 2, 3, 2), weight.flip(2, 3))
    torch.testing.assert_close(up_convolution(x, weight, low_pass()), slow, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("up", [False, True])
def test_a_modulated_convolution_equals_a_loop_over_samples(up):
    torch.manual_seed(0)
    layer = StyledConvolution(4, 5, 6, 14 if up else 7, clamp=2.0).requires_grad_(False)
    layer.noise_strength.fill_(0.3)
    x, w = draw(3, 4, 7, 7), draw(3, 6, seed=1)
    out = layer(x, w, low_pass()) if up else layer(x, w)
    for i in range(3):
        style = layer.affine.weight @ w[i] / 6**0.5 + 1
        weight = layer.weight * style[None, :, None, None]
        weight = weight / weight.square().sum((1, 2, 3), keepdim=True).sqrt()
        y = up_convolution(x[i : i + 1], weight, low_pass()) if up else conv2d(x[i : i + 1], weight, padding=1)
        y = leaky_relu(y + 0.3 * layer.noise_const, 0.2) * 2**0.5
        torch.testing.assert_close(out[i : i + 1], y.clamp(-2, 2), rtol=1e-5, atol=1e-5)


# --- The generator --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("psi", "official"),
    [
        (1.0, [-0.50362, 0.989247, -0.247373, 0.011132, -1.240554, 0.985796]),
        (0.5, [-0.578126, 1.017548, -0.21883, 0.056561, -1.45644, 0.991828]),
    ],
)
def test_images_equal_those_of_stylegan2_ada_pytorch(generator, psi, official):
    # Made with its Generator(8, 0, 6, 16, 3), two mapping layers, conv_clamp 1.5, constant noise and the same waves.
    assert numbers(generator(wave("z", (2, 8)), psi)) == pytest.approx(official, abs=2e-5)


def test_the_clamp_matters_in_that_comparison(generator):
    free = StyleGAN2(**{**generator.sizes, "conv_clamp": None})
    free.load_state_dict(generator.state_dict())
    assert not torch.allclose(free(wave("z", (2, 8))), generator(wave("z", (2, 8))), atol=0.01)


def test_psi_zero_gives_the_average_image_for_every_latent(generator):
    images = generator(latents(4, 8, 0), psi=0)
    average = generator.synthesis(generator.mapping.w_avg[None])
    torch.testing.assert_close(images, average.expand_as(images), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(generator(latents(4, 8, 0))[0], images[0], atol=0.01)


def test_psi_draws_w_towards_its_average(generator):
    z = latents(4, 8, 0)
    halfway = (generator.mapping(z) + generator.mapping.w_avg) / 2
    torch.testing.assert_close(generator.mapping(z, psi=0.5), halfway)


def test_only_the_direction_of_a_latent_counts(generator):
    z = latents(4, 8, 0)
    torch.testing.assert_close(generator.mapping(3 * z), generator.mapping(z))


def test_noise_is_constant_and_in_use(generator):
    z = latents(2, 8, 0)
    first = generator(z)
    assert torch.equal(generator(z), first)
    torch.testing.assert_close(generator(z[1:]), first[1:])
    generator.synthesis.b8.conv0.noise_const.add_(1)
    assert not torch.allclose(generator(z), first, atol=0.01)


def test_one_w_or_one_a_layer(generator):
    w = generator.mapping(latents(2, 8, 0))
    images = generator.synthesis(w)
    assert generator.num_ws == 6
    ws = w[:, None].repeat(1, 6, 1)
    torch.testing.assert_close(generator.synthesis(ws), images, rtol=1e-5, atol=1e-5)
    for i in range(6):
        mixed = ws.clone()
        mixed[:, i] = 0
        assert not torch.allclose(generator.synthesis(mixed), images, atol=1e-3)


@pytest.mark.parametrize("shape", [(2, 5), (2, 1, 6), (2, 7, 6), (2, 6, 5), (6,)])
def test_a_wrong_w_is_refused(generator, shape):
    with pytest.raises(ValueError, match=r"w must have shape \(N, 6\) or \(N, 6, 6\), not"):
        generator.synthesis(torch.zeros(shape))


@pytest.mark.parametrize("size", [4, 8, 64, 128])
def test_any_power_of_two_size(size):
    generator = StyleGAN2(8, 8, 1, size, channel_base=128, channel_max=8, mapping_layers=1).eval()
    images = sample(generator, latents(3, generator.latent_dim, 0), batch=2)
    assert images.shape == (3, 1, size, size)
    assert images.isfinite().all()


@pytest.mark.parametrize("size", [2, 12, 0])
def test_other_sizes_are_refused(size):
    with pytest.raises(ValueError, match=f"size must be a power of two of 4 or more, not {size}"):
        StyleGAN2(size=size)


@pytest.mark.parametrize(("base", "narrowest"), [(32768, 32), (16384, 16)])
def test_the_published_configurations_have_their_widths(base, narrowest):
    with torch.device("meta"):
        generator = StyleGAN2(size=1024, channel_base=base)
    assert generator.num_ws == 18
    assert generator.synthesis.b4.const.shape == (512, 4, 4)
    assert generator.synthesis.b1024.torgb.weight.shape == (3, narrowest, 1, 1)


def test_samples_lie_in_range_where_the_images_do_not(generator):
    generator.synthesis.b8.torgb.bias.add_(0.9)
    z = latents(50, 8, 0)
    images = generator(z)
    assert images.max() > 1
    assert torch.equal(sample(generator, z, batch=50), images.clamp(-1, 1))


def test_psi_is_saved_with_the_weights(generator, tmp_path):
    short = StyleGAN2(**generator.sizes | {"psi": 0.5}).eval()
    short.load_state_dict(generator.state_dict())
    save_generator(tmp_path / "short.safetensors", short)
    again = load_generator(tmp_path / "short.safetensors", "stylegan2", CPU)
    z = latents(2, 8, 0)
    torch.testing.assert_close(again(z), generator(z, psi=0.5), rtol=1e-4, atol=1e-5)


def test_seen_from_w_it_makes_the_same_images_from_white_latents():
    torch.manual_seed(0)
    original = StyleGAN2(8, 8, 3, 8, channel_base=64, channel_max=8, mapping_layers=2, psi=0.7).eval()
    seen = seen_from_w(original)
    z = latents(2000, 8, 1)
    w = prior(seen, 2000, 1)
    torch.testing.assert_close(seen(w[:5]), original(z[:5]), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(w.mean(0), torch.zeros(8), atol=0.1, rtol=0)
    torch.testing.assert_close(w.T.cov(), torch.eye(8), atol=0.15, rtol=0)
    assert seen.colour.norm(dim=1).diff().max() < 0  # the first coordinate shows most


def test_seen_from_w_it_is_saved_and_tuned_but_for_the_mapping(tmp_path):
    torch.manual_seed(0)
    seen = seen_from_w(StyleGAN2(8, 8, 3, 16, channel_base=64, channel_max=8, mapping_layers=2).eval(), 500)
    unlearned, _ = unlearn(seen, Edit(torch.eye(8)[0], 0.0), 2, 0, CPU, batch=4)
    save_generator(tmp_path / "w.safetensors", unlearned)
    again, z = load_generator(tmp_path / "w.safetensors", "stylegan2-w", CPU), latents(3, 8, 0)
    torch.testing.assert_close(again(z), unlearned(z), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(unlearned(z), seen(z), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(seen.mapping.parameters(), unlearned.mapping.parameters(), strict=True))


def test_z_and_w_of_different_dimensions_are_refused(generator):
    with pytest.raises(ValueError, match="z has 8 dimensions and w 6"):
        seen_from_w(generator)


def test_labelled_by_eye_it_becomes_a_data_set(tmp_path):
    torch.manual_seed(0)
    original = StyleGAN2(8, 8, 3, 32, channel_base=256, channel_max=8, mapping_layers=2).eval()
    original.synthesis.b32.torgb.bias.data.add_(0.9)  # far beyond the range
    z = prior(original, 90, stream(ANNOTATED, "label"))
    bright = sample(original, z).mean((1, 2, 3))
    labels = (bright > bright.median()).int().tolist()
    (tmp_path / "mine.csv").write_text("index,bright\n" + "".join(f"{i},{label}\n" for i, label in enumerate(labels)))
    dataset = read_labelled(original, tmp_path / "mine.csv", 10, 90, 0, CPU)
    assert dataset.images.shape == (100, 3, 32, 32)
    assert dataset.table["bright"][~dataset.train].tolist() == labels


def test_every_parameter_gets_a_gradient(generator):
    generator.requires_grad_(True)
    generator(latents(4, 8, 0)).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in generator.parameters())


def test_the_method_trains_it(generator):
    torch.manual_seed(0)
    original = StyleGAN2(**generator.sizes).eval()
    unlearned, curve = unlearn(original, Edit(torch.eye(8)[0], 0.0), 2, 0, CPU, batch=4)
    assert curve.step[-1] == 1
    assert not torch.equal(sample(unlearned, latents(4, 8, 0)), sample(original, latents(4, 8, 0)))
    noise = "synthesis.b8.conv0.noise_const"
    assert torch.equal(unlearned.get_buffer(noise), original.get_buffer(noise))


def test_weights_survive_a_safetensors_file(tmp_path, generator):
    save_generator(tmp_path / "g.safetensors", generator)
    loaded = load_generator(tmp_path / "g.safetensors", "stylegan2", CPU)
    assert loaded.sizes == generator.sizes
    torch.testing.assert_close(loaded(latents(2, 8, 0)), generator(latents(2, 8, 0)), rtol=1e-5, atol=1e-5)


# --- NVIDIA's network pickles ---------------------------------------------------------------------------------------------

SOURCE = "import os\nos.system('touch exploded')\n"


class Bomb:
    """Runs a function when it is unpickled."""

    def __init__(self, function=os.system, *arguments):
        self.call = function, arguments or ("touch exploded",)

    def __reduce__(self):
        return self.call


@pytest.fixture(autouse=True)
def official(tmp_path, monkeypatch):
    """The modules that NVIDIA's pickles name, as traps, and an empty current folder in which a bomb leaves its mark."""
    monkeypatch.chdir(tmp_path)
    for name in ("torch_utils", "torch_utils.persistence", "dnnlib", "dnnlib.util"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))

    def _reconstruct_persistent_obj(meta):
        exec(meta["module_src"], {})

    class EasyDict(dict):
        def __setitem__(self, name, value):
            exec(SOURCE, {})

    for made, module in ((_reconstruct_persistent_obj, "torch_utils.persistence"), (EasyDict, "dnnlib.util")):
        made.__module__, made.__qualname__ = module, made.__name__
        setattr(sys.modules[module], made.__name__, made)
    return sys.modules


class Persistent:
    """An object that pickles as one of a class decorated with ``torch_utils.persistence``."""

    def __init__(self, class_name, **state):
        self.meta = {"type": "class", "version": 6, "module_src": SOURCE, "class_name": class_name, "state": state}

    def __reduce__(self):
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (self.meta,), None


def network(tensors, changes=None, prefix=""):
    """The nested persistent objects of a state dict under NVIDIA's names, with the attributes of its classes.

    ``changes`` sets attributes: {"synthesis.b4.": {"architecture": "resnet"}}.
    """
    own = {name: value for name, value in tensors.items() if "." not in name}
    children = dict.fromkeys(name.split(".")[0] for name in tensors if "." in name)
    inner = {}
    for child in children:
        below = {name.removeprefix(f"{child}."): value for name, value in tensors.items() if name.startswith(f"{child}.")}
        inner[child] = network(below, changes, f"{prefix}{child}.")
    buffers = {"w_avg", "noise_const", "resample_filter"}
    attributes = {"training": False, "_init_args": (), "_init_kwargs": sys.modules["dnnlib.util"].EasyDict(w_dim=6)}
    last = prefix.split(".")[-2] if prefix else "generator"
    if prefix == "" or last == "mapping":
        attributes |= {"z_dim": 8, "c_dim": 0, "w_dim": 6}
    elif last == "affine" or last.startswith("fc"):
        mapped = last != "affine"
        attributes |= {"activation": "lrelu" if mapped else "linear", "bias_gain": 0.01 if mapped else 1}
        attributes |= {"weight_gain": np.float64(0.3)}
    elif last.startswith("conv"):
        attributes |= {"activation": "lrelu", "use_noise": True, "conv_clamp": 1.5, "act_gain": np.sqrt(2)}
    elif last == "torgb":
        attributes |= {"conv_clamp": 1.5}
    elif last.startswith("b"):
        attributes |= {"architecture": "skip", "use_fp16": False}
    return Persistent(
        last,
        **(attributes | (changes or {}).get(prefix, {})),
        _parameters=OrderedDict((n, torch.nn.Parameter(v, False)) for n, v in own.items() if n not in buffers),
        _buffers=OrderedDict((n, v) for n, v in own.items() if n in buffers),
        _non_persistent_buffers_set=set(),
        _backward_hooks=OrderedDict(),
        _modules=OrderedDict(inner),
    )


def with_filters(state):
    """NVIDIA's state has the resampling filter in every block and convolution."""
    owners = {name.rpartition(".")[0] for name in state if name.endswith(("torgb.bias", "noise_const"))}
    owners = {owner.removesuffix(".torgb") for owner in owners}
    return {**state, **{f"{owner}.resample_filter": low_pass() for owner in owners}}


def write_nvidia(path, state, changes=None, protocol=3, **more):
    whole = {"training_set_kwargs": {"path": "images"}, "D": None, "G_ema": network(with_filters(state), changes), **more}
    path.write_bytes(pickle.dumps(whole, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_a_network_pickle_is_read_and_its_source_ignored(tmp_path, generator, protocol):
    path = write_nvidia(tmp_path / "ffhq.pkl", generator.state_dict(), protocol=protocol)
    tensors, sizes = read_nvidia(path)
    assert sizes | {"psi": 1.0} == generator.sizes
    assert tensors.keys() == generator.state_dict().keys()
    assert torch.equal(read_generator(path)(latents(2, 8, 0)), generator(latents(2, 8, 0)))
    assert not (tmp_path / "exploded").exists()


def test_that_source_would_have_run(tmp_path, generator):
    path = write_nvidia(tmp_path / "ffhq.pkl", generator.state_dict())
    pickle.loads(path.read_bytes())
    assert (tmp_path / "exploded").exists()


def test_a_foreign_generator_becomes_safetensors(tmp_path, generator):
    path = write_nvidia(tmp_path / "ffhq.pkl", generator.state_dict())
    save_generator(tmp_path / "ffhq.safetensors", read_generator(path))
    loaded = load_generator(tmp_path / "ffhq.safetensors", "stylegan2", CPU)
    torch.testing.assert_close(loaded(latents(2, 8, 0)), generator(latents(2, 8, 0)), rtol=1e-5, atol=1e-5)


def test_other_networks_in_the_file_do_not_matter(tmp_path, generator):
    other = Persistent(
        "Discriminator", _parameters={}, _buffers={}, _modules={}, layers=torch.nn.Sequential(torch.nn.ReLU())
    )
    path = write_nvidia(tmp_path / "ffhq.pkl", generator.state_dict(), D=other, augment_pipe=np.arange(3.0))
    assert read_generator(path).sizes == generator.sizes


def in_torch(content):
    """What torch saves, as bytes."""
    torch.save(content, "saved.pt")
    return Path("saved.pt").read_bytes()


def in_network(content):
    return Persistent("Generator", _parameters={}, _buffers={}, _modules=OrderedDict(synthesis=content))


load = torch.storage._load_from_bytes
# What a file holds, and the global that the error names when it is in a .pkl and in a .pt.
BOMBS = {
    "a call": (lambda: Bomb(), "posix.system", "posix.system"),
    "eval": (lambda: Bomb(eval, "__import__('os').system('touch exploded')"), "builtins.eval", "it asks for eval"),
    "exec": (lambda: Bomb(exec, SOURCE), "builtins.exec", "it asks for exec"),
    "a call in a network": (lambda: in_network(Bomb()), "posix.system", "torch_utils.persistence._reconstruct"),
    "a call in torch's bytes": (lambda: Bomb(load, in_torch([Bomb()])), "posix.system", "torch.storage._load_from_bytes"),
    "a call in other bytes": (
        lambda: Bomb(load, pickle.dumps(Bomb(), 2)),
        "posix.system",
        "torch.storage._load_from_bytes",
    ),
}


def check_refused(path, named):
    """Reading ``path`` ends in one line that names it and ``named``, and nothing has run."""
    for name in ("exploded", "saved.pt"):
        Path(name).unlink(missing_ok=True)
    with pytest.raises(ValueError, match=re.escape(named)) as error:
        read_generator(path)
    assert str(error.value).startswith(f"{path} cannot be read as StyleGAN2 weights")
    assert "nothing in it was executed" in str(error.value)
    assert "\n" not in str(error.value)
    assert not Path("exploded").exists()


@pytest.mark.parametrize("name", BOMBS)
def test_a_malicious_pkl_runs_nothing(tmp_path, name):
    make, named, _ = BOMBS[name]
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps({"G_ema": make()}))
    check_refused(tmp_path / "evil.pkl", named)


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_pt_runs_nothing(tmp_path, name, zipped):
    make, _, named = BOMBS[name]
    torch.save({"g_ema": {"input.input": make()}}, tmp_path / "evil.pt", _use_new_zipfile_serialization=zipped)
    check_refused(tmp_path / "evil.pt", named)


@pytest.mark.parametrize("name", BOMBS)
def test_those_bombs_go_off_when_unpickled_carelessly(name):
    content = pickle.dumps(BOMBS[name][0]())
    with contextlib.suppress(pickle.UnpicklingError, RuntimeError, TypeError):
        pickle.loads(content)
    assert Path("exploded").exists()


@pytest.mark.parametrize(
    ("call", "named"),
    [
        ((getattr, "x", "upper"), "builtins.getattr"),
        ((torch.load, "saved.pt"), "torch.serialization.load"),
        ((torch.hub.load, "x", "y"), "torch.hub.load"),
        ((np.load, "x"), "numpy.load"),
        ((os.getcwd,), "posix.getcwd"),
    ],
)
def test_any_other_name_is_refused(tmp_path, call, named):
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps({"G_ema": Bomb(*call)}))
    check_refused(tmp_path / "evil.pkl", named)


def test_a_dotted_name_under_an_allowed_module_reaches_nothing(tmp_path):
    # GLOBAL 'torch.nn.modules.module torch.os.system', called with the command.
    (tmp_path / "evil.pkl").write_bytes(b"ctorch.nn.modules.module\ntorch.os.system\n(S'touch exploded'\ntR.")
    check_refused(tmp_path / "evil.pkl", "it holds no network G_ema")
    (tmp_path / "evil.pkl").write_bytes(b"ctorch_utils.persistence\nos.system\n(S'touch exploded'\ntR.")
    check_refused(tmp_path / "evil.pkl", "torch_utils.persistence.os.system")
    (tmp_path / "evil.pkl").write_bytes(b"\x80\x04\x8c\x05os\nos\x8c\x06system\x93.")
    check_refused(tmp_path / "evil.pkl", "it asks for os os.system")


def test_the_reader_cannot_be_altered_by_a_file(tmp_path, generator):
    path = write_nvidia(tmp_path / "ffhq.pkl", generator.state_dict())
    for target in (b"ctorch._utils\n_rebuild_tensor_v2\n", b"cnumpy\ndtype\n", b"ccollections\nOrderedDict\n"):
        # BUILD with slots: setattr(target, "__defaults__", ()) and setattr(target, "__setstate__", ())
        for name in (b"__defaults__", b"__setstate__", b"__call__"):
            (tmp_path / "evil.pkl").write_bytes(target + b"(N(S'" + name + b"'\n(tdtb.")
            check_refused(tmp_path / "evil.pkl", "it is damaged")
    assert read_generator(path).sizes == generator.sizes


def test_a_network_inside_itself_is_refused(tmp_path):
    loop = in_network(None)
    loop.meta["state"]["_modules"]["synthesis"] = loop.meta["state"]
    (tmp_path / "loop.pkl").write_bytes(pickle.dumps({"G_ema": loop}))
    check_refused(tmp_path / "loop.pkl", "it is damaged, RecursionError")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"": {"c_dim": 10}}, "it has c_dim 10 where only 0 is supported"),
        ({"synthesis.b8.": {"architecture": "resnet"}}, "it has architecture 'resnet' where only 'skip' is supported"),
        ({"synthesis.b8.": {"architecture": "orig"}}, "it has architecture 'orig' where only 'skip' is supported"),
        ({"synthesis.b8.conv0.": {"activation": "relu"}}, "it has activation 'relu' where only 'lrelu' is supported"),
        ({"synthesis.b8.conv0.": {"use_noise": False}}, "it has use_noise False where only True is supported"),
        ({"mapping.fc1.": {"bias_gain": 0.1}}, "it has bias_gain 0.1 where only 0.01 is supported"),
        ({"synthesis.b8.conv0.": {"conv_clamp": 256}}, "its layers have no single conv_clamp"),
    ],
)
def test_other_variants_are_refused(tmp_path, generator, changes, sentence):
    check_refused(write_nvidia(tmp_path / "ffhq.pkl", generator.state_dict(), changes), sentence)


def test_another_resampling_filter_is_refused(tmp_path, generator):
    state = {**generator.state_dict(), "synthesis.b8.conv0.extra.resample_filter": torch.ones(4, 4) / 16}
    check_refused(write_nvidia(tmp_path / "ffhq.pkl", state), "another filter than [1, 3, 3, 1]")


def test_a_tensorflow_pickle_says_how_to_convert_it(tmp_path):
    (tmp_path / "tf.pkl").write_bytes(b"cdnnlib.tflib.network\nNetwork\n.")
    check_refused(tmp_path / "tf.pkl", "a TensorFlow pickle, which legacy.py of stylegan3 converts")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (pickle.dumps({"G": 1}), "it holds no network G_ema"),
        (pickle.dumps([1, 2]), "it holds no network G_ema"),
        (pickle.dumps({"G_ema": {}}), "it lacks _modules"),
        (b"", "it is damaged, EOFError"),
        (b"not a pickle", "invalid load key"),
        (b"\x80\x04\x8a", "truncated"),
    ],
)
def test_a_pkl_of_something_else_is_refused(tmp_path, content, sentence):
    (tmp_path / "x.pkl").write_bytes(content)
    check_refused(tmp_path / "x.pkl", sentence)


def test_a_truncated_pickle_is_refused(tmp_path, generator):
    path = write_nvidia(tmp_path / "ffhq.pkl", generator.state_dict())
    path.write_bytes(path.read_bytes()[:-1000])
    check_refused(path, "cannot be read")


def test_a_missing_file_is_named(tmp_path):
    for name in ("ffhq.pkl", "ffhq.pt"):
        with pytest.raises(FileNotFoundError, match=name):
            read_generator(tmp_path / name)


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"x.onnx is neither a .pkl of NVIDIA nor a .pt of rosinality"):
        read_generator(tmp_path / "x.onnx")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("mapping.fc1.weight", draw(6, 7), "size mismatch for mapping.fc1.weight"),
        ("synthesis.b8.conv0.weight", draw(8, 8, 1, 1), "size mismatch for synthesis.b8.conv0.weight"),
        ("synthesis.b16.conv1.noise_const", draw(8, 8), "size mismatch for synthesis.b16.conv1.noise_const"),
        ("synthesis.b8.torgb.bias", draw(1), "size mismatch for synthesis.b8.torgb.bias"),
        ("mapping.w_avg", None, "it lacks mapping.w_avg"),
        ("synthesis.b8.conv1.affine.bias", None, "Missing key"),
        ("synthesis.b8.skip", draw(2), "Unexpected key"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(tmp_path, generator, name, value, sentence):
    state = {**generator.state_dict(), name: value}
    state = {name: value for name, value in state.items() if value is not None}
    check_refused(write_nvidia(tmp_path / "ffhq.pkl", state), sentence)


@pytest.mark.parametrize(
    ("size", "stride", "offset"), [((3, 3), (3, 1), 0), ((2,), (-1,), 1), ((4,), (1,), 3), ((1,), (1,), -1)]
)
def test_a_tensor_outside_its_storage_is_refused(tmp_path, size, stride, offset):
    six = torch.storage.TypedStorage(wrap_storage=torch.zeros(6).untyped_storage(), dtype=torch.float32, _internal=True)
    rebuild = torch._utils._rebuild_tensor_v2, six, offset, size, stride, False, OrderedDict()
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"G_ema": Bomb(*rebuild)}))
    check_refused(tmp_path / "x.pkl", "larger than its storage")


# --- rosinality's checkpoints ---------------------------------------------------------------------------------------------


def rosinality_state():
    """A ``g_ema`` of 16 pixels as rosinality's Generator has it, but for 8, 8 and 4 channels at 4, 8 and 16 pixels."""
    shapes = {f"style.{i}.{part}": (8, 8)[:n] for i in (1, 2, 3) for part, n in (("weight", 2), ("bias", 1))}
    shapes["input.input"] = (1, 8, 4, 4)
    for name, n_in, n_out in [
        ("conv1", 8, 8),
        *((f"convs.{i}", n, m) for i, (n, m) in enumerate([(8, 8), (8, 8), (8, 4), (4, 4)])),
    ]:
        shapes |= {f"{name}.conv.weight": (1, n_out, n_in, 3, 3), f"{name}.noise.weight": (1,)}
        shapes |= {f"{name}.activate.bias": (n_out,)}
        shapes |= {f"{name}.conv.modulation.weight": (n_in, 8), f"{name}.conv.modulation.bias": (n_in,)}
    for name, n_in in (("to_rgb1", 8), ("to_rgbs.0", 8), ("to_rgbs.1", 4)):
        shapes |= {f"{name}.conv.weight": (1, 3, n_in, 1, 1), f"{name}.bias": (1, 3, 1, 1)}
        shapes |= {f"{name}.conv.modulation.weight": (n_in, 8), f"{name}.conv.modulation.bias": (n_in,)}
    shapes |= {f"noises.noise_{i}": (1, 1, side, side) for i, side in enumerate((4, 8, 8, 16, 16))}
    kernels = ("convs.0.conv.blur", "convs.2.conv.blur", "to_rgbs.0.upsample", "to_rgbs.1.upsample")
    return {**filled(shapes, "style"), **{f"{name}.kernel": 4 * low_pass() for name in kernels}}


def write_rosinality(path, g_ema, zipped=True, **more):
    whole = {"g": {}, "g_ema": g_ema, "latent_avg": wave("latent_avg", (8,)), **more}
    torch.save(whole, path, _use_new_zipfile_serialization=zipped)
    return path


@pytest.mark.parametrize("zipped", [True, False])
def test_images_equal_those_of_rosinality(tmp_path, zipped):
    # Made with its Generator(16, 8, 3) narrowed to the same widths, randomize_noise=False and the same waves.
    generator = read_generator(write_rosinality(tmp_path / "r.pt", rosinality_state(), zipped)).requires_grad_(False)
    z = wave("z", (2, 8))
    whole = [-0.094612, 1.061006, -0.128595, -1.351482, -0.844419, 1.449589]
    halfway = [-0.234369, 1.18269, 0.11578, -1.69362, -0.942868, 1.679738]
    assert numbers(generator(z)) == pytest.approx(whole, abs=2e-5)
    assert numbers(generator(z, psi=0.5)) == pytest.approx(halfway, abs=2e-5)


def test_a_rosinality_generator_becomes_safetensors(tmp_path):
    generator = read_generator(write_rosinality(tmp_path / "r.pt", rosinality_state()))
    save_generator(tmp_path / "r.safetensors", generator)
    loaded = load_generator(tmp_path / "r.safetensors", "stylegan2", CPU)
    torch.testing.assert_close(loaded(latents(2, 8, 0)), generator(latents(2, 8, 0)), rtol=1e-5, atol=1e-5)


def test_a_checkpoint_of_its_training_is_read(tmp_path):
    options = argparse.Namespace(size=16, path="images", lr=0.002)
    path = write_rosinality(tmp_path / "r.pt", rosinality_state(), args=options, ada_aug_p=0.0)
    assert read_generator(path).sizes["size"] == 16


def test_missing_noise_and_average_are_made_up_the_same_way_each_time(tmp_path):
    state = {name: value for name, value in rosinality_state().items() if not name.startswith("noises")}
    path = write_rosinality(tmp_path / "r.pt", state, latent_avg=None)
    first, second = read_rosinality(path)[0], read_rosinality(path)[0]
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    generator = read_generator(path).requires_grad_(False)
    w = generator.mapping(latents(2000, 8, 1))
    torch.testing.assert_close(first["mapping.w_avg"], w.mean(0), rtol=0, atol=4 * float(w.std(0).max()) / 2000**0.5)
    noise = [value for name, value in first.items() if name.endswith("noise_const")]
    assert [tuple(n.shape) for n in noise] == [(4, 4), (8, 8), (8, 8), (16, 16), (16, 16)]
    assert float(torch.cat([n.flatten() for n in noise]).std()) == pytest.approx(1, abs=0.1)
    assert not torch.equal(noise[1], noise[2])


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("style.2.weight", draw(8, 7), "size mismatch for mapping.fc1.weight"),
        ("convs.1.conv.weight", draw(1, 8, 7, 3, 3), "size mismatch for synthesis.b8.conv1.weight"),
        ("to_rgbs.1.bias", draw(1, 1, 1, 1), "size mismatch for synthesis.b16.torgb.bias"),
        ("convs.3.noise.weight", None, "it lacks convs.3.noise.weight"),
        ("input.input", None, "it lacks input.input"),
        ("convs.9.conv.weight", draw(1), "it has convs.9.conv.weight, which StyleGAN2 has not"),
        ("convs.0.conv.blur.kernel", torch.ones(4, 4), "another filter than [1, 3, 3, 1]"),
    ],
)
def test_rosinality_tensors_that_do_not_fit_are_refused(tmp_path, name, value, sentence):
    state = {**rosinality_state(), name: value}
    state = {name: value for name, value in state.items() if value is not None}
    check_refused(write_rosinality(tmp_path / "r.pt", state), sentence)


def test_a_pt_of_something_else_is_refused(tmp_path):
    torch.save({"weights": torch.zeros(2)}, tmp_path / "x.pt")
    check_refused(tmp_path / "x.pt", "it holds no g_ema")
    (tmp_path / "x.pt").write_bytes(b"PK junk")
    check_refused(tmp_path / "x.pt", "its tensors are damaged")
