"""Maximum or sum of the accumulators of each pooling window."""

from __future__ import annotations

from typing import Any

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tilewright.compiler.target import Target
from tilewright.hw.flow import flow
from tilewright.hw.hls import combinational, trace
from tilewright.quant import numerics

__all__ = ["Pooling"]


class Pooling(wiring.Component):
    """Reduces each window of pixels to one, C lanes at a time, one pixel a cycle.

    The result stands at `o` the cycle after the window's last pixel entered. Sums are kept in acc_bits
    bits: the compiler proves that they fit.

    Parameters
    ----------
    target : gives cols (C) and acc_bits
    tag_width : bits that travel with a pixel; a window has its last pixel's

    Members
    -------
    i : ``In(stream {accs: ArrayLayout(signed(acc_bits), C), first: 1, last: 1, tag: tag_width})``
        `first` and `last` mark a window's ends; a window of one pixel has both.
    is_sum : ``In(1)``
        Sum instead of maximum; constant within a window.
    o : ``Out(stream {accs: ArrayLayout(signed(acc_bits), C), tag: tag_width})``
    """

    i: Any
    o: Any
    is_sum: Any

    def __init__(self, target: Target, *, tag_width: int = 0) -> None:
        self._acc_bits = target.acc_bits
        accs = data.ArrayLayout(signed(target.acc_bits), target.cols)
        super().__init__(
            {
                "i": In(
                    flow(data.StructLayout({"accs": accs, "first": 1, "last": 1, "tag": tag_width}))
                ),
                "is_sum": In(1),
                "o": Out(flow(data.StructLayout({"accs": accs, "tag": tag_width}))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        acc = signed(self._acc_bits)
        shapes = {"running": acc, "value": acc, "is_sum": range(2)}
        takes, gives = (trace(f, shapes) for f in (numerics.pool_takes, numerics.pool_value))
        tag = Signal.like(self.i.p.tag, reset_less=True)
        m.d.sync += [self.o.valid.eq(self.i.valid & self.i.p.last), tag.eq(self.i.p.tag)]
        m.d.comb += self.o.p.tag.eq(tag)
        # The register of the running value is the output's.
        for c, value in enumerate(self.i.p.accs):
            running = Signal(acc, name=f"running{c}", reset_less=True)
            m.d.comb += self.o.p.accs[c].eq(running)
            inputs = {"running": running, "value": value, "is_sum": self.is_sum}
            # The register is not written where the maximum stays, so that nothing selects it.
            step = Signal(acc, name=f"step{c}")
            m.d.comb += step.eq(combinational(m, gives, inputs))
            taken = self.i.p.first | combinational(m, takes, inputs)
            with m.If(self.i.valid & taken):
                m.d.sync += running.eq(Mux(self.i.p.first, value, step))
        return m
