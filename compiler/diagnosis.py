"""What a run that failed says of itself, in words: for every host that reads the registers."""

from __future__ import annotations

from collections.abc import Mapping

from tilewright.compiler.isa import INSTRUCTION_BYTES
from tilewright.compiler.legal import RULES, UNKNOWN_OPCODE, broken_rule
from tilewright.compiler.program import Program
from tilewright.compiler.registers import ACTIVITY, FAULT_FIELDS, RESPONSES, Status, Unit

__all__ = ["DIAGNOSTIC", "describe_activity", "describe_fault", "fault_fields"]

DIAGNOSTIC = ("STATUS", "WATCHDOG", "FAULT", "FAULT_ADDRESS", "ACTIVITY", "MEM_BASE")
"""Registers that `describe_fault` needs."""

_NAMES = {Status.READ_ERROR: "reading", Status.WRITE_ERROR: "writing"}


def fault_fields(word: int) -> dict[str, int]:
    """The fields of the FAULT register by name: unit, response, reason."""
    return {
        name: word >> first & ((1 << width) - 1) for name, (first, width) in FAULT_FIELDS.items()
    }


def describe_fault(words: Mapping[str, int], program: Program) -> str:
    """Why a run ended with an error, and what to do: one sentence.

    Parameters
    ----------
    words : the registers `DIAGNOSTIC` by name, read after the run
    program : what ran
    """
    status = words["STATUS"]
    if status == Status.ILLEGAL:
        return _illegal(fault_fields(words["FAULT"])["reason"], words["FAULT_ADDRESS"], program)
    if status in _NAMES:
        return _bus_error(words, program)
    if status == Status.WATCHDOG:
        return (
            f"nothing moved for {words['WATCHDOG']} cycles: {describe_activity(words['ACTIVITY'])}; "
            "if the memory is not slower than that, load the program again, and report it as a "
            "fault of Tilewright if it stays"
        )
    return f"STATUS {status} is unknown; use the Tilewright that generated the accelerator"


def describe_activity(word: int) -> str:
    """What the units did when the ACTIVITY register was read, or when the run ended."""
    found = []
    for unit in Unit:
        texts = [x.doc for bit, x in enumerate(ACTIVITY) if x.unit is unit and word >> bit & 1]
        if texts:
            who = "the bus" if unit is Unit.NONE else unit.name
            found.append(f"{who}: {', '.join(texts)}")
    return "; ".join(found) or "no unit has anything to do"


def _bus_error(words: Mapping[str, int], program: Program) -> str:
    fields = fault_fields(words["FAULT"])
    address = words["FAULT_ADDRESS"]
    kinds = {code: name for name, code in RESPONSES.items()}
    units = {unit.value: unit.name for unit in Unit}
    answer = kinds.get(fields["response"], f"response {fields['response']}")
    place = _place((address - words["MEM_BASE"]) % 2**32, program)
    doing = _NAMES[Status(words["STATUS"])]
    return (
        f"{units.get(fields['unit'], 'an unknown unit')} got {answer} when {doing} at bus address "
        f"{address:#x} ({place}); check that {program.memory_bytes} bytes of memory answer at "
        f"MEM_BASE {words['MEM_BASE']:#x}, then start again"
    )


def _place(offset: int, program: Program) -> str:
    """What the program has at a byte offset from MEM_BASE."""
    code_end = program.instructions + program.count * INSTRUCTION_BYTES
    if program.instructions <= offset < code_end:
        return f"instruction {(offset - program.instructions) // INSTRUCTION_BYTES}"
    for name, place in program.tensors.items():
        if place.address <= offset < place.address + place.layout.size:
            return f"tensor {name!r}"
    if offset < len(program.image):
        return "weights and parameters"
    return "a feature map" if offset < program.memory_bytes else "outside the program's memory"


def _illegal(reason: int, number: int, program: Program) -> str:
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
