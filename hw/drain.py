"""The STORE unit's walk over pooling windows and output rows."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, ValueLike
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, ceil_log2

from tilewright.compiler.isa import Opcode
from tilewright.compiler.target import Target
from tilewright.hw.accumulators import drain_layout
from tilewright.hw.flow import flow
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
        Constant from `start` until the cycle after `busy`.
    start : ``In(1)``
        Begin.
    go : ``In(1)``
        An accumulator may be asked for; with short stages in the next cycle.
    o : ``Out(flow of drain_layout(target))``
        The one asked for a cycle ago. `tag[0]` marks the last pixel of an output row,
        `tag[1]` the last one of all.
    window : ``Out(1)``
        The last one of a window is asked for in this cycle.
    busy : ``Out(1)``
        Accumulators are left.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        super().__init__(
            {
                "job": In(_INSTRUCTION),
                "start": In(1),
                "go": In(1),
                "o": Out(flow(drain_layout(target))),
                "window": Out(1),
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
            m.submodules[name] = loops[name] = loop = LoopCounter(
                bits, short=self._target.short_stages
            )
            m.d.comb += [
                loop.count.eq(getattr(job, name)),
                loop.single.eq(getattr(job, name) == 1),
                loop.start.eq(self.start),
            ]
        last_win_col, last_win_row, last_col, last_row = (loop.last for loop in loops.values())
        first = Signal()
        row_base, col_base, win_base = (
            Signal(places, name=f"{n}_base", reset_less=True) for n in ("row", "col", "win")
        )
        address = Signal(places, reset_less=True)
        block_end = Signal()  # the next pixel stands in another packed block
        part = Signal(2)  # which pixel of the block's row
        step = Signal()
        wraps = block_end | last_col
        begin, go_on = [part.eq(0)], [part.eq(Mux(wraps, 0, part + 1))]
        if self._target.short_stages:  # what follows from the part changes with it
            col_step = Signal.like(job.acc_col_step, reset_less=True)
            at_once, then = (
                self._block_end(0),
                Mux(wraps, self._block_end(0), self._block_end(part + 1)),
            )
            for changes, end in ((begin, at_once), (go_on, then)):
                changes += [block_end.eq(end), col_step.eq(Mux(end, job.acc_col_step, 0))]
            ends = step & last_win_col & last_win_row & last_col & last_row
            m.d.sync += step.eq(self.go & (self.start | (self.busy & ~ends)))
        else:
            m.d.comb += [step.eq(self.busy & self.go), block_end.eq(1)]
            for pixels in self._target.packs:
                with m.If(job.pack == ceil_log2(pixels)):
                    m.d.comb += block_end.eq(part == pixels // 2 - 1)
            col_step = Mux(block_end, job.acc_col_step, 0)
        self._requests(m, address, job.phase | part)
        tag = Signal(2, reset_less=True)
        m.d.comb += [self.window.eq(step & last_win_row & last_win_col), self.o.p.tag.eq(tag)]
        m.d.sync += [
            self.o.valid.eq(step),
            self.o.p.first.eq(first),
            self.o.p.last.eq(last_win_row & last_win_col),
            tag.eq(Cat(last_col, last_col & last_row)),
        ]
        next_win = win_base + job.win_row_step
        next_col = col_base + col_step
        next_row = row_base + job.acc_row_step
        with m.If(self.start):
            m.d.sync += [self.busy.eq(1), first.eq(1), *begin]
            m.d.sync += [base.eq(job.acc_base) for base in (address, row_base, col_base, win_base)]
        # Both at once never happens; a register need not ask whether it starts.
        with m.If(step) if self._target.short_stages else m.Elif(step):
            m.d.comb += loops["win_cols"].step.eq(1)
            m.d.sync += [first.eq(0), address.eq(address + 1)]
            with m.If(last_win_col):
                m.d.comb += loops["win_rows"].step.eq(1)
                m.d.sync += [base.eq(next_win) for base in (address, win_base)]
                with m.If(last_win_row):
                    m.d.comb += loops["cols"].step.eq(1)
                    m.d.sync += [first.eq(1), *go_on]
                    m.d.sync += [base.eq(next_col) for base in (address, col_base, win_base)]
                    with m.If(last_col):
                        m.d.comb += loops["rows"].step.eq(1)
                        bases = (address, row_base, col_base, win_base)
                        m.d.sync += [base.eq(next_row) for base in bases]
                        with m.If(last_row):
                            m.d.sync += self.busy.eq(0)
        return m

    def _block_end(self, part: ValueLike) -> Value:
        """Whether a packed block ends behind one of its parts."""
        end: Value = Const(1)
        for pixels in self._target.packs:
            is_last = Const(pixels // 2 - 1, 3) == part
            end = Mux(self.job.pack == ceil_log2(pixels), is_last, end)
        return end

    def _requests(self, m: Module, address: Signal, phase: Value) -> None:
        """Register where each column group reads the accumulator, and the rotation."""
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
