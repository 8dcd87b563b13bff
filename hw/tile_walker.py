"""The bank addresses of a CALC instruction's weight tiles."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from tilewright.compiler.isa import Opcode
from tilewright.compiler.target import Target
from tilewright.hw.instructions import instruction_layout

__all__ = ["TileWalker"]

_INSTRUCTION = instruction_layout(Opcode.CALC)


class TileWalker(wiring.Component):
    """Bank address of each tile's first pixel: three nested loops.

    Members
    -------
    job : ``In(CALC instruction)``
        Constant from the cycle after `load` until the next `load`.
    next_job : ``In(CALC instruction)``
        Loaded by `load`.
    load, step : ``In(1)``
        Begin `next_job`; go to the next tile. Not again within the following three cycles.
    base : ``Out(address)``
        First pixel of the present tile.
    first, last : ``Out(1)``
        The present tile is the instruction's first or last one; `last` is valid from the third
        cycle after `load` or `step` on.
    """

    def __init__(self, target: Target) -> None:
        super().__init__(
            {
                "job": In(_INSTRUCTION),
                "next_job": In(_INSTRUCTION),
                "load": In(1),
                "step": In(1),
                "base": Out(ceil_log2(target.act_depth)),
                "first": Out(1),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        job = self.job
        # Counted from 1. What follows from the counts is found in the cycles after they change.
        count0, count1, count2 = (Signal(16, name=f"count{n}", reset_less=True) for n in range(3))
        base1, base2, upcoming = (
            Signal.like(self.base, name=name, reset_less=True)
            for name in ("base1", "base2", "upcoming")
        )
        end0, end1, _ = ends = Signal(3)
        m.d.sync += [
            ends.eq(Cat(count0 == job.tiles0, count1 == job.tiles1, count2 == job.tiles2)),
            self.last.eq(ends.all()),
            upcoming.eq(
                Mux(end0, Mux(end1, base2, base1), self.base)
                + Mux(end0, Mux(end1, job.step2, job.step1), job.step0)
            ),
        ]
        with m.If(self.step):
            m.d.sync += [self.first.eq(0), self.base.eq(upcoming), count0.eq(count0 + 1)]
            with m.If(end0):
                m.d.sync += [count0.eq(1), count1.eq(count1 + 1), base1.eq(upcoming)]
                with m.If(end1):
                    m.d.sync += [count1.eq(1), count2.eq(count2 + 1), base2.eq(upcoming)]
        with m.If(self.load):
            m.d.sync += [
                self.first.eq(1),
                count0.eq(1),
                count1.eq(1),
                count2.eq(1),
                self.base.eq(self.next_job.base),
                base1.eq(self.next_job.base),
                base2.eq(self.next_job.base),
            ]
        return m
