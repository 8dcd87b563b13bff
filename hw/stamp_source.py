"""The bytes of a cycle stamp."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tilewright.compiler.isa import Opcode
from tilewright.compiler.target import Target
from tilewright.hw.instructions import instruction_layout
from tilewright.hw.writer import beat_layout

__all__ = ["StampSource"]

_STORE = instruction_layout(Opcode.STORE)
_STAMP = instruction_layout(Opcode.STAMP)
_RECORD = data.StructLayout({"bias": signed(48), "shift": unsigned(8), "reserved": unsigned(8)})


class StampSource(wiring.Component):
    """The 8 bytes of a cycle stamp as write beats.

    Members
    -------
    start : ``In(1)``
        Sample the counters.
    cycles, busy_cycles : ``In(32)``
    o : ``Out(stream of beat_layout(target))``
    active : ``Out(1)``
        Beats are left.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        super().__init__(
            {
                "start": In(1),
                "cycles": In(32),
                "busy_cycles": In(32),
                "o": Out(stream.Signature(beat_layout(target))),
                "active": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = min(8 * self._target.bus_bytes, 64)
        rest = Signal(64)
        beats = Signal(range(64 // width + 1))
        m.d.comb += [
            self.active.eq(beats != 0),
            self.o.valid.eq(self.active),
            self.o.p.data.eq(rest[:width]),
            self.o.p.strobe.eq((1 << (width // 8)) - 1),
        ]
        with m.If(self.start):
            m.d.sync += [rest.eq(Cat(self.cycles, self.busy_cycles)), beats.eq(64 // width)]
        with m.Elif(self.o.valid & self.o.ready):
            m.d.sync += [rest.eq(rest >> width), beats.eq(beats - 1)]
        return m
