"""The one instruction of a unit without a queue, as it arrives."""

from __future__ import annotations

from collections import Counter

from amaranth.hdl import Cat, Module, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from tilewright.compiler.isa import INSTRUCTION_BYTES
from tilewright.compiler.target import Target
from tilewright.hw.instructions import Excerpt

__all__ = ["InstructionRegister", "part_layout"]

_MEMORY_BITS = 10
"""Bits from which on a beat is worth a block RAM."""


def part_layout(target: Target) -> data.StructLayout:
    """A beat of an instruction, and which one."""
    parts = INSTRUCTION_BYTES // target.bus_bytes
    number = unsigned((parts - 1).bit_length())
    return data.StructLayout({"number": number, "beat": unsigned(8 * target.bus_bytes)})


class InstructionRegister(wiring.Component):
    """Takes the fields that a unit needs from the beats of its instruction.

    Small parts have logic cells for few of them, and block RAMs to spare: a beat of which many bits are
    needed stands in one. A block RAM takes every beat, so that nothing needs to be decoded, and reads
    its own in each cycle. An instruction's last beat stays in flip-flops, so that what is read stands
    when `r_rdy` is set, a cycle after that beat.

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
        last = INSTRUCTION_BYTES // self._target.bus_bytes - 1
        bits = Counter(place // width for place in self._places)
        kept: dict[int, Value] = {}
        for number, used in bits.items():
            if used >= _MEMORY_BITS and number != last:
                kept[number] = self._stored(m, number)
                continue
            kept[number] = held = Signal(width, name=f"beat_{number}", reset_less=True)
            with m.If(~self.r_rdy & (part.number == number)):
                m.d.sync += held.eq(part.beat)
        m.d.comb += [
            self.i.ready.eq(~self.r_rdy),
            self.r_data.eq(Cat(kept[place // width][place % width] for place in self._places)),
        ]
        with m.If(~self.r_rdy):
            m.d.sync += self.r_rdy.eq(self.i.valid & (part.number == last))
        with m.Elif(self.r_en):
            m.d.sync += self.r_rdy.eq(0)
        return m

    def _stored(self, m: Module, number: int) -> Value:
        """A beat out of a memory of its own, of which it is the only word that is read."""
        part = self.i.p
        memory = Memory(shape=part.beat.shape(), depth=1 << len(part.number), init=[])
        m.submodules[f"stored_{number}"] = memory
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.addr.eq(part.number),
            write.data.eq(part.beat),
            write.en.eq(self.i.valid & self.i.ready),
            read.addr.eq(number),
        ]
        return read.data
