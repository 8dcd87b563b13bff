"""Names of content: what a result depends on, as a hash."""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import numpy as np

import tilewright

__all__ = ["code_digest", "digest"]


def digest(*content: Any) -> str:
    """Hash of dataclasses, mappings, sequences, arrays and plain values, by their content alone."""
    found = hashlib.sha256()
    _feed(found, content)
    return found.hexdigest()[:24]


def _feed(found: Any, value: Any) -> None:
    if isinstance(value, np.ndarray):
        found.update(f"a{value.dtype.str}{value.shape}".encode())
        found.update(np.ascontiguousarray(value).tobytes())
    elif dataclasses.is_dataclass(value):
        found.update(f"d{type(value).__name__}".encode())
        for field in dataclasses.fields(value):
            _feed(found, (field.name, getattr(value, field.name)))
    elif isinstance(value, Mapping):
        found.update(f"m{len(value)}".encode())
        for key in sorted(value):
            _feed(found, (key, value[key]))
    elif isinstance(value, (tuple, list)):
        found.update(f"l{len(value)}".encode())
        for item in value:
            _feed(found, item)
    elif isinstance(value, bytes):
        found.update(f"b{len(value)}:".encode() + value)
    else:
        assert value is None or isinstance(value, (str, int, float, bool, enum.Enum)), type(value)
        found.update(f"v{value!r};".encode())


@functools.cache
def code_digest(*packages: str) -> str:
    """Hash of Tilewright's version and of the source of some of its packages, or "modules.py"."""
    found = hashlib.sha256(tilewright.__version__.encode())
    for package in sorted(packages):
        if package.endswith(".py"):
            found.update((resources.files("tilewright") / package).read_bytes())
            continue
        for text in _sources(resources.files(f"tilewright.{package}")):
            found.update(text)
    return found.hexdigest()[:24]


def _sources(folder: Traversable) -> list[bytes]:
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    return [e.read_bytes() for e in entries if e.is_file() and e.name.endswith(".py")]
