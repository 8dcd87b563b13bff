"""The CALC unit: for each weight tile, for each pixel, one step of the array."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tilewright.compiler.isa import Opcode
from tilewright.compiler.microarchitecture import ACCUMULATE_LATENCY
from tilewright.compiler.target import Target
from tilewright.hw.accumulator_column import sum_layout
from tilewright.hw.array import array_latency
from tilewright.hw.bank_row import pixel_layout
from tilewright.hw.instructions import instruction_layout
from tilewright.hw.pixel_walker import PixelWalker
from tilewright.hw.semaphore import Semaphore
from tilewright.hw.tile_loader import TileLoader
from tilewright.hw.tile_walker import TileWalker
from tilewright.hw.weights import weight_row_layout

__all__ = ["CalcUnit"]

_INSTRUCTION = instruction_layout(Opcode.CALC)


class CalcUnit(wiring.Component):
    """Issues one pixel a cycle, without a bubble between tiles or instructions.

    A tile takes max(pixels, ACCUMULATE_LATENCY) cycles if its weights are there. The tokens of the
    next instruction are taken while the present one runs. Tokens given at the end of an
    instruction follow its last pixel through the array, so that whoever gets one finds the
    accumulators written and the banks no longer read.

    Members
    -------
    i : ``In(stream of CALC instructions)``
    weights : ``In(stream of weight_row_layout(target))``
    word_valid : ``Out(1)``
        The row at `weights` enters the array.
    pixel : ``Out(pixel_layout(target))``
        To the banks.
    control : ``Out(sum_layout(target))``
        To the accumulators, one cycle ahead of column 0's sum.
    give_from_load, give_from_store : ``In(1)``
        Tokens for this unit.
    give_load, give_store : ``Out(1)``
        Tokens for others.
    issuing, wait_load, wait_store, wait_weights : ``Out(1)``
        For the counters: a pixel is issued; or what keeps the unit from it.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        super().__init__(
            {
                "i": In(stream.Signature(_INSTRUCTION)),
                "weights": In(stream.Signature(weight_row_layout(target))),
                "word_valid": Out(1),
                "pixel": Out(pixel_layout(target)),
                "control": Out(sum_layout(target)),
                "give_from_load": In(1),
                "give_from_store": In(1),
                "give_load": Out(1),
                "give_store": Out(1),
                "issuing": Out(1),
                "wait_load": Out(1),
                "wait_store": Out(1),
                "wait_weights": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.loader = loader = TileLoader(self._target)
        m.submodules.tiles = tiles = TileWalker()
        m.submodules.pixels = pixels = PixelWalker()
        wiring.connect(m, wiring.flipped(self.weights), loader.i)

        active = Signal()
        job = Signal(_INSTRUCTION)
        finish = Signal()  # the instruction's last cycle
        begin = Signal()
        singles = Signal(2)  # one column, one row
        next_valid, next_job, next_singles = self._prepare(m, begin)
        with m.If(begin):
            m.d.sync += [active.eq(1), job.eq(next_job), singles.eq(next_singles)]
        with m.Elif(finish):
            m.d.sync += active.eq(0)
        m.d.comb += [
            begin.eq(next_valid & (~active | finish)),
            finish.eq(pixels.last & tiles.last),
            tiles.job.eq(job),
            tiles.next_job.eq(next_job),
            tiles.load.eq(begin),
            tiles.step.eq(pixels.last & ~tiles.last),
            pixels.job.eq(job),
            pixels.start.eq(pixels.last | begin),
            Cat(pixels.single_col, pixels.single_row).eq(Mux(begin, next_singles, singles)),
            pixels.base.eq(Mux(begin, next_job.base, tiles.upcoming)),
            pixels.acc_base.eq(Mux(begin, next_job.acc_base, job.acc_base)),
            pixels.active.eq(active),
            pixels.ready.eq(loader.complete),
            loader.start.eq(active & pixels.first),
            self.word_valid.eq(loader.word_valid),
            self.issuing.eq(pixels.issue),
            self.wait_weights.eq(active & pixels.first & ~loader.complete),
        ]
        m.d.sync += [
            self.pixel.address.eq(pixels.address),
            self.pixel.swap.eq(loader.start & loader.complete),
            self.pixel.gather.eq(job.gather),
        ]
        now = Signal(data.StructLayout({"sum": sum_layout(self._target), "gives": 2}))
        m.d.comb += [
            now.sum.valid.eq(pixels.issue),
            now.sum.address.eq(pixels.accumulator),
            now.sum.half.eq(job.half),
            now.sum.first.eq(job.first & tiles.first),
            now.sum.shift.eq(job.shift),
            now.gives.eq(Mux(finish, Cat(job.signal_load, job.signal_store), 0)),
        ]
        self._delay(m, now)
        return m

    def _prepare(self, m: Module, begin: Signal) -> tuple[Signal, data.View, Signal]:
        """Hold the next instruction, its tokens taken."""
        m.submodules.loaded = loaded = Semaphore()
        m.submodules.drained = drained = Semaphore()
        next_valid = Signal()
        next_job = Signal(_INSTRUCTION)
        next_singles = Signal(2)
        take = self.i.valid & loaded.enough & drained.enough & ~next_valid
        m.d.comb += [
            loaded.give.eq(self.give_from_load),
            loaded.count.eq(self.i.p.wait_load),
            loaded.take.eq(take),
            drained.give.eq(self.give_from_store),
            drained.count.eq(self.i.p.wait_store),
            drained.take.eq(take),
            self.i.ready.eq(take),
            self.wait_load.eq(self.i.valid & ~loaded.enough & ~self.issuing),
            self.wait_store.eq(self.i.valid & loaded.enough & ~drained.enough & ~self.issuing),
        ]
        with m.If(take):
            m.d.sync += [
                next_valid.eq(1),
                next_job.eq(self.i.p),
                next_singles.eq(Cat(self.i.p.cols == 1, self.i.p.rows == 1)),
            ]
        with m.Elif(begin):
            m.d.sync += next_valid.eq(0)
        return next_valid, next_job, next_singles

    def _delay(self, m: Module, now: data.View) -> None:
        """Delay what happens below the array until the pixel's sums are there."""
        target = self._target
        # Column 0's control comes one cycle before its sum.
        delayed: data.View = now
        for stage in range(target.bank_latency + array_latency(target)):
            register = Signal.like(now, name=f"control_{stage}")
            m.d.sync += register.eq(delayed)
            delayed = register
        m.d.comb += self.control.eq(delayed.sum)
        # The last cell's columns write cells_per_row - 1 + ACCUMULATE_LATENCY cycles later.
        gives = delayed.gives
        for stage in range(target.cells_per_row + ACCUMULATE_LATENCY):
            register = Signal(2, name=f"gives_{stage}")
            m.d.sync += register.eq(gives)
            gives = register
        m.d.comb += Cat(self.give_load, self.give_store).eq(gives)
