"""What the link needs of a line to a board."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Transport"]


class Transport(Protocol):
    """A line to a board. Bytes may be lost, damaged or doubled on it; the link repairs that."""

    name: str
    """For messages."""

    def write(self, data: bytes) -> None:
        """Send all of `data`."""

    def read(self, timeout: float) -> bytes:
        """What has arrived, waiting up to `timeout` seconds for the first byte; b"" if none came."""

    def discard(self) -> None:
        """Drop what has arrived and was not read."""
