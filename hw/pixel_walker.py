"""The pixels of a CALC instruction's weight tile, one after the other."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, ceil_log2

from tilewright.compiler.isa import Opcode
from tilewright.compiler.target import Target
from tilewright.hw.instructions import instruction_layout
from tilewright.hw.pixel_counter import PixelCounter

__all__ = ["PixelWalker"]

_INSTRUCTION = instruction_layout(Opcode.CALC)


class PixelWalker(wiring.Component):
    """Walks the pixels of one weight tile, row by row, one a cycle.

    A tile takes at least Target.accumulate_latency cycles; a tile of fewer pixels ends with idle ones.
    What counts the pixels is small; the addresses follow a cycle later, at its registers' pace.

    Members
    -------
    job : ``In(CALC instruction)``
        Constant while a tile is walked.
    start : ``In(1)``
        In the next cycle begins a tile. Comes with `last` or before any tile is active.
    base : ``In(address)``
        The tile's first pixel in the banks; valid from the cycle after `start` on.
    short : ``In(4)``
        The job has one column, two, one row, two; valid with `start` already.
    active : ``In(1)``
        A tile is to be walked.
    ready : ``In(1)``
        The tile's weights are there; looked at before its first pixel only.
    issue : ``Out(1)``
        A pixel is issued.
    address, accumulator : ``Out``
        Of the pixel issued a cycle ago: in the banks and below the array.
    first : ``Out(1)``
        It is, or will be, its tile's first one.
    last : ``Out(1)``
        This is the tile's last cycle.
    upcoming_last : ``Out(1)``
        The next cycle is.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        words = ceil_log2(target.act_depth)
        super().__init__(
            {
                "job": In(_INSTRUCTION),
                "start": In(1),
                "base": In(words),
                "short": In(4),
                "active": In(1),
                "ready": In(1),
                "issue": Out(1),
                "first": Out(1),
                "address": Out(words),
                "accumulator": Out(ceil_log2(target.acc_depth)),
                "last": Out(1),
                "upcoming_last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        job = self.job
        bits = bits_for(self._target.acc_depth)
        m.submodules.cols = cols = PixelCounter(bits, short=self._target.short_stages)
        m.submodules.rows = rows = PixelCounter(bits, short=self._target.short_stages)
        exhausted = Signal()  # all pixels are issued, the tile's least time is not over
        elapsed = Signal(self._target.accumulate_latency - 2)  # a bit for each cycle
        m.d.comb += [
            self.issue.eq(self.active & ~exhausted & (~self.first | self.ready)),
            Cat(cols.single, cols.double, rows.single, rows.double).eq(self.short),
            cols.count.eq(job.cols),
            cols.start.eq(self.start),
            cols.step.eq(self.issue),
            rows.count.eq(job.rows),
            rows.start.eq(self.start),
            rows.step.eq(self.issue & cols.last),
        ]
        # By then the tile is past its first pixel, so that every cycle has one.
        after_row = Mux(cols.last, rows.next_last, rows.last)
        done = exhausted | (cols.last & rows.last) | (cols.next_last & after_row)
        m.d.comb += self.upcoming_last.eq(~self.start & elapsed[-1] & done)
        m.d.sync += self.last.eq(self.upcoming_last)
        with m.If(self.issue & cols.last & rows.last):
            m.d.sync += exhausted.eq(1)
        with m.If(self.issue):
            m.d.sync += self.first.eq(0)
        with m.If(self.issue | exhausted):
            m.d.sync += elapsed.eq(Cat(1, elapsed))
        with m.If(self.start):
            m.d.sync += [exhausted.eq(0), elapsed.eq(0), self.first.eq(1)]
        self._addresses(m, cols.last)
        return m

    def _addresses(self, m: Module, last_col: Signal) -> None:
        """Follow the pixels; between a tile's first and last one no cycle passes without one."""
        row_ended = Signal()  # with the pixel before
        row_address = Signal.like(self.address, reset_less=True)
        next_row = row_address + self.job.row_step
        m.d.sync += [
            row_ended.eq(last_col),
            self.address.eq(self.address + self.job.col_step),
            self.accumulator.eq(self.accumulator + self.job.acc_step),
        ]
        with m.If(row_ended):
            m.d.sync += [self.address.eq(next_row), row_address.eq(next_row)]
        with m.If(self.first):
            m.d.sync += [
                self.address.eq(self.base),
                row_address.eq(self.base),
                self.accumulator.eq(self.job.acc_base),
            ]
