"""Streams that cannot wait."""

from __future__ import annotations

from typing import Any

from amaranth.lib import wiring
from amaranth.lib.wiring import Out

__all__ = ["flow"]


def flow(shape: Any) -> wiring.Signature:
    """A stream without `ready`: each item stands for one cycle and must be taken in it."""
    return wiring.Signature({"valid": Out(1), "p": Out(shape)})
