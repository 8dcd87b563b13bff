"""What an accelerator says of itself, and what keeps a program from running on it.

Needs nothing but the register map: the host on a board has this file as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from .registers import ID_WORD

__all__ = ["CAPABILITIES", "IDENTITY", "Capability", "misfit"]


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
    Capability("ternary", "FEATURES", 1, 1),
    Capability("function_count", "FEATURES", 4, 4),
    Capability("pack_pixels", "FEATURES", 8, 8),
    Capability("address_bits", "FEATURES", 16, 6),
    Capability("decoder_lanes", "FEATURES", 24, 6),
)

IDENTITY = ("ID", "VERSION", "ARRAY", "WIDTHS", "DEPTHS", "FEATURES", "FINGERPRINT")
"""Registers that `misfit` needs."""


def misfit(words: Mapping[str, int], wanted: Mapping[str, int], target: str) -> str | None:
    """Why a program does not fit an accelerator, naming what differs; None if it does.

    Parameters
    ----------
    words : the registers `IDENTITY` of the accelerator
    wanted : what they are where the program fits
    target : name of the target that the program was compiled for
    """
    if words["ID"] != ID_WORD:
        return (
            f"Register ID reads {words['ID']:#010x}, not {ID_WORD:#010x}: this is not a Tilewright "
            "accelerator; check the base address of its registers"
        )
    if words["VERSION"] != wanted["VERSION"]:
        return (
            f"The accelerator has version {_version(words['VERSION'])} of instructions and "
            f"registers, the program version {_version(wanted['VERSION'])}; generate both with the "
            "same Tilewright"
        )
    pairs = [(entry.name, entry.read(wanted), entry.read(words)) for entry in CAPABILITIES]
    differing = [pair for pair in pairs if pair[1] != pair[2]]
    if differing:
        ours = ", ".join(f"{name} = {value}" for name, value, _ in differing)
        theirs = ", ".join(f"{name} = {value}" for name, _, value in differing)
        return (
            f"The program (target {target!r}) was compiled for {ours}, the accelerator has "
            f"{theirs}; compile it for the accelerator's target"
        )
    if words["FINGERPRINT"] != wanted["FINGERPRINT"]:
        return (
            f"The program (target {target!r}) was compiled for hardware with fingerprint "
            f"{wanted['FINGERPRINT']:#010x}, the accelerator has {words['FINGERPRINT']:#010x}: "
            "they differ in something that no register tells; compile it for the accelerator's "
            "target"
        )
    return None


def _version(word: int) -> str:
    return f"{word >> 16}.{word >> 8 & 255}.{word & 255}"
