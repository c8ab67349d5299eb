"""Files that are either whole or absent."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; rename it to ``path`` if the block succeeds, remove it if not.

    Raises PermissionError in one sentence when the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if isinstance(error, PermissionError) or error.errno == 30:  # EROFS: a read-only file system
            raise PermissionError(
                f"{path.parent} cannot be written: make it writable, or point FEATURE_UNLEARNING_RESULTS elsewhere."
            ) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def digest(path: Path) -> dict[str, object]:
    """sha256 and size of a file."""
    data = path.read_bytes()
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def write_json(path: Path, value: object) -> None:
    """Write JSON under a temporary name first."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")
