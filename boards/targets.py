"""The registry of named targets."""

from __future__ import annotations

from tilewright.compiler.target import Target
from tilewright.errors import TilewrightError, nearest

__all__ = ["TARGETS", "get_target"]

_ALL = (
    Target(name="default"),
    Target(name="tiny", rows=4, cols=4, act_depth=2048, acc_depth=128, bus_bytes=4, burst_beats=16),
    Target(name="small", rows=8, cols=8, act_depth=4096, acc_depth=256, burst_beats=32),
    Target(name="large", rows=32, cols=32, acc_depth=1024, bus_bytes=16),
    Target(name="wide", act_bits=16, weight_bits=16, acc_bits=48),
)

TARGETS: dict[str, Target] = {target.name: target for target in _ALL}
"""Targets by name: default (16x16, 8 bit), tiny (4x4), small (8x8), large (32x32) and wide
(16x16, 16 bit)."""


def get_target(name: str) -> Target:
    """Target called `name`.

    Raises
    ------
    TilewrightError
        If there is none; the message names the nearest.
    """
    if name not in TARGETS:
        raise TilewrightError(f"Target {name!r} is unknown; {nearest(name, TARGETS)}")
    return TARGETS[name]
