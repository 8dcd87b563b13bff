"""What an accelerator says of itself, and whether a program fits it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable

from tilewright.compiler.fit import CAPABILITIES, IDENTITY, misfit
from tilewright.compiler.registers import ID_WORD, VERSION_WORD
from tilewright.compiler.target import Target
from tilewright.errors import TilewrightError

__all__ = [
    "capability_words",
    "check_accelerator",
    "check_target",
    "program_fingerprint",
]

_FREE = frozenset(
    {
        *("name", "prefix", "clock_mhz", "burst_beats", "fifo_bursts"),
        *("multiplier", "multiplier_stages", "weights_per_multiplier", "edge_registers"),
        *("counters", "unit_queue", "bursts"),
    }
)
"""Parameters of a target that change names and speed, and never what a program computes."""


def program_fingerprint(target: Target) -> int:
    """32-bit hash of every parameter on which programs depend."""
    parameters = dataclasses.asdict(target)
    shaping = {name: value for name, value in parameters.items() if name not in _FREE}
    digest = hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).digest()
    return int.from_bytes(digest[:4], "big")


def capability_words(target: Target) -> dict[str, int]:
    """Values of the registers `IDENTITY` in the accelerator of a target."""
    words = dict.fromkeys(IDENTITY, 0) | {
        "ID": ID_WORD,
        "VERSION": VERSION_WORD,
        "FINGERPRINT": program_fingerprint(target),
    }
    for entry in CAPABILITIES:
        words[entry.register] |= (int(getattr(target, entry.name)) - entry.less) << entry.first
    return words


def check_accelerator(target: Target, read: Callable[[str], int]) -> None:
    """Refuse to run a program compiled for `target` on an accelerator that it does not fit.

    Parameters
    ----------
    target : of the program
    read : reads a register of the accelerator by its name

    Raises
    ------
    TilewrightError
        Naming what differs.
    """
    words = {name: read(name) for name in IDENTITY}
    found = misfit(words, capability_words(target), target.name)
    if found is not None:
        raise TilewrightError(found)


def check_target(target: Target, hardware: Target) -> None:
    """The same, before a run, for an accelerator generated from `hardware`."""
    check_accelerator(target, capability_words(hardware).__getitem__)
