"""Bad input ends in one clear sentence, and nothing half-written stays behind."""

import json
import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lib import data, files, runs
from lib.judges import Judge, load_judge, read, save_judge
from lib.labels import overruled, read_labels
from lib.models import Generator, load_generator, save_generator

CPU = torch.device("cpu")


@pytest.fixture
def mnist(tmp_path):
    shutil.copytree(runs.ROOT / "data" / "mnist", tmp_path / "mnist")
    return tmp_path / "mnist"


def test_a_truncated_mnist_file_is_named(mnist):
    path = mnist / "train-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"train-labels-idx1-ubyte.gz is truncated or altered"):
        data.read_mnist(mnist)


def test_an_altered_mnist_file_is_named(mnist):
    path = mnist / "t10k-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte.gz is truncated or altered"):
        data.read_mnist(mnist)


def test_a_missing_mnist_file_is_named_with_the_remedy(mnist):
    (mnist / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte.gz is missing: restore it with `git checkout"):
        data.read_mnist(mnist)


@pytest.mark.parametrize(
    ("name", "maker"),
    [("dataset.npz", "01_data"), ("direction.safetensors", "03_direction"), ("judge.json", "03_direction")],
)
def test_a_missing_upstream_file_names_the_notebook_that_makes_it(results, name, maker):
    with pytest.raises(FileNotFoundError, match=rf"{name} is missing: run notebook {maker} first"):
        runs.find("smoke", "mnist", "gan", 7, "thick", name)


def test_a_damaged_dataset_is_refused(tmp_path):
    (tmp_path / "dataset.npz").write_bytes(b"PK not really")
    with pytest.raises(ValueError, match=r"dataset.npz is not a readable dataset"):
        data.load(tmp_path / "dataset.npz")


class Bomb:
    def __reduce__(self):
        return os.system, ("touch exploded",)


@pytest.mark.parametrize("suffix", [".pkl", ".pt", ".pth"])
def test_a_pickle_is_refused_unopened(tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="looks like a pickle"):
        load_generator(path, "gan", CPU)
    assert not (tmp_path / "exploded").exists()


def test_a_pickle_under_another_name_is_refused_unopened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "generator.safetensors"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="damaged or not a safetensors file"):
        load_generator(path, "gan", CPU)
    assert not (tmp_path / "exploded").exists()


def test_corrupted_weights_are_refused(tmp_path):
    path = tmp_path / "generator.safetensors"
    save_generator(path, Generator(8, 4))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"generator.safetensors is damaged"):
        load_generator(path, "gan", CPU)


def test_foreign_weights_are_refused(tmp_path):
    save_file({"w": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match=r"foreign.safetensors holds 'foreign weights', not 'gan-generator'"):
        load_generator(tmp_path / "foreign.safetensors", "gan", CPU)
    save_judge(tmp_path / "judge.safetensors", Judge(2))
    with pytest.raises(ValueError, match="holds 'judge', not 'vae-generator'"):
        load_generator(tmp_path / "judge.safetensors", "vae", CPU)


def test_weights_of_other_sizes_are_refused(tmp_path):
    tensors = {name: value.contiguous() for name, value in Generator(8, 4).state_dict().items()}
    about = json.dumps({"kind": "gan-generator", "sizes": {"latent_dim": 9, "width": 4, "channels": 1}})
    save_file(tensors, tmp_path / "g.safetensors", {"about": about})
    with pytest.raises(ValueError, match=r"g.safetensors does not fit Generator"):
        load_generator(tmp_path / "g.safetensors", "gan", CPU)


def test_weights_survive_a_file(tmp_path, generator, z):
    model = "gan" if isinstance(generator, Generator) else "vae"
    save_generator(tmp_path / "g.safetensors", generator)
    assert torch.equal(load_generator(tmp_path / "g.safetensors", model, CPU)(z), generator(z))
    save_judge(tmp_path / "j.safetensors", Judge(2, width=4))
    assert load_judge(tmp_path / "j.safetensors", CPU).sizes["width"] == 4


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("idx,label\n1,1\n", "a label file has the columns index,label"),
        ("index,label,who\n1,1,me\n", "a label file has the columns index,label"),
        ("index,label\n1,1\n1,0\n", "line 3: index 1 is given twice"),
        ("index,label\n50,1\n", r"line 2: index 50 is outside 0\.\.9"),
        ("index,label\n-1,1\n", "index '-1' is not a whole number"),
        ("index,label\n2,maybe\n", "label 'maybe' must be 0, 1 or unsure"),
        ("index,label\n1,0\n2,unsure\n", "has no positive label"),
        ("", "columns None"),
    ],
)
def test_bad_label_files_are_refused(tmp_path, text, sentence):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read_labels(path, 10)


def test_a_missing_label_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"labels.csv does not exist"):
        read_labels(tmp_path / "labels.csv", 10)


def test_labels_by_hand_take_precedence(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("index,label\n0,1\n2,0\n3,unsure\n")
    verdicts = np.array([False, True, True, True])
    assert overruled(verdicts, read_labels(path, 4)).tolist() == [True, True, False, True]
    assert verdicts.tolist() == [False, True, True, True]


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (torch.zeros(2, 3, 32, 32), r"shape \(N, 1, 32, 32\), not \(2, 3, 32, 32\)"),
        (torch.zeros(2, 1, 28, 28), r"not \(2, 1, 28, 28\)"),
        (torch.zeros(2, 1, 32, 32, dtype=torch.uint8), "must be float, not torch.uint8"),
        (torch.full((2, 1, 32, 32), 200.0), r"must lie in \[-1, 1\]"),
        (torch.full((2, 1, 32, 32), float("nan")), r"must lie in \[-1, 1\]"),
    ],
)
def test_a_wrong_image_batch_is_refused(images, sentence):
    with pytest.raises(ValueError, match=sentence):
        read(Judge(2, width=4).eval(), images)


def test_float_images_are_not_taken_for_uint8():
    with pytest.raises(ValueError, match="must be uint8"):
        data.to_float(np.zeros((1, 1, 32, 32)))


def test_nothing_half_written_stays_behind(tmp_path):
    path = tmp_path / "deep" / "file.csv"
    with pytest.raises(RuntimeError), files.replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert list((tmp_path / "deep").iterdir()) == []


def test_a_file_is_kept_when_its_replacement_fails(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("mine")
    with pytest.raises(ValueError, match="not in fieldnames"):
        runs.write_rows(path, ("a",), [{"b": 1}])
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


def test_a_read_only_results_folder_is_named(tmp_path, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    with pytest.raises(PermissionError, match="cannot be written: make it writable"), files.replacing(tmp_path / "a" / "b"):
        pass


def test_a_read_only_results_folder_ends_the_run_before_it_starts(tmp_path):
    (tmp_path / "results").write_text("a file where the folder should be")
    process = subprocess.run(
        [sys.executable, "-m", "lib.pipeline", "reproduce", "--profile", "smoke"],
        env={**os.environ, "FEATURE_UNLEARNING_RESULTS": str(tmp_path / "results")},
        cwd=runs.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert process.stderr.count("\n") == 1
    assert "error: " in process.stderr
