"""Training loops: they learn, resume exactly, stop at NaN, and leave alone what must stay."""

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from lib.data import to_float
from lib.judges import Judge, fit_judge, read
from lib.latent import Edit
from lib.losses import loss_total
from lib.models import Decoder, Discriminator, Encoder, Generator, sample
from lib.models.dcgan import enlarged
from lib.train import described_by, encode, fit_gan, fit_vae, resolve_device, run_steps, unlearn

CPU = torch.device("cpu")
EDIT = Edit(torch.eye(8)[0], 0.0)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (64, 1, 32, 32), dtype=np.uint8)


def fit_informed(generator, discriminator, images, steps, seed, device, **options):
    """GAN training that asks for readable latents; the descriptions are 64 average pixels and the mean."""
    describe = torch.nn.Sequential(torch.nn.AvgPool2d(4), torch.nn.Flatten())
    options |= {"describe": lambda images: [describe(images), images.mean((2, 3))], "information": [1.0, 2.0]}
    return fit_gan(generator, discriminator, images, steps, seed, device, **options)


def fit_informed_vae(encoder, decoder, images, steps, seed, device, **options):
    """VAE training that asks for latents that tell the mean intensity of each half of the image."""
    describe = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d((2, 1)), torch.nn.Flatten())
    options |= {"describe": lambda images: [describe(images)], "information": options.pop("information", [50.0])}
    return fit_vae(encoder, decoder, images, steps, seed, device, **options)


def gan():
    torch.manual_seed(0)
    return Generator(8, 4), Discriminator(4)


def vae():
    torch.manual_seed(0)
    return Encoder(8, 4), Decoder(8, 4)


def test_unlearn_returns_a_new_generator_and_leaves_the_original_untouched(generator, z):
    before = copy.deepcopy(generator.state_dict())
    unlearned, curve = unlearn(generator, EDIT, 5, 0, CPU)
    assert all(torch.equal(before[name], value) for name, value in generator.state_dict().items())
    assert not torch.equal(sample(unlearned, z), sample(generator, z))
    assert curve.step[-1] == 4


def test_batch_norm_statistics_stay_frozen(generator):
    unlearned, _ = unlearn(generator, EDIT, 3, 0, CPU)
    for name, value in generator.named_buffers():
        assert torch.equal(value, unlearned.get_buffer(name))


def test_unlearning_brings_the_student_to_its_teacher(generator, z):
    unlearned, _ = unlearn(generator, EDIT, 60, 0, CPU, alpha=1.0, batch=64, rate=3e-3)
    target, sim = sample(generator, EDIT(z)), EDIT.similar(z)
    before = loss_total(sample(generator, z), target, sim, 1.0)["total"]
    after = loss_total(sample(unlearned, z), target, sim, 1.0)["total"]
    assert after < 0.7 * before


def stop_at(monkeypatch, module, name, call):
    """Let the function of that name fail at its n-th call, like a killed process."""
    original, calls = getattr(module, name), []

    def counted(*arguments):
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(module, name, counted)


@pytest.mark.parametrize("kind", ["gan", "informed", "vae", "informed vae"])
def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(kind, images, tmp_path, monkeypatch):
    import lib.train

    builds = {"gan": (gan, fit_gan), "informed": (gan, fit_informed)}
    builds |= {"vae": (vae, fit_vae), "informed vae": (vae, fit_informed_vae)}
    build, fit = builds[kind]
    monkeypatch.setattr(lib.train, "CHECKPOINT_EVERY", 4)
    whole, resumed, checkpoint = build(), build(), tmp_path / "c"
    curve = fit(*whole, images, 10, 0, CPU, batch=8)
    with monkeypatch.context() as patch:
        stop_at(patch, lib.train, "average", 7)
        with pytest.raises(KeyboardInterrupt):
            fit(*resumed, images, 10, 0, CPU, batch=8, checkpoint=checkpoint)
    assert checkpoint.is_file()
    fresh = build()
    again = fit(*fresh, images, 10, 0, CPU, batch=8, checkpoint=checkpoint)
    for a, b in zip(whole, fresh, strict=True):
        assert all(torch.equal(a.state_dict()[name], value) for name, value in b.state_dict().items())
    assert again.losses == curve.losses
    assert not checkpoint.exists()


def test_a_checkpoint_of_other_settings_is_not_used(images, tmp_path, monkeypatch):
    import lib.train

    monkeypatch.setattr(lib.train, "CHECKPOINT_EVERY", 2)
    with monkeypatch.context() as patch:
        stop_at(patch, lib.train, "average", 4)
        with pytest.raises(KeyboardInterrupt):
            fit_gan(*gan(), images, 6, 0, CPU, batch=8, checkpoint=tmp_path / "c")
    first, second = gan(), gan()
    fit_gan(*first, images, 6, 1, CPU, batch=8, checkpoint=tmp_path / "c")
    fit_gan(*second, images, 6, 1, CPU, batch=8)
    assert all(torch.equal(first[0].state_dict()[k], v) for k, v in second[0].state_dict().items())


