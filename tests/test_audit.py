"""The audit: on models it has never seen, of another latent size, image size and number of channels."""

import json
import subprocess
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from lib import audit
from lib.labels import write_marks
from lib.latent import latents, stream
from lib.models import Decoder, StyleGAN2, sample, save_generator

CPU = torch.device("cpu")


class Discs(nn.Module):
    """Grey images of 48 pixels with a disc, its place and its size from three latents; ``small`` forbids large ones."""

    def __init__(self, small: bool):
        super().__init__()
        side = torch.linspace(-1, 1, 48)
        self.register_buffer("x", side.repeat(48, 1))
        self.register_buffer("y", side[:, None].repeat(1, 48))
        self.weight = nn.Parameter(torch.ones(1, 1))
        self.small = small

    def forward(self, z):
        size = z[:, 2].clamp(max=0.5) if self.small else z[:, 2]
        radius = (0.35 + 0.12 * size)[:, None, None]
        away = (self.x - 0.2 * z[:, 0, None, None]).square() + (self.y - 0.2 * z[:, 1, None, None]).square()
        return self.weight * (25 * (radius - (away + 1e-6).sqrt())).tanh()[:, None]


def large():
    return Discs(small=False)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two models as TorchScript, and labels of 300 samples: a disc is large where its latent is."""
    home = tmp_path_factory.mktemp("models")
    for name, small in (("before", False), ("after", True)):
        torch.jit.script(Discs(small)).save(str(home / f"{name}.pt"))
    z = latents(300, 5, stream(0, "label"))
    write_marks(home / "labels.csv", {i: str(int(size > 0.9)) for i, size in enumerate(z[:, 2].tolist())})
    return home


@pytest.fixture(scope="module")
def found(files, tmp_path_factory):
    out = tmp_path_factory.mktemp("audit")
    command = [sys.executable, "-m", "lib.audit", "--device", "cpu", "--latent-dim", "5", "--n", "300", "--n-attack", "6"]
    places = {"original": "before.pt", "generator": "after.pt", "labels": "labels.csv"}
    command += [word for name, file in places.items() for word in (f"--{name}", str(files / file))]
    subprocess.run([*command, "--out", str(out)], check=True, capture_output=True, text=True)
    return json.loads((out / "audit.json").read_text()), (out / "audit.html").read_text()


def test_the_feature_is_seen_before_and_gone_after(found):
    numbers, _ = found
    assert numbers["labels"]["judge B AUC"] > 0.95
    assert numbers["ratio"]["original"]["raw"][0] > 0.1
    assert numbers["ratio"]["unlearned"]["raw"][0] < 0.03
    assert numbers["ratio"]["unlearned"]["corrected"][0] <= numbers["ratio"]["unlearned"]["raw"][0]


def test_what_was_left_alone_is_found_unchanged(found):
    numbers, _ = found
    assert numbers["preservation"]["MS-SSIM"][0] > 0.95
    assert numbers["preservation"]["L1"][0] < 0.03


def test_every_attack_was_run_on_both_models(found):
    numbers, _ = found
    rows = numbers["attacks"]
    kinds = {"none", "latent search", "amplification", "rounding", "weight noise", "pruning"}
    assert {row["attack"] for row in rows} == kinds
    assert sum(row["model"] == "original" for row in rows) == sum(row["model"] == "unlearned" for row in rows) == 12
    amplified = {row["model"]: row["success"][0] for row in rows if row["budget"] == "strength 4"}
    assert amplified["original"] > amplified["unlearned"] + 0.5


def test_the_page_holds_numbers_figures_and_the_models_digests(found):
    numbers, page = found
    assert all(len(numbers["models"][name]) == 64 for name in ("original", "unlearned"))
    assert all(f"<h2>{name}</h2>" in page for name in ("ratio", "attacks", "metric card", "with the feature"))
    assert page.count("data:image/png;base64,") == 2
    assert all(digest in page for digest in numbers["models"].values())


def test_the_distance_of_a_small_change_is_not_below_that_of_no_change(found):
    numbers, _ = found
    moved, floor = numbers["distance"]["original to unlearned"], numbers["distance"]["original to itself"]
    assert moved[0] > 0.5 * floor[0]  # of the same latents it would be far below


def test_weights_that_cannot_be_reached_are_not_said_to_be_attacked(files):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.freeze(torch.jit.load(str(files / "before.pt")).eval()).save(str(files / "frozen.pt"))
    frozen, whole = (audit.load(str(files / f"{name}.pt"), 5, CPU) for name in ("frozen", "before"))
    judges = SimpleNamespace(score=lambda images: images.mean((1, 2, 3)), says=lambda images: np.ones(len(images), bool))
    rows = audit.attacks({"original": whole, "unlearned": frozen}, judges, torch.ones(5), 2, 0)
    tables = audit.tables({"attacks": rows})["attacks"]
    assert [sum(row["model"] == name for row in rows) for name in ("original", "unlearned")] == [12, 7]
    assert tables.unlearned["rounding"].tolist() == ["-", "-"]
    assert tables.unlearned["none"].tolist() == ["1 [0.3424, 1]"]


def test_generators_that_do_not_belong_together_are_refused(files):
    whole = audit.load(str(files / "before.pt"), 5, CPU)
    torch.manual_seed(0)
    other = audit.Rgb(Decoder(5, 4))
    with pytest.raises(ValueError, match=r"latents of 5 and 5, images of \(3, 48, 48\) and \(3, 32, 32\)"):
        audit.require_alike(whole, other)


def test_a_callable_and_the_kits_own_file_are_generators_too(tmp_path):
    assert audit.load(f"{__name__}:large", 5, CPU)(latents(2, 5, 0)).shape == (2, 3, 48, 48)
    torch.manual_seed(0)
    save_generator(tmp_path / "own.safetensors", Decoder(8, 4))
    assert audit.load(str(tmp_path / "own.safetensors"), 0, CPU)(latents(2, 8, 0)).shape == (2, 3, 32, 32)


def test_a_stylegan2_that_leaves_the_range_a_little_is_clamped(tmp_path):
    torch.manual_seed(0)
    original = StyleGAN2(8, 8, 3, 16, channel_base=64, channel_max=8, mapping_layers=1).eval().requires_grad_(False)
    z = latents(50, 8, 0)
    loudest = original(z).abs().quantile(0.98)
    for name in original.synthesis.blocks:
        original.synthesis.get_submodule(name).torgb.weight.div_(loudest)
    save_generator(tmp_path / "before.safetensors", original)
    generator = audit.load(str(tmp_path / "before.safetensors"), 0, CPU)
    assert generator.sizes == {"size": 16}
    assert 0.01 < (original(z).abs() > 1).float().mean() < 0.03
    torch.testing.assert_close(sample(generator, z), original(z).clamp(-1, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("place", "latent_dim", "words"),
    [
        ("missing.pt", 5, "does not exist"),
        ("lib.nowhere:model", 5, "no callable"),
        ("lib.audit:nothing", 5, "no callable"),
        ("math:sqrt", 5, "must return a torch module when called without arguments"),
        ("builtins:dict", 5, "must return a torch module"),
        ("before.pt", 1, "--latent-dim"),
        ("labels.csv", 5, "not TorchScript"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(files, place, latent_dim, words):
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        audit.load(place if ":" in place else str(files / place), latent_dim, CPU)


def test_images_out_of_range_are_refused():
    class Bright(Discs):
        def forward(self, z):
            return 3 + super().forward(z)

    with pytest.raises(ValueError, match="outside"):
        audit.check(audit.Rgb(audit.Foreign(Bright(small=False), 5)), "bright")
