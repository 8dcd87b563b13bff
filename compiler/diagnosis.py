"""What a run that failed says of itself, where the program's instructions can be looked at."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from tilewright.compiler.faults import MemoryMap, describe
from tilewright.compiler.isa import INSTRUCTION_BYTES, Opcode
from tilewright.compiler.legal import RULES, UNKNOWN_OPCODE, broken_rule
from tilewright.compiler.program import Program

__all__ = ["describe_fault"]


def describe_fault(words: Mapping[str, int], program: Program) -> str:
    """Why a run ended with an error, and what to do: one sentence.

    Parameters
    ----------
    words : the registers `faults.DIAGNOSTIC` by name, read after the run
    program : what ran
    """
    memory = MemoryMap(
        code=program.instructions,
        code_end=program.instructions + program.count * INSTRUCTION_BYTES,
        instruction_bytes=INSTRUCTION_BYTES,
        image_bytes=len(program.image),
        memory_bytes=program.memory_bytes,
        tensors=[(p.name, p.address, p.layout.size) for p in program.tensors.values()],
    )
    return describe(words, memory, partial(_illegal, program), partial(_weights, program))


def _illegal(program: Program, reason: int, number: int) -> str:
    names = {rule.code: f"{rule.opcode.name}: {rule}" for rule in RULES}
    names[UNKNOWN_OPCODE] = "the opcode does not exist"
    text = names.get(reason, f"reason {reason}")
    if number >= program.count:
        return f"instruction {number} is illegal ({text}), but the program has {program.count} only"
    start = program.instructions + number * INSTRUCTION_BYTES
    found = broken_rule(program.image[start : start + INSTRUCTION_BYTES], program.target)
    if found is None or found[0] != reason:
        return (
            f"instruction {number} is illegal in memory ({text}), though not in the program; load "
            "the program into memory again"
        )
    return f"instruction {number} is illegal ({found[1]}); compile the network again"


def _weights(program: Program, number: int) -> str:
    starts = range(
        program.instructions,
        program.instructions + program.count * INSTRUCTION_BYTES,
        INSTRUCTION_BYTES,
    )
    indices = [i for i, at in enumerate(starts) if program.image[at] & 15 == Opcode.WEIGHTS]
    if number >= len(indices):
        return f"WEIGHTS instruction {number}, though the program has {len(indices)} only,"
    index = indices[number]
    layer = next(region.name for region in program.regions if region.first <= index < region.last)
    return f"layer {layer!r} (instruction {index})"
