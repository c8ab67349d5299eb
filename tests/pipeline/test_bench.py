"""The benchmark runs to its end and prints a ratio for everything it names."""

import os
import re
import subprocess
import sys

from lib.methods import METHODS
from lib.runs import ROOT


def test_the_benchmark_prints_its_tables():
    command = [sys.executable, "benchmarks/bench.py"]
    environment = {**os.environ, "TQDM_DISABLE": "1"}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    steps, unlearning, methods, measuring, attacking = run.stdout.split("\n\n")[1:]
    assert re.findall(r"^(GAN|VAE|unlearn GAN|unlearn VAE) .*%$", steps, re.M) == [
        "GAN",
        "VAE",
        "unlearn GAN",
        "unlearn VAE",
    ]
    assert len(re.findall(r"(gan|vae) .* (literal|exact): [\d.]+%", unlearning)) >= 10
    assert re.findall(r"^  (.*): [\d.]+%$", methods, re.M) == list(METHODS)
    assert len(re.findall(r": [\d.]+$", measuring, re.M)) == 7
    assert len(re.findall(r": [\d.]+$", attacking, re.M)) == 9