def test_a_checkpoint_of_other_first_weights_or_images_is_not_used(images, tmp_path, monkeypatch):
    import lib.train

    monkeypatch.setattr(lib.train, "CHECKPOINT_EVERY", 2)
    for other_seed, other_images in ((1, images), (0, images[::-1])):
        with monkeypatch.context() as patch:
            stop_at(patch, lib.train, "average", 4)
            with pytest.raises(KeyboardInterrupt):
                fit_gan(*gan(), images, 6, 0, CPU, batch=8, checkpoint=tmp_path / "c")
        torch.manual_seed(other_seed)
        first = Generator(8, 4), Discriminator(4)
        second = copy.deepcopy(first)
        fit_gan(*first, other_images, 6, 0, CPU, batch=8, checkpoint=tmp_path / "c")
        fit_gan(*second, other_images, 6, 0, CPU, batch=8)
        assert all(torch.equal(first[0].state_dict()[k], v) for k, v in second[0].state_dict().items())


def test_a_training_without_a_step_is_refused(images):
    with pytest.raises(ValueError, match="steps of training must be 1 or more, not 0"):
        fit_gan(*gan(), images, 0, 0, CPU)


def test_what_reads_descriptions_has_first_weights_of_the_seed_alone(images):
    found = []
    for number in (0, 1):
        pair = gan()
        torch.manual_seed(number)  # of no account
        before = torch.random.get_rng_state()
        fit_gan(*pair, images, 2, 0, CPU, batch=8, describe=lambda x: [x.flatten(1)[:, :4]], information=[1.0])
        assert torch.equal(torch.random.get_rng_state(), before)
        found.append(pair[0].state_dict())
    assert all(torch.equal(found[0][k], v) for k, v in found[1].items())


def test_a_killed_process_resumes_to_the_same_weights(tmp_path):
    script = """
import os, signal, sys, torch
import lib.train
from lib.latent import Edit
from lib.models import Generator, save_generator
from pathlib import Path
torch.set_num_threads(1)
torch.manual_seed(0)
lib.train.CHECKPOINT_EVERY = 5
if sys.argv[2] == "die":
    real, calls = lib.train.descend, []
    def descend(*a):
        calls.append(1)
        if len(calls) == 13:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*a)
    lib.train.descend = descend
folder = Path(sys.argv[1])
new, _ = lib.train.unlearn(Generator(8, 4), Edit(torch.eye(8)[0], 0.0), 20, 0, torch.device("cpu"), checkpoint=folder / "c")
save_generator(folder / "g.safetensors", new)
"""
    for folder, modes in (("once", ["live"]), ("twice", ["die", "live"])):
        (tmp_path / folder).mkdir()
        for mode in modes:
            code = subprocess.run([sys.executable, "-c", script, str(tmp_path / folder), mode], check=False).returncode
            assert code == (-9 if mode == "die" else 0)
    assert (tmp_path / "once/g.safetensors").read_bytes() == (tmp_path / "twice/g.safetensors").read_bytes()


def test_nan_stops_and_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    import lib.train

    monkeypatch.setattr(lib.train, "CHECKPOINT_EVERY", 10)
    layer = torch.nn.Linear(1, 1)

    with pytest.raises(FloatingPointError, match=r"loss 'loss' became nan at step 29; the last good checkpoint is .*c"):
        run_steps(step_after(25), {"layer": layer}, 40, tmp_path / "c", None)
    from lib.weights import load_tensors

    assert load_tensors(tmp_path / "c", "checkpoint")[1]["step"] == 20


def step_after(first_bad):
    """A step whose loss is NaN from ``first_bad`` on, as it stays once weights are NaN."""
    return lambda i: {"loss": torch.tensor(float("nan") if i >= first_bad else 1.0)}


def test_a_judge_learns_what_can_be_seen():
    rng = np.random.default_rng(0)
    bright = rng.random(256) < 0.5
    images = (rng.integers(0, 60, (256, 1, 32, 32)) + 180 * bright[:, None, None, None]).astype(np.uint8)
    judge = Judge(2, width=4)
    fit_judge(judge, images, bright.astype(np.int64), 40, 0, CPU, batch=32)
    said = read(judge, torch.from_numpy(images).float() / 127.5 - 1).classes
    assert (said == bright).mean() > 0.95


def test_reading_does_not_depend_on_the_batch_size():
    torch.manual_seed(0)
    judge, images = Judge(3, width=4).eval(), torch.rand(30, 1, 32, 32) * 2 - 1
    a, b = read(judge, images, batch=7), read(judge, images, batch=30)
    assert np.allclose(a.logits, b.logits, atol=1e-5)


