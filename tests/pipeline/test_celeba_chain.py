"""Slow: run by ``make test-pipeline``. What a user with CelebA's files does, on a small tree in exactly that format."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from lib.avatars import draw
from lib.celeba import ATTRIBUTES
from lib.runs import ROOT, read_rows

FOLDER = ROOT / "data" / "celeba"
SHOWN = {"Bangs": "bangs", "Eyeglasses": "glasses", "Wearing_Hat": "hat", "Smiling": "smile", "Mustache": "moustache"}
COUNT = 2400


@pytest.fixture(scope="module")
def celeba():
    """Cartoon faces as CelebA would ship them, in data/celeba/; a real CelebA there is left alone."""
    if FOLDER.exists():
        pytest.skip("data/celeba exists: this test would have to overwrite it")
    drawn = draw(COUNT, 0, {"skin-tone": (0.1, 0.225, 0.225, 0.225, 0.225)})
    columns = {name: drawn.table[ours] for name, ours in SHOWN.items()}
    columns |= {"Pale_Skin": drawn.table["skin-tone"] == 0, "No_Beard": drawn.table["beard"] == 0}
    (FOLDER / "img_align_celeba").mkdir(parents=True)
    names = [f"{number:06d}.jpg" for number in range(1, COUNT + 1)]
    for name, image in zip(names, drawn.images, strict=True):
        face = Image.fromarray(image.transpose(1, 2, 0)).resize((178, 178), Image.Resampling.BICUBIC)
        whole = Image.new("RGB", (178, 218))
        whole.paste(face, (0, 20))
        whole.save(FOLDER / "img_align_celeba" / name, quality=95)
    values = np.stack([columns.get(name, np.zeros(COUNT)) for name in ATTRIBUTES], 1)
    rows = [f"{name} " + " ".join("1" if v else "-1" for v in row) for name, row in zip(names, values, strict=True)]
    (FOLDER / "list_attr_celeba.txt").write_text("\n".join([str(COUNT), " ".join(ATTRIBUTES), *rows]) + "\n")
    parts = [f"{name} {2 if i % 6 == 5 else 0}" for i, name in enumerate(names)]
    (FOLDER / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")
    yield
    shutil.rmtree(FOLDER)


def notebook(folder, name, **values):
    """One notebook as the pipeline runs it."""
    command = [sys.executable, "-m", "lib.pipeline", "run", name, "--profile", "smoke", "-p", "DATASET", "celeba"]
    for key, value in values.items():
        command += ["-p", key, str(value)]
    env = {**os.environ, "FEATURE_UNLEARNING_RESULTS": str(folder)}
    subprocess.run(command, cwd=ROOT, env=env, check=True)


def test_celeba_goes_through_the_same_notebooks(celeba, tmp_path):
    feature = {"FEATURE": "pale-skin"}
    sizes = {"N_TRAIN": 2000, "N_TEST": 400, "CLASSIFIER_STEPS": 150, "JUDGE_STEPS": 150, "RATE": 0.01}
    notebook(tmp_path, "01_data", START="scratch", **sizes)
    gan = {"START": "scratch", "RESIZE": True, "GAN_STEPS": 400, "GAN_RATE": 0.001, "D_RATE": 0.0003, "N_SAMPLES": 500}
    notebook(tmp_path, "02_pretrain", **gan)
    notebook(tmp_path, "02_pretrain", WITHOUT="pale-skin", **gan)
    notebook(tmp_path, "03_direction", N_LABELS=2000, RESIDUAL=0.05, **feature)
    for method in ("literal", "exact"):
        notebook(tmp_path, "04_unlearn", METHOD=method, STEPS=60, **feature)
    notebook(tmp_path, "05_evaluate", N=500, PRDC_N=200, **feature)
    notebook(tmp_path, "06_attack", N=16, ITERATIONS=2, **feature)
    rows = read_rows(tmp_path / "smoke" / "celeba" / "gan" / "seed0" / "pale-skin" / "metrics-evaluate.csv")
    ratio = {row["method"]: float(row["value"]) for row in rows if row["metric"] == "ratio exact"}
    assert set(ratio) == {"original", "oracle edit", "rejection", "literal", "exact", "gold retrain"}
    assert ratio["exact"] < ratio["original"]
    assert {row["metric"] for row in rows} >= {"drift Eyeglasses", "drift Wearing_Hat", "preservation MS-SSIM"}
