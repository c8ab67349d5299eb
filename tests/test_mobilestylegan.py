"""MobileStyleGAN: parity with the original runtime, both ways in (z and w), and the read-out made of it."""

import copy
import hashlib
import zipfile

import numpy as np
import openvino
import pytest
import torch
from torch.nn.functional import adaptive_avg_pool2d

from lib.archives import fetch, member
from lib.latent import Edit, latents, prior, stream
from lib.metrics import l1
from lib.models import mobilestylegan, sample
from lib.models.mobilestylegan import MobileStyleGAN, constants, inverse_haar, pretrained
from lib.models.readout import (
    Head,
    ReadOut,
    at_full_size,
    coarser,
    downsampled,
    fit,
    fitted,
    pretrained_read_out,
    put_back,
    r_squared,
    save_head,
    seen_from_w,
    truncate,
)
from lib.runs import shipped
from lib.train import unlearn
from lib.weights import load_module, save_module

INSIDE = "random_face/data/"
SHA256 = {
    64: "0dfd8abb6c6258d194ed5cc2801d6c142835ba986c52e6f19fdad30905784729",
    128: "59939309dfeed3f32fc12f49f0e7087088573cb719aaf7060bae2339f8448936",
}


@pytest.fixture(scope="module")
def model():
    """The pre-trained network; no test changes it."""
    return pretrained()


@pytest.fixture(scope="module")
def read_out():
    """The shipped read-out of 64 px; no test changes it."""
    return pretrained_read_out()


@pytest.fixture(scope="module")
def held_out(model):
    """w (6, 512) that no fit has seen, and their area-downsampled full images."""
    with torch.no_grad():
        w = model.to_w(latents(6, 512, stream(0, "held out")))
        return w, downsampled(model, w, 64)


@pytest.fixture
def archive(tmp_path):
    """A function that copies the archive, with one text replaced in SynthesisNetwork.xml or its .bin cut short."""

    def changed(old=b"", new=b"", length=None):
        path = tmp_path / "changed.whl"
        with zipfile.ZipFile(path, "w") as file:
            for name in ("MappingNetwork.xml", "MappingNetwork.bin", "SynthesisNetwork.xml", "SynthesisNetwork.bin"):
                data = member(fetch("random-face"), INSIDE + name)
                if name == "SynthesisNetwork.xml":
                    data = data.replace(old, new)
                file.writestr(INSIDE + name, data[: length if name == "SynthesisNetwork.bin" else None])
        return path

    return changed


def original(name):
    """A network of the archive in the runtime it was made for, in full precision."""
    data = [member(fetch("random-face"), f"{INSIDE}{name}.{kind}") for kind in ("xml", "bin")]
    core = openvino.Core()
    network = core.read_model(data[0], data[1])
    return core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})


def test_one_face_agrees_with_openvino(model):
    z = latents(1, 512, 0)
    w = original("MappingNetwork")(z.numpy())[0]
    image = original("SynthesisNetwork")(w)[0]
    with torch.no_grad():
        ours = model.mapping(z)
        ours_image = model.to_image(model.synthesis(ours), ours)
    assert ours_image.shape == (1, 3, 1024, 1024)
    assert np.abs(ours.numpy() - w).max() <= 1e-4
    assert np.abs(ours_image.numpy() - image).max() <= 1e-3


def test_inverse_haar_of_known_bands():
    bands = torch.tensor([4.0, 1.0, 2.0, 0.5]).view(1, 4, 1, 1)  # average, vertical, horizontal, diagonal
    assert inverse_haar(bands).tolist() == [[[[3.75, 1.25], [2.25, 0.75]]]]


def test_inverse_haar_keeps_energy_and_halves_the_average_band():
    x = torch.randn(2, 12, 5, 5, generator=torch.Generator().manual_seed(0))
    y = inverse_haar(x)
    torch.testing.assert_close(y.square().sum(), x.square().sum())
    torch.testing.assert_close(adaptive_avg_pool2d(y, 5), x[:, :3] / 2)


@torch.no_grad()
def test_a_batch_gives_what_its_members_give(read_out):
    z = latents(2, 512, 1)
    together = read_out(z)
    assert together.shape == (2, 3, 64, 64)
    assert together.abs().max() <= 1
    torch.testing.assert_close(together, torch.cat([read_out(one) for one in z.split(1)]), atol=1e-4, rtol=0)


