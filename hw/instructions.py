"""Instruction layouts for the hardware, taken from the one definition in the compiler."""

from __future__ import annotations

from amaranth.hdl import signed, unsigned
from amaranth.lib import data

from tilewright.compiler.isa import FIELDS, Opcode

__all__ = ["QUEUED_BITS", "instruction_layout"]

QUEUED_BITS = max(sum(field.bits for field in fields) for fields in FIELDS.values())
"""Bits of an instruction that any opcode uses; the rest is never stored."""


def instruction_layout(opcode: Opcode) -> data.StructLayout:
    """Layout of the fields of `opcode`."""
    return data.StructLayout(
        {f.name: signed(f.bits) if f.signed else unsigned(f.bits) for f in FIELDS[opcode]}
    )
