"""The pixels of a CALC instruction's weight tile, one after the other."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tilewright.compiler.isa import Opcode
from tilewright.compiler.microarchitecture import ACCUMULATE_LATENCY
from tilewright.hw.instructions import instruction_layout
from tilewright.hw.loop_counter import LoopCounter

__all__ = ["PixelWalker"]

_INSTRUCTION = instruction_layout(Opcode.CALC)


class PixelWalker(wiring.Component):
    """Walks the pixels of one weight tile, row by row, one a cycle.

    A tile takes at least ACCUMULATE_LATENCY cycles; a tile of fewer pixels ends with idle ones.

    Members
    -------
    job : ``In(CALC instruction)``
        Constant while a tile is walked.
    start : ``In(1)``
        In the next cycle begins a tile whose first pixel stands at `base`, its accumulator at
        `acc_base`. May come with `last`.
    base, acc_base : ``In(16)``
        Valid with `start`.
    single_col, single_row : ``In(1)``
        The job has one column, one row; valid with `start` already.
    active : ``In(1)``
        A tile is to be walked.
    ready : ``In(1)``
        The tile's weights are there; looked at before its first pixel only.
    issue : ``Out(1)``
        A pixel is issued: `address` in the banks, `accumulator` below the array.
    first : ``Out(1)``
        It is, or will be, its tile's first one.
    last : ``Out(1)``
        This is the tile's last cycle.
    """

    job: In(_INSTRUCTION)
    start: In(1)
    base: In(16)
    acc_base: In(16)
    single_col: In(1)
    single_row: In(1)
    active: In(1)
    ready: In(1)
    issue: Out(1)
    first: Out(1)
    address: Out(16)
    accumulator: Out(16)
    last: Out(1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        job = self.job
        m.submodules.cols = cols = LoopCounter(16)
        m.submodules.rows = rows = LoopCounter(16)
        row_address = Signal(16)
        exhausted = Signal()  # all pixels are issued, the tile's least time is not over
        elapsed = Signal(ACCUMULATE_LATENCY - 1)  # a bit for each cycle
        last_pixel = Signal()
        m.d.comb += [
            self.issue.eq(self.active & ~exhausted & (~self.first | self.ready)),
            cols.count.eq(job.cols),
            cols.single.eq(self.single_col),
            cols.start.eq(self.start),
            cols.step.eq(self.issue),
            rows.count.eq(job.rows),
            rows.single.eq(self.single_row),
            rows.start.eq(self.start),
            rows.step.eq(self.issue & cols.last),
            last_pixel.eq(self.issue & cols.last & rows.last),
            # By then the tile is active and past its first pixel, so that every cycle has a pixel.
            self.last.eq(elapsed[-1] & (exhausted | (cols.last & rows.last))),
        ]
        with m.If(self.issue):
            m.d.sync += [
                self.first.eq(0),
                self.accumulator.eq(self.accumulator + job.acc_step),
                self.address.eq(self.address + job.col_step),
            ]
            with m.If(cols.last):
                m.d.sync += [
                    self.address.eq(row_address + job.row_step),
                    row_address.eq(row_address + job.row_step),
                ]
        with m.If(last_pixel):
            m.d.sync += exhausted.eq(1)
        with m.If(self.issue | exhausted):
            m.d.sync += elapsed.eq(Cat(1, elapsed))
        with m.If(self.start):
            m.d.sync += [
                exhausted.eq(0),
                elapsed.eq(0),
                self.first.eq(1),
                self.address.eq(self.base),
                row_address.eq(self.base),
                self.accumulator.eq(self.acc_base),
            ]
        return m
