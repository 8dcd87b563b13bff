"""The bytes of a cycle stamp."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tilewright.compiler.target import Target
from tilewright.hw.writer import beat_layout

__all__ = ["StampSource"]


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
        beats = 64 // width
        sample = Signal(64, reset_less=True)
        place = Signal(range(beats))
        m.d.comb += [
            self.o.valid.eq(self.active),
            self.o.p.data.eq(sample.word_select(place, width)),
            self.o.p.strobe.eq((1 << (width // 8)) - 1),
        ]
        with m.If(self.start):
            m.d.sync += [sample.eq(Cat(self.cycles, self.busy_cycles)), self.active.eq(1)]
        with m.Elif(self.o.valid & self.o.ready):
            m.d.sync += place.eq(place + 1)  # behind the last one comes the first
            with m.If(place == beats - 1):
                m.d.sync += self.active.eq(0)
        return m
