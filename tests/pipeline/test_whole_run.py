"""Slow: run by ``make test-pipeline``. Smoke run twice, or killed with -9 and called again, gives the same rows."""

import os
import signal
import subprocess
import sys
import time

import pytest

from lib.runs import ROOT


def run(folder, kill_after=None):
    """``make smoke`` into a folder; with ``kill_after`` seconds, killed like a power cut, children included."""
    command = [sys.executable, "-m", "lib.pipeline", "reproduce", "--profile", "smoke"]
    env = {**os.environ, "FEATURE_UNLEARNING_RESULTS": str(folder)}
    process = subprocess.Popen(command, cwd=ROOT, env=env, start_new_session=True)
    if kill_after is None:
        assert process.wait() == 0
        return
    time.sleep(kill_after)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def rows(folder):
    return {name: (folder / "smoke" / f"{name}.csv").read_bytes() for name in ("metrics", "attacks")}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp("first")
    run(folder)
    return folder


def test_two_runs_give_identical_rows(first, tmp_path):
    run(tmp_path)
    assert rows(tmp_path) == rows(first)


def test_a_run_killed_three_times_ends_with_the_same_rows(first, tmp_path):
    for seconds in (25, 40, 55):
        run(tmp_path, kill_after=seconds)
    run(tmp_path)
    assert rows(tmp_path) == rows(first)


def test_a_second_call_makes_nothing_again(first):
    before = {path: path.stat().st_mtime_ns for path in first.rglob("*.safetensors")}
    start = time.perf_counter()
    run(first)
    assert time.perf_counter() - start < 30
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*.safetensors")} == before
