"""Writing results: new files appear in the output folder when all of them are complete."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tilewright.errors import TilewrightError

__all__ = ["staging", "to_json"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


@contextmanager
def staging(directory: Path) -> Iterator[Path]:
    """Give an empty folder whose entries are moved into `directory` when the block succeeds.

    An entry of `directory` with the name of a new one is replaced, others stay. If the block
    raises, `directory` is as it was.

    Raises
    ------
    TilewrightError
        If `directory` cannot be created or written.
    """
    created = _first_missing(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=".tilewright-", dir=directory))
    except OSError as error:
        raise _unwritable(directory, error) from error
    try:
        yield stage
        _publish(stage, directory)
        created = None
    except OSError as error:
        if error.errno in _FULL or str(directory) in str(error.filename):
            raise _unwritable(directory, error) from error
        raise
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if created is not None:
            shutil.rmtree(created, ignore_errors=True)


def _first_missing(directory: Path) -> Path | None:
    """Outermost folder that has to be made for `directory` to exist."""
    missing = [p for p in (directory, *directory.parents) if not os.path.lexists(p)]
    return missing[-1] if missing else None


def _publish(stage: Path, directory: Path) -> None:
    for entry in sorted(stage.iterdir()):
        place = directory / entry.name
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        os.replace(entry, place)


def _unwritable(directory: Path, error: OSError) -> TilewrightError:
    return TilewrightError(
        f"Output directory {directory} cannot be written: {error.strerror}; choose another with -o"
    )


def to_json(value: Any) -> str:
    """JSON text of `value`, indented, with a final newline; NaN and infinity become null."""
    return json.dumps(_finite(value), indent=2, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and value - value != 0:
        return None
    return value
