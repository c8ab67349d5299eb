"""Every test runs on the CPU, without progress bars, in a results folder of its own."""

import os
import tempfile

import pytest
import torch

from lib.latent import latents
from lib.models import Decoder, Generator


def pytest_configure(config: pytest.Config) -> None:
    os.environ.setdefault("FEATURE_UNLEARNING_RESULTS", tempfile.mkdtemp(prefix="results-"))
    os.environ.update(TQDM_DISABLE="1", CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1")
    torch.set_num_threads(1)


@pytest.fixture
def results(tmp_path, monkeypatch):
    """An empty results folder."""
    monkeypatch.setenv("FEATURE_UNLEARNING_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


@pytest.fixture(params=[Generator, Decoder])
def generator(request):
    """A small random generator of each kind."""
    torch.manual_seed(0)
    generator = request.param(latent_dim=8, width=4).eval()
    with torch.no_grad():  # far enough from grey that an edit can be seen
        for layer in generator.modules():
            if isinstance(layer, torch.nn.ConvTranspose2d):
                layer.weight.normal_(0, 0.3)
    return generator


@pytest.fixture
def z():
    """Sixty-four latents of eight."""
    return latents(64, 8, 0)
