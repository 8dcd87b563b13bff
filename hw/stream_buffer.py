"""A stream's register stage, which cuts both its data and its ready path."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal
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

    Members
    -------
    i : ``In(stream of shape)``
    o : ``Out(stream of shape)``
    """

    i: Any
    o: Any

    def __init__(self, shape: Any) -> None:
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
        # The place written next is free while `ready`, so it may take what is not valid.
        for place, item in enumerate(items):
            with m.If(ready & (writing == place)):
                m.d.sync += item.eq(self.i.p)
        with m.If(self.i.valid & ready):
            m.d.sync += writing.eq(~writing)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += reading.eq(~reading)
        held = self.o.valid & ~self.o.ready
        m.d.sync += [
            self.o.valid.eq((self.i.valid & ready) | ~ready | held),
            ready.eq(~(held & (self.i.valid | ~ready))),
        ]
        return m
