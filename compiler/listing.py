"""The disassembler: a program as text, one line an instruction."""

from __future__ import annotations

from tilewright.compiler.isa import INSTRUCTION_BYTES, decode
from tilewright.compiler.program import Program

__all__ = ["instructions", "listing"]


def listing(program: Program) -> str:
    """Text of a program: its layers, and one line an instruction with its fields that are not 0."""
    starts = {region.first: region for region in program.regions}
    lines = []
    for index, (name, fields) in enumerate(instructions(program)):
        region = starts.get(index)
        if region is not None:
            lines.append(f"; {region.name} ({region.op.value}), {region.tiles} accumulator fills")
        shown = " ".join(f"{key}={value}" for key, value in fields.items() if value)
        lines.append(f"{index:6d} {name:8s} {shown}".rstrip())
    return "\n".join(lines) + "\n"


def instructions(program: Program) -> list[tuple[str, dict[str, int]]]:
    """Opcode name and fields (without the opcode) of every instruction."""
    result = []
    for index in range(program.count):
        start = program.instructions + index * INSTRUCTION_BYTES
        opcode, fields = decode(program.image[start : start + INSTRUCTION_BYTES])
        del fields["opcode"]
        result.append((opcode.name, fields))
    return result
