"""Every test runs on the CPU, without progress bars, in a results folder of its own."""

import os
import tempfile

import pytest
import torch

from lib.evaluation import load_bench, see
from lib.latent import latents, prior
from lib.methods.task import load_task
from lib.models import Decoder, Generator, sample


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


@pytest.fixture
def mnist_task():
    """The shipped GAN of digits, to unlearn thick strokes in no time, with what a method of it is scored by."""
    cell, device = ("smoke", "mnist", "gan", 0, "thick"), torch.device("cpu")
    bench = load_bench("smoke", "mnist", "thick", device)
    task = load_task(*cell, bench, 2, 8, device)
    z = prior(task.original, 300, 5)
    before = see(sample(task.original, z), bench)
    reference = before.reading.features[~before.exact][:200]
    return task, z, before, reference, bench