@torch.no_grad()
def test_z_and_w_lead_to_the_same_image(read_out):
    z = latents(2, 512, 2)
    assert read_out.to_w(z).shape == (2, 512)
    torch.testing.assert_close(read_out(z), read_out.synthesize(read_out.to_w(z)))


@torch.no_grad()
def test_seen_from_w_the_same_latents_make_the_same_images(read_out):
    generator = seen_from_w(read_out, 3000)
    z = latents(2, 512, 2)
    torch.testing.assert_close(generator(generator.enter(z)), read_out(z), atol=2e-3, rtol=0)
    torch.testing.assert_close(prior(generator, 2, 2), generator.enter(z))


@torch.no_grad()
def test_whitened_w_has_mean_zero_and_unit_covariance(read_out):
    u = prior(seen_from_w(read_out, 3000), 3000, stream(0, "whiten"))
    torch.testing.assert_close(u.mean(0), torch.zeros(512), atol=1e-2, rtol=0)
    variance = u.var(0)
    assert variance.max() < 1.02
    assert (variance > 0.98).float().mean() > 0.5  # axes that w hardly uses stay short


@torch.no_grad()
def test_psi_of_zero_is_the_average_face_and_of_one_is_no_truncation(model):
    z = latents(3, 512, 3)
    average = truncated_at(model, 0.0).to_w(z)
    torch.testing.assert_close(average, model.average.expand(3, -1))
    torch.testing.assert_close(truncated_at(model, 1.0).to_w(z), model.mapping(z))
    assert average.std(0).max() == 0
    assert model.mapping(z).std(0).min() > 0


def truncated_at(model, psi):
    """A network with the same mapping and another psi."""
    other = MobileStyleGAN(psi)
    other.mapping.load_state_dict(model.mapping.state_dict())
    other.average.copy_(model.average)
    return other


@torch.no_grad()
def test_samples_in_half_precision_are_those_of_the_read_out_but_for_rounding(read_out):
    z = latents(4, 512, 6)
    assert l1(sample(read_out, z), read_out(z)).max() < 0.02


@torch.no_grad()
def test_w_is_whitened_along_its_principal_components_the_largest_first(read_out):
    lengths = seen_from_w(read_out, 3000).colour.norm(dim=1)
    assert (lengths.diff() <= 1e-6).all()
    assert lengths[0] > 2 * lengths[64]


@torch.no_grad()
def test_blocks_put_back_make_the_full_image_of_the_network(model, read_out):
    z = latents(1, 512, 5)
    torch.testing.assert_close(put_back(read_out, model)(z), model(z))
    torch.testing.assert_close(at_full_size(read_out, z, 64), downsampled(model, model.to_w(z), 64))


@torch.no_grad()
def test_a_change_of_the_blocks_shows_at_full_size_and_leaves_the_network_as_it_is(model, read_out):
    z, changed = latents(1, 512, 5), copy.deepcopy(read_out)
    before = model(z)
    changed.synthesis.blocks[-1].conv2.depthwise.mul_(0.5)
    assert l1(put_back(changed, model)(z), before) > 0.01
    torch.testing.assert_close(model(z), before)


@pytest.mark.parametrize("build", [lambda read_out: read_out, lambda read_out: seen_from_w(read_out, 600)])
def test_unlearning_tunes_only_what_goes_back_into_the_network(read_out, build):
    generator = build(read_out)
    unlearned, _ = unlearn(generator, Edit(torch.eye(512)[0], 0.0), 2, 0, torch.device("cpu"), batch=2)
    same = {
        name: torch.equal(a, b) for (name, a), b in zip(generator.named_parameters(), unlearned.parameters(), strict=True)
    }
    assert all(same[name] for name in same if name.startswith(generator.frozen))
    assert not all(same[name] for name in same if name.startswith("synthesis"))


@torch.no_grad()
def test_the_full_image_is_what_the_read_out_reads(read_out, held_out):
    w, images = held_out
    assert r_squared(read_out.synthesize(w), images) >= 0.97


@torch.no_grad()
def test_the_fit_beats_the_head_it_starts_from(model, read_out, held_out):
    w, images = held_out
    assert r_squared(read_out.synthesize(w), images) > r_squared(truncate(model, 64).synthesize(w), images) + 0.005


