"""Maximum or sum of the accumulators of each pooling window."""

from __future__ import annotations

from typing import Any

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tilewright.compiler.target import Target
from tilewright.hw.flow import flow, registered
from tilewright.hw.hls import Datapath, combinational, trace
from tilewright.quant import numerics

__all__ = ["Pooling"]


class Pooling(wiring.Component):
    """Reduces each window of pixels to one, C lanes at a time, one pixel a cycle.

    The result stands at `o` Target.pooling_latency cycles after the window's last pixel entered. Sums
    are kept in acc_bits bits: the compiler proves that they fit.

    Parameters
    ----------
    target : gives cols (C), acc_bits and whether stages are short
    tag_width : bits that travel with a pixel; a window has its last pixel's

    Members
    -------
    i : ``In(stream {accs: ArrayLayout(signed(acc_bits), C), first: 1, last: 1, tag: tag_width})``
        `first` and `last` mark a window's ends; a window of one pixel has both.
    is_sum : ``In(1)``
        Sum instead of maximum; constant within a window, with short stages from NEIGHBOURHOODS cycles
        before, in which it passes from columns to the next.
    o : ``Out(stream {accs: ArrayLayout(signed(acc_bits), C), tag: tag_width})``
    """

    i: Any
    o: Any
    is_sum: Any

    def __init__(self, target: Target, *, tag_width: int = 0) -> None:
        self._acc_bits = target.acc_bits
        self._short = target.short_stages
        self._neighbours = target.neighbours
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
        if self._short:
            self._in_short_stages(m, gives)
            return m
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

    def _in_short_stages(self, m: Module, gives: Datapath) -> None:
        """Enter; compare with all that the running value can be by then; take what was compared.

        A maximum takes what is above it: numerics.pool_takes as a difference's sign, which the last
        place of its carries gives its register without a look-up table between.
        """
        acc = signed(self._acc_bits)
        tag = Signal.like(self.i.p.tag, reset_less=True)
        stages, valids = [self.i.p], [self.i.valid]
        for name in ("entered", "compared"):
            later = Signal.like(self.i.p, name=name, reset_less=True)
            valid = Signal(name=f"{name}_valid")
            m.d.sync += [later.eq(stages[-1]), valid.eq(valids[-1])]
            stages.append(later)
            valids.append(valid)
        _, entered, compared = stages
        m.d.sync += [self.o.valid.eq(valids[2] & compared.last), tag.eq(compared.tag)]
        m.d.comb += self.o.p.tag.eq(tag)
        is_sum, always, adds = self.is_sum, Signal(), Signal()
        for c, (value, upcoming) in enumerate(zip(compared.accs, entered.accs, strict=True)):
            if c % self._neighbours == 0:
                is_sum = registered(m, is_sum, f"is_sum{c}")
                always = registered(m, valids[1] & (entered.first | is_sum), f"always{c}")
                adds = registered(m, is_sum & ~entered.first, f"adds{c}")
            running = Signal(acc, name=f"running{c}", reset_less=True)
            step = Signal(acc, name=f"step{c}")
            # Whether the value is taken if the one before is, and if that is not.
            after, past, taken = (
                Signal(name=f"{name}{c}", reset_less=True) for name in ("after", "past", "taken")
            )
            takes_it = Signal(name=f"takes{c}")
            for decision, before in ((after, value), (past, running)):
                m.d.sync += decision.eq((before - upcoming)[-1])
            inputs = {"running": running, "value": value, "is_sum": adds}
            m.d.comb += [
                self.o.p.accs[c].eq(running),
                step.eq(combinational(m, gives, inputs)),
                takes_it.eq(always | (valids[2] & Mux(taken, after, past))),
            ]
            m.d.sync += taken.eq(takes_it)
            with m.If(takes_it):
                m.d.sync += running.eq(step)
