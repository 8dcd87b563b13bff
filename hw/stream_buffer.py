"""A stream's register stage, which cuts both its data and its ready path."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["StreamBuffer"]


class StreamBuffer(wiring.Component):
    """Two places, filled and emptied in turn.

    An item passes in one cycle, one every cycle. `i.ready` and `o.valid` are registers, and an item
    goes from `i` straight into a register: what stands before it may be late, as a block RAM's
    output is.

    Parameters
    ----------
    shape
        Of an item.
    short
        Which place takes what is at `i` is a register for each, instead of `i.ready` and a comparison
        in front of all bits of an item.

    Members
    -------
    i : ``In(stream of shape)``
    o : ``Out(stream of shape)``
    """

    i: Any
    o: Any

    def __init__(self, shape: Any, *, short: bool = False) -> None:
        self._short = short
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        ready = Signal(init=1)
        writing, reading = Signal(), Signal()
        items = [Signal.like(self.i.p, name=f"item_{n}", reset_less=True) for n in range(2)]
        m.d.comb += [
            self.i.ready.eq(ready),
            self.o.p.eq(Mux(reading, items[1], items[0])),
        ]
        entering, held = self.i.valid & ready, self.o.valid & ~self.o.ready
        room = ~(held & (self.i.valid | ~ready))  # `ready` in the next cycle
        # The place written next is free while `ready`, so it may take what is not valid.
        for place, item in enumerate(items):
            taking: Value = ready & (writing == place)
            if self._short:
                taking = Signal(init=place == 0, name=f"taking_{place}")
                m.d.sync += taking.eq(room & (writing ^ entering ^ (place == 0)))
            with m.If(taking):
                m.d.sync += item.eq(self.i.p)
        with m.If(entering):
            m.d.sync += writing.eq(~writing)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += reading.eq(~reading)
        m.d.sync += [self.o.valid.eq(entering | ~ready | held), ready.eq(room)]
        return m