def test_a_few_steps_of_fit_change_the_head_alone_and_lower_the_error(model, held_out):
    w, images = held_out
    read_out = truncate(model, 64)
    before = {name: value.clone() for name, value in read_out.state_dict().items()}
    curve = fit(read_out, w, images, steps=6, seed=0, batch=2, rate=1e-5)
    changed = {name for name, value in read_out.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {f"head.{name}" for name in fitted(read_out.head)}
    assert len(curve.step) == 2
    with torch.no_grad():
        after = r_squared(read_out.synthesize(w), images)
        assert after > r_squared(truncate(model, 64).synthesize(w), images)


def test_every_tensor_gets_a_gradient(model):
    read_out = truncate(model, 64)
    read_out(latents(1, 512, 4)).square().mean().backward()
    without = [name for name, value in read_out.named_parameters() if value.grad is None or not value.grad.any()]
    assert without == []


@torch.no_grad()
def test_a_coarser_kernel_keeps_its_sum_and_its_symmetry():
    kernel = torch.arange(9.0).view(1, 1, 3, 3)
    assert torch.equal(coarser(kernel, 1), kernel)
    torch.testing.assert_close(coarser(kernel, 4).sum(), kernel.sum())
    torch.testing.assert_close(coarser(kernel.flip(-1), 4), coarser(kernel, 4).flip(-1))


def test_unlearned_read_outs_are_saved_like_any_generator(read_out, tmp_path):
    save_module(tmp_path / "g.safetensors", read_out, "ffhq-generator", **read_out.sizes)
    again = load_module(tmp_path / "g.safetensors", ReadOut, "ffhq-generator", torch.device("cpu"))
    assert again.psi == read_out.psi
    with torch.no_grad():
        torch.testing.assert_close(again(latents(1, 512, 5)), read_out(latents(1, 512, 5)))


@pytest.mark.parametrize("size", SHA256)
def test_the_shipped_head_is_small_and_the_one_of_record(size):
    path = shipped("ffhq", f"read-out-{size}.safetensors")
    assert path.stat().st_size <= 5_000_000
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA256[size]


def test_a_head_of_another_size_is_refused(tmp_path):
    save_head(tmp_path / "head.safetensors", ReadOut(128))
    with pytest.raises(ValueError, match=r"head.safetensors holds the head of another read-out, not of 64 px"):
        pretrained_read_out(64, path=tmp_path / "head.safetensors")


def test_a_size_without_a_head_says_how_to_make_one():
    with pytest.raises(FileNotFoundError, match=r"read-out-32.safetensors is missing: .*fit_read_out"):
        pretrained_read_out(32)


def test_a_missing_constant_is_named(archive):
    changed = archive(b"m.layers.3.conv2.conv.weight_dw", b"renamed")
    with pytest.raises(ValueError, match=r"SynthesisNetwork.xml lacks the constant 'm.layers.3.conv2.conv.weight_dw'"):
        pretrained(archive=changed)


def test_a_constant_of_another_size_is_named(archive):
    changed = archive(b'shape="64, 512" offset="0" size="131072"', b'shape="32, 512" offset="0" size="65536"')
    with pytest.raises(ValueError, match=r"m.layers.6.to_img.conv.modulation.weight' of shape \(32, 512\)"):
        pretrained(archive=changed)


def test_weights_cut_short_are_refused(archive):
    with pytest.raises(ValueError, match=r"SynthesisNetwork.xml is not a readable OpenVINO network .*fetch it again"):
        pretrained(archive=archive(length=1000))


def test_constants_are_read_by_name_shape_and_offset():
    layer = '<layer name="{}" type="{}"><data element_type="{}" shape="{}" offset="{}" size="{}"/></layer>'
    layers = [("a", "Const", "f32", "2, 1", 4, 8), ("b", "Const", "i64", "1", 0, 8), ("c", "Const", "f32", "", 0, 4)]
    xml = "".join(layer.format(*values) for values in [*layers, ("d", "Add", "f32", "1", 0, 4)])
    found = constants(f"<net><layers>{xml}</layers></net>".encode(), np.array([1, 2, 3], "<f4").tobytes(), "x.xml")
    assert {name: value.tolist() for name, value in found.items()} == {"a": [[2.0], [3.0]], "c": 1.0}


def test_each_parameter_has_one_constant_and_no_constant_serves_twice():
    full = MobileStyleGAN()
    for module, names in (
        (full.mapping, mobilestylegan.mapping_names()),
        (full.synthesis, mobilestylegan.synthesis_names()),
        (full.to_image, mobilestylegan.to_image_names()),
    ):
        assert {name for name, _ in module.named_parameters()} == set(names)
        assert len(set(names.values())) == len(names)


def test_a_head_has_the_blocks_the_network_was_cut_of():
    assert [len(Head(blocks, 8).blocks) for blocks in (4, 5)] == [3, 2]