def test_sampling_does_not_depend_on_the_batch_size(generator, z):
    assert torch.allclose(sample(generator, z, batch=9), sample(generator, z, batch=64), atol=1e-5)


def test_a_device_that_does_not_exist_is_refused():
    assert resolve_device("cpu") == CPU
    for name in ("cuda:9", "abacus"):
        with pytest.raises(ValueError, match=f"DEVICE '{name}' does not exist"):
            resolve_device(name)


def test_training_draws_its_latents_from_its_own_generator(generator):
    state = torch.get_rng_state()
    unlearn(generator, EDIT, 2, 0, CPU)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_resizing_generator_leaves_no_checkerboard_on_a_flat_image():
    torch.manual_seed(0)
    plain, resizing = (Generator(8, 4, 3, 64, resize=resize) for resize in (False, True))

    @torch.no_grad()
    def roughness(generator):
        x = torch.ones(1, generator.body[0].num_features, 4, 4)
        for layer in generator.eval().body:
            if hasattr(layer, "kernel_size"):
                layer.weight.normal_(0, 0.3)
            x = layer(x)
        middle = x[..., 24:40, 24:40]  # far from the zeros that pad the border
        return float(middle.std((2, 3)).max() / middle.abs().max())

    assert roughness(resizing) < 1e-5
    assert roughness(plain) > 1e-2


def test_doubled_pixels_and_their_convolution_are_one_step_with_the_same_numbers_and_gradients():
    torch.manual_seed(0)
    generator = Generator(8, 4, 3, 64, resize=True).eval()
    z = torch.randn(5, 8)
    x = generator.project(z).unflatten(1, (-1, 4, 4))
    for layer in generator.body:
        x = layer(x)
    torch.testing.assert_close(generator(z), x)
    convolution = nn.Conv2d(3, 5, 3, padding=1)
    small = torch.randn(2, 3, 4, 6, requires_grad=True)
    weight = torch.randn(2, 5, 8, 12)
    ways = (convolution(torch.nn.functional.interpolate(small, scale_factor=2)), enlarged(small, convolution))
    wanted = (small, convolution.weight, convolution.bias)
    slow, fast = (torch.autograd.grad((weight * way).sum(), wanted) for way in ways)
    torch.testing.assert_close(ways[1], ways[0])
    torch.testing.assert_close(fast, slow)


def test_the_vae_shows_colours_at_their_mean_and_digits_sharper():
    torch.manual_seed(0)
    z = torch.randn(4, 8)
    for channels, factor in ((3, 0.5), (1, 1.0)):
        decoder = Decoder(8, 4, channels, 32).eval()
        assert torch.allclose(decoder(z), (factor * decoder.logits(z)).tanh())


def test_an_informed_encoder_makes_the_description_readable():
    rng = np.random.default_rng(0)
    levels = rng.integers(100, 156, (512, 2))  # two half-images a little brighter or darker, under strong noise
    halves = np.repeat(levels, 16, 1)[:, None, :, None]
    images = np.clip(halves + rng.normal(0, 60, (512, 1, 32, 32)), 0, 255).astype(np.uint8)

    def readable(information):
        encoder, decoder = vae()
        fit_informed_vae(encoder, decoder, images, 60, 0, CPU, batch=64, beta=20.0, information=[information])
        mean = encode(encoder, images, CPU)[0].double().numpy()
        design = np.c_[mean, np.ones(512)]
        left = levels - design @ np.linalg.lstsq(design, levels, rcond=None)[0]
        return 1 - left.var() / levels.var()

    assert readable(500.0) > readable(0.001) + 0.2


@pytest.mark.parametrize("training", [False, True])
def test_a_judge_sees_what_its_layers_one_by_one_do(training):
    torch.manual_seed(0)
    judge = Judge(2, 4, channels=3, size=16)
    judge(torch.randn(64, 3, 16, 16))  # norms that have seen something
    judge.train(training).requires_grad_(False)
    images, layers = torch.randn(5, 3, 16, 16, requires_grad=True), list(judge.features)
    for found, end in zip(judge.maps(images), (4, 8, 12), strict=True):
        torch.testing.assert_close(found, nn.Sequential(*layers[:end])(images))
    logits = judge.head(nn.Sequential(*layers)(images))
    torch.testing.assert_close(judge(images), logits)
    slopes = [torch.autograd.grad(value.sum(), images)[0] for value in (judge(images), logits)]
    torch.testing.assert_close(*slopes)


def test_descriptions_of_all_images_are_those_of_each():
    images = np.random.default_rng(0).integers(0, 256, (7, 1, 4, 4), dtype=np.uint8)
    flat, bright = described_by(lambda x: [x.flatten(1), x.mean((1, 2, 3))[:, None]], images, torch.device("cpu"), batch=3)
    torch.testing.assert_close(flat, to_float(images).flatten(1))
    torch.testing.assert_close(bright[:, 0], to_float(images).mean((1, 2, 3)))
