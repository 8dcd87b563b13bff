"""The one instruction of a unit without a queue, as it arrives."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tilewright.compiler.isa import INSTRUCTION_BYTES
from tilewright.compiler.target import Target
from tilewright.hw.instructions import Excerpt

__all__ = ["InstructionRegister", "part_layout"]


def part_layout(target: Target) -> data.StructLayout:
    """A beat of an instruction, and which one."""
    parts = INSTRUCTION_BYTES // target.bus_bytes
    number = unsigned((parts - 1).bit_length())
    return data.StructLayout({"number": number, "beat": unsigned(8 * target.bus_bytes)})


class InstructionRegister(wiring.Component):
    """Takes the fields that a unit needs from the beats of its instruction.

    Parameters
    ----------
    target, excerpt
        Whose instruction, and its fields.

    Members
    -------
    i : ``In(stream of part_layout(target))``
        The beats of one instruction after the other; none is taken while one is held.
    r_rdy, r_data, r_en
        The instruction in the excerpt's bits, and its removal.
    """

    def __init__(self, target: Target, excerpt: Excerpt) -> None:
        self._target, self._places = target, excerpt.places
        super().__init__(
            {
                "i": In(stream.Signature(part_layout(target))),
                "r_rdy": Out(1),
                "r_data": Out(len(self._places)),
                "r_en": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = 8 * self._target.bus_bytes
        part = self.i.p
        held = Signal(len(self._places), reset_less=True)
        m.d.comb += [self.i.ready.eq(~self.r_rdy), self.r_data.eq(held)]
        for number in sorted({place // width for place in self._places}):
            with m.If(~self.r_rdy & (part.number == number)):
                for bit, place in enumerate(self._places):
                    if place // width == number:
                        m.d.sync += held[bit].eq(part.beat[place % width])
        last = INSTRUCTION_BYTES // self._target.bus_bytes - 1
        with m.If(~self.r_rdy):
            m.d.sync += self.r_rdy.eq(self.i.valid & (part.number == last))
        with m.Elif(self.r_en):
            m.d.sync += self.r_rdy.eq(0)
        return m
