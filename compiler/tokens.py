"""From "this instruction needs that one to be complete" to counting-semaphore tokens."""

from __future__ import annotations

from dataclasses import dataclass, field

from tilewright.compiler.isa import Opcode

__all__ = ["UNITS", "Draft", "assign_tokens", "unit_of"]

UNITS: dict[Opcode, str] = {
    Opcode.LOAD: "load",
    Opcode.WEIGHTS: "weights",
    Opcode.CALC: "calc",
    Opcode.STORE: "store",
    Opcode.STAMP: "store",
    Opcode.FINISH: "store",
}
"""The unit that runs each opcode."""


def unit_of(opcode: Opcode) -> str:
    """Name of the unit that runs `opcode`."""
    return UNITS[opcode]


@dataclass(slots=True)
class Draft:
    """An instruction before tokens: `needs` lists indices of instructions that must be complete."""

    opcode: Opcode
    fields: dict[str, int]
    needs: list[int] = field(default_factory=list)


def assign_tokens(drafts: list[Draft]) -> None:
    """Turn every draft's `needs` into its wait counts and its producers' signal bits.

    A unit completes in order, so of several producers in one unit only the last matters, and
    nothing needs to wait twice for what an earlier instruction of its unit has waited for. Every
    wait takes exactly the tokens signalled up to its producer, so no token is left over.
    """
    waited: dict[tuple[str, str], int] = {}
    for draft in drafts:
        consumer = unit_of(draft.opcode)
        latest: dict[str, int] = {}
        for index in draft.needs:
            producer = unit_of(drafts[index].opcode)
            if producer != consumer:
                latest[producer] = max(latest.get(producer, -1), index)
        for producer, index in latest.items():
            if index <= waited.get((producer, consumer), -1):
                continue
            waited[producer, consumer] = index
            draft.fields[f"wait_{producer}"] = 1
            drafts[index].fields[f"signal_{consumer}"] = 1
