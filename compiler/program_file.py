"""A program file: a magic line, a line with a JSON header, and the memory image.

Needs nothing but the standard library: the host on a board has this file as it is.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

__all__ = ["FORMAT_VERSION", "MAGIC", "ProgramFileError", "damaged", "join", "read", "split"]

MAGIC = b"TILEWRIGHT PROGRAM\n"
FORMAT_VERSION = 3


class ProgramFileError(Exception):
    """A file that cannot be read, is no program, is damaged or of another version: one sentence."""


def join(header: dict[str, Any], image: bytes) -> bytes:
    """The file of a header, to which the format's version and the checks are added."""
    checks = {
        "version": FORMAT_VERSION,
        "image_bytes": len(image),
        "image_crc32": zlib.crc32(image),
    }
    text = json.dumps(checks | header)
    return MAGIC + f"{zlib.crc32(text.encode()):08x} {text}\n".encode() + image


def read(path: str | Path) -> tuple[dict[str, Any], bytes]:
    """Header and image of a file; raises ProgramFileError as `split` does."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ProgramFileError(
            f"Program file {str(path)!r} cannot be read ({error.strerror}); "
            "give a file that 'tilewright compile' wrote"
        ) from None
    return split(data, path)


def split(data: bytes, path: str | Path) -> tuple[dict[str, Any], bytes]:
    """Header and image of a file's content, checked as far as that needs no knowledge of programs.

    Raises
    ------
    ProgramFileError
        If it is not as `join` made it; `path` names it in the message.
    """
    if not data.startswith(MAGIC):
        raise ProgramFileError(
            f"Program file {str(path)!r} is not a Tilewright program; "
            "give a file that 'tilewright compile' wrote"
        )
    end = data.find(b"\n", len(MAGIC))
    line, image = data[len(MAGIC) : max(end, 0)], data[end + 1 :]
    try:
        header = _header(line)
        if header["version"] == FORMAT_VERSION and (len(image), zlib.crc32(image)) != (
            header["image_bytes"],
            header["image_crc32"],
        ):
            raise ValueError("its memory image is incomplete or altered")
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(path, error) from None
    if header["version"] != FORMAT_VERSION:
        raise ProgramFileError(
            f"Program file {str(path)!r} has format version {header['version']!r}, this Tilewright "
            f"reads version {FORMAT_VERSION}; compile the network again"
        )
    return header, image


def damaged(path: str | Path, error: Exception) -> ProgramFileError:
    """The error of a file whose content cannot be right."""
    return ProgramFileError(
        f"Program file {str(path)!r} is damaged ({type(error).__name__}: {error}); "
        "compile the network again"
    )


def _header(line: bytes) -> dict[str, Any]:
    text = line if line.startswith(b"{") else line[9:]  # before version 3 there was no checksum
    if not line.startswith(b"{") and int(line[:8], 16) != zlib.crc32(text):
        raise ValueError("its header is altered")
    header = json.loads(text)
    if not isinstance(header, dict):
        raise TypeError("its header is no table")
    return header
