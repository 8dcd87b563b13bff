"""The STORE unit's walk over pooling windows and output rows."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tilewright.compiler.isa import Opcode
from tilewright.compiler.target import Target
from tilewright.hw.accumulators import drain_layout
from tilewright.hw.instructions import instruction_layout

__all__ = ["DrainWalker"]

_INSTRUCTION = instruction_layout(Opcode.STORE)


class DrainWalker(wiring.Component):
    """Accumulator addresses of every pooling window of every output pixel, one a cycle.

    Members
    -------
    job : ``In(STORE instruction)``
        Constant while busy.
    start : ``In(1)``
        Begin.
    o : ``Out(stream of drain_layout(target))``
        `tag[0]` marks the last pixel of an output row, `tag[1]` the last one of all.
    busy : ``Out(1)``
    """

    def __init__(self, target: Target) -> None:
        super().__init__(
            {
                "job": In(_INSTRUCTION),
                "start": In(1),
                "o": Out(stream.Signature(drain_layout(target))),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        job = self.job
        row, col = Signal(16), Signal(16)
        win_row, win_col = Signal(8), Signal(8)
        row_base, col_base, win_base, address = Signal(16), Signal(16), Signal(16), Signal(16)
        last_row, last_col = Signal(), Signal()
        last_win_row, last_win_col = Signal(), Signal()
        m.d.comb += [
            last_row.eq(row == job.rows - 1),
            last_col.eq(col == job.cols - 1),
            last_win_row.eq(win_row == job.win_rows - 1),
            last_win_col.eq(win_col == job.win_cols - 1),
            self.o.valid.eq(self.busy),
            self.o.p.address.eq(address),
            self.o.p.first.eq((win_row == 0) & (win_col == 0)),
            self.o.p.last.eq(last_win_row & last_win_col),
            self.o.p.tag[0].eq(last_col),
            self.o.p.tag[1].eq(last_col & last_row),
        ]
        next_win = win_base + job.win_row_step
        next_col = col_base + job.acc_col_step
        next_row = row_base + job.acc_row_step
        with m.If(self.start):
            m.d.sync += self.busy.eq(1)
            for counter in (row, col, win_row, win_col):
                m.d.sync += counter.eq(0)
            for base in (row_base, col_base, win_base, address):
                m.d.sync += base.eq(job.acc_base)
        with m.Elif(self.o.valid & self.o.ready):
            m.d.sync += [win_col.eq(win_col + 1), address.eq(address + 1)]
            with m.If(last_win_col):
                m.d.sync += [win_col.eq(0), win_row.eq(win_row + 1)]
                m.d.sync += [base.eq(next_win) for base in (win_base, address)]
                with m.If(last_win_row):
                    m.d.sync += [win_row.eq(0), col.eq(col + 1)]
                    m.d.sync += [base.eq(next_col) for base in (col_base, win_base, address)]
                    with m.If(last_col):
                        m.d.sync += [col.eq(0), row.eq(row + 1)]
                        for base in (row_base, col_base, win_base, address):
                            m.d.sync += base.eq(next_row)
                        with m.If(last_row):
                            m.d.sync += self.busy.eq(0)
        return m
