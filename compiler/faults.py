"""What the registers say of a run that failed, in words.

Needs nothing but the register map: the host on a board has this file as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .registers import ACTIVITY, FAULT_FIELDS, RESPONSES, Status, StreamFault, Unit

__all__ = ["DIAGNOSTIC", "MemoryMap", "describe", "describe_activity", "fault_fields"]

DIAGNOSTIC = ("STATUS", "WATCHDOG", "FAULT", "FAULT_ADDRESS", "ACTIVITY", "MEM_BASE")
"""Registers that `describe` needs."""

_STREAM: dict[int, str] = {
    StreamFault.HEADER: "it does not begin as one for this decoder",
    StreamFault.TRUNCATED: "it is truncated",
    StreamFault.NO_CODE: "a lane holds what is no code, or ends before its weights",
    StreamFault.BEYOND: "a value lies behind the end of its chunk",
    StreamFault.NO_ROOM: "its lanes wait for each other",
    StreamFault.CHECKSUM: "its checksum is wrong",
    StreamFault.ROWS: "it has other rows than its instruction has tiles for",
}

_NAMES = {Status.READ_ERROR: "reading", Status.WRITE_ERROR: "writing"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryMap:
    """What stands where in a program's memory, in bytes from MEM_BASE.

    Attributes
    ----------
    code, code_end : the instructions
    instruction_bytes : of each
    image_bytes : instructions, weights and parameters
    memory_bytes : feature maps with them
    tensors : name, address and size of those that are known
    """

    code: int
    code_end: int
    instruction_bytes: int
    image_bytes: int
    memory_bytes: int
    tensors: Sequence[tuple[str, int, int]]

    def place(self, offset: int) -> str:
        """What is at a byte offset."""
        if self.code <= offset < self.code_end:
            return f"instruction {(offset - self.code) // self.instruction_bytes}"
        for name, address, size in self.tensors:
            if address <= offset < address + size:
                return f"tensor {name!r}"
        if offset < self.image_bytes:
            return "weights and parameters"
        return "a feature map" if offset < self.memory_bytes else "outside the program's memory"


def fault_fields(word: int) -> dict[str, int]:
    """The fields of the FAULT register by name: unit, response, reason."""
    return {
        name: word >> first & ((1 << width) - 1) for name, (first, width) in FAULT_FIELDS.items()
    }


def describe(
    words: Mapping[str, int],
    memory: MemoryMap,
    illegal: Callable[[int, int], str],
    weights: Callable[[int], str] = "WEIGHTS instruction {}".format,
) -> str:
    """Why a run ended with an error, and what to do: one sentence.

    Parameters
    ----------
    words : the registers `DIAGNOSTIC` by name, read after the run
    memory : of the program that ran
    illegal : what to say of an illegal instruction, from the reason's code and its number
    weights : the name of a WEIGHTS instruction, from its number among those
    """
    status = words["STATUS"]
    if status == Status.ILLEGAL:
        return illegal(fault_fields(words["FAULT"])["reason"], words["FAULT_ADDRESS"])
    if status in _NAMES:
        return _bus_error(words, memory)
    if status == Status.WATCHDOG:
        return (
            f"nothing moved for {words['WATCHDOG']} cycles: {describe_activity(words['ACTIVITY'])}; "
            "if the memory is not slower than that, load the program again, and report it as a "
            "fault of Tilewright if it stays"
        )
    if status == Status.WEIGHT_STREAM:
        reason = fault_fields(words["FAULT"])["reason"]
        text = _STREAM.get(reason, f"reason {reason}")
        return (
            f"the compressed weights of {weights(words['FAULT_ADDRESS'])} are damaged ({text}); load "
            "the program into memory again"
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


def _bus_error(words: Mapping[str, int], memory: MemoryMap) -> str:
    fields = fault_fields(words["FAULT"])
    address = words["FAULT_ADDRESS"]
    kinds = {code: name for name, code in RESPONSES.items()}
    units = {unit.value: unit.name for unit in Unit}
    answer = kinds.get(fields["response"], f"response {fields['response']}")
    place = memory.place((address - words["MEM_BASE"]) % 2**32)
    doing = _NAMES[Status(words["STATUS"])]
    return (
        f"{units.get(fields['unit'], 'an unknown unit')} got {answer} when {doing} at bus address "
        f"{address:#x} ({place}); check that {memory.memory_bytes} bytes of memory answer at "
        f"MEM_BASE {words['MEM_BASE']:#x}, then start again"
    )
