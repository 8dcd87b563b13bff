"""What an accelerator says of itself, and whether a program fits it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping

from tilewright.compiler.registers import ID_WORD, VERSION_WORD
from tilewright.compiler.target import Target
from tilewright.errors import TilewrightError

__all__ = [
    "CAPABILITIES",
    "IDENTITY",
    "Capability",
    "capability_words",
    "check_accelerator",
    "check_target",
    "program_fingerprint",
]

_FREE = frozenset(
    {
        *("name", "prefix", "clock_mhz", "burst_beats", "fifo_bursts"),
        *("multiplier", "multiplier_stages", "weights_per_multiplier", "edge_registers"),
    }
)
"""Parameters of a target that change names and speed, and never what a program computes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Capability:
    """A parameter of the target, less `less`, in `bits` bits of a register from bit `first` on."""

    name: str
    register: str
    first: int
    bits: int
    less: int = 0

    def read(self, words: Mapping[str, int]) -> int:
        """The parameter's value, from registers by name."""
        return (words[self.register] >> self.first & ((1 << self.bits) - 1)) + self.less


CAPABILITIES = (
    Capability("rows", "ARRAY", 0, 16),
    Capability("cols", "ARRAY", 16, 16),
    Capability("act_bits", "WIDTHS", 0, 8),
    Capability("weight_bits", "WIDTHS", 8, 8),
    Capability("acc_bits", "WIDTHS", 16, 8),
    Capability("bus_bytes", "WIDTHS", 24, 8),
    Capability("act_depth", "DEPTHS", 0, 16, less=1),
    Capability("acc_depth", "DEPTHS", 16, 16, less=1),
    Capability("leaky", "FEATURES", 0, 1),
    Capability("pack_pixels", "FEATURES", 8, 8),
)

IDENTITY = ("ID", "VERSION", "ARRAY", "WIDTHS", "DEPTHS", "FEATURES", "FINGERPRINT")
"""Registers that `check_accelerator` reads."""


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
    if words["ID"] != ID_WORD:
        raise TilewrightError(
            f"Register ID reads {words['ID']:#010x}, not {ID_WORD:#010x}: this is not a Tilewright "
            "accelerator; check the base address of its registers"
        )
    if words["VERSION"] != VERSION_WORD:
        raise TilewrightError(
            f"The accelerator has version {_version(words['VERSION'])} of instructions and "
            f"registers, the program version {_version(VERSION_WORD)}; generate both with the same "
            "Tilewright"
        )
    wanted = capability_words(target)
    pairs = [(entry.name, entry.read(wanted), entry.read(words)) for entry in CAPABILITIES]
    differing = [pair for pair in pairs if pair[1] != pair[2]]
    if differing:
        ours = ", ".join(f"{name} = {value}" for name, value, _ in differing)
        theirs = ", ".join(f"{name} = {value}" for name, _, value in differing)
        raise TilewrightError(
            f"The program (target {target.name!r}) was compiled for {ours}, the accelerator has "
            f"{theirs}; compile it for the accelerator's target"
        )
    if words["FINGERPRINT"] != wanted["FINGERPRINT"]:
        raise TilewrightError(
            f"The program (target {target.name!r}) was compiled for hardware with fingerprint "
            f"{wanted['FINGERPRINT']:#010x}, the accelerator has {words['FINGERPRINT']:#010x}: "
            "they differ in something that no register tells; compile it for the accelerator's "
            "target"
        )


def check_target(target: Target, hardware: Target) -> None:
    """The same, before a run, for an accelerator generated from `hardware`."""
    check_accelerator(target, capability_words(hardware).__getitem__)


def _version(word: int) -> str:
    return f"{word >> 16}.{word >> 8 & 255}.{word & 255}"
