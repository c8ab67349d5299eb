"""Files that are either whole or absent."""

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
