"""The STORE unit's walk over pooling windows and output rows."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, ceil_log2

from tilewright.compiler.isa import Opcode
from tilewright.compiler.target import Target
from tilewright.hw.accumulators import drain_layout
from tilewright.hw.instructions import instruction_layout
from tilewright.hw.loop_counter import LoopCounter

__all__ = ["DrainWalker"]

_INSTRUCTION = instruction_layout(Opcode.STORE)


class DrainWalker(wiring.Component):
    """Accumulator addresses of every pooling window of every output pixel, one a cycle.

    A packed instruction reads P/2 neighbouring pixels of a row from one block of P accumulators:
    column group b has the pixel of phase f at the block's accumulator ``(b - f) mod P``, and its
    lanes are to be rotated by f groups.

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
        self._target = target
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
        loops = {}
        most = bits_for(self._target.acc_depth)  # of rows and of columns: legal.py
        places = ceil_log2(self._target.acc_depth)
        for name, bits in (("win_cols", 8), ("win_rows", 8), ("cols", most), ("rows", most)):
            m.submodules[name] = loops[name] = loop = LoopCounter(bits)
            m.d.comb += [
                loop.count.eq(getattr(job, name)),
                loop.single.eq(getattr(job, name) == 1),
                loop.start.eq(self.start),
            ]
        last_win_col, last_win_row, last_col, last_row = (loop.last for loop in loops.values())
        first = Signal()
        row_base, col_base, win_base = (
            Signal(places, name=f"{n}_base") for n in ("row", "col", "win")
        )
        address, upcoming = Signal(places), Signal(places)
        block_end = Signal()  # the next pixel stands in another packed block
        part, next_part = Signal(2), Signal(2)  # which pixel of the block's row
        m.d.comb += [upcoming.eq(address), next_part.eq(part), block_end.eq(1)]
        m.d.sync += [address.eq(upcoming), part.eq(next_part)]
        for pixels in self._target.packs:
            with m.If(job.pack == ceil_log2(pixels)):
                m.d.comb += block_end.eq(part == pixels // 2 - 1)
        self._requests(m, upcoming, job.phase | next_part)
        m.d.comb += [
            self.o.valid.eq(self.busy),
            self.o.p.first.eq(first),
            self.o.p.last.eq(last_win_row & last_win_col),
            self.o.p.tag[0].eq(last_col),
            self.o.p.tag[1].eq(last_col & last_row),
        ]
        next_win = win_base + job.win_row_step
        next_col = col_base + Mux(block_end, job.acc_col_step, 0)
        next_row = row_base + job.acc_row_step
        with m.If(self.start):
            m.d.sync += self.busy.eq(1)
            m.d.sync += first.eq(1)
            m.d.comb += [upcoming.eq(job.acc_base), next_part.eq(0)]
            for base in (row_base, col_base, win_base):
                m.d.sync += base.eq(job.acc_base)
        with m.Elif(self.o.valid & self.o.ready):
            m.d.comb += [loops["win_cols"].step.eq(1), upcoming.eq(address + 1)]
            m.d.sync += first.eq(0)
            with m.If(last_win_col):
                m.d.comb += [loops["win_rows"].step.eq(1), upcoming.eq(next_win)]
                m.d.sync += win_base.eq(next_win)
                with m.If(last_win_row):
                    m.d.comb += [
                        loops["cols"].step.eq(1),
                        upcoming.eq(next_col),
                        next_part.eq(Mux(block_end | last_col, 0, part + 1)),
                    ]
                    m.d.sync += first.eq(1)
                    m.d.sync += [base.eq(next_col) for base in (col_base, win_base)]
                    with m.If(last_col):
                        m.d.comb += [loops["rows"].step.eq(1), upcoming.eq(next_row)]
                        for base in (row_base, col_base, win_base):
                            m.d.sync += base.eq(next_row)
                        with m.If(last_row):
                            m.d.sync += self.busy.eq(0)
        return m

    def _requests(self, m: Module, address: Signal, phase: Value) -> None:
        """Register where each column group reads the next accumulator, and the rotation."""
        groups = self._target.bank_groups
        distance = Signal.like(self.o.p.distance)
        addresses = [Signal.like(address, name=f"address_{g}") for g in range(groups)]
        m.d.comb += [own.eq(address) for own in addresses]
        for pixels in self._target.packs:
            bits, finer = ceil_log2(pixels), ceil_log2(groups // pixels)
            with m.If(self.job.pack == bits):
                m.d.comb += distance.eq(phase[:bits] << finer)
                for group, own in enumerate(addresses):
                    low = ((group >> finer) - phase)[:bits]
                    m.d.comb += own.eq(Cat(low, address[bits:]))
        m.d.sync += self.o.p.distance.eq(distance)
        m.d.sync += [self.o.p.addresses[g].eq(own) for g, own in enumerate(addresses)]
