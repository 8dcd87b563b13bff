"""The CALC unit: for each weight tile, for each pixel, one step of the array."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tilewright.compiler.isa import FIELDS, Opcode
from tilewright.compiler.microarchitecture import ACCUMULATE_LATENCY, UNIT_QUEUE
from tilewright.compiler.target import Target
from tilewright.hw.accumulator_column import sum_layout
from tilewright.hw.array import array_latency
from tilewright.hw.bank_row import pixel_layout
from tilewright.hw.instruction_queue import InstructionQueue
from tilewright.hw.instructions import Excerpt, instruction_layout
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
        fields = tuple(field.name for field in FIELDS[Opcode.CALC] if field.name != "opcode")
        self._excerpt = Excerpt(target, Opcode.CALC, fields)
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
        m.submodules.tiles = tiles = TileWalker(self._target)
        m.submodules.pixels = pixels = PixelWalker(self._target)
        wiring.connect(m, wiring.flipped(self.weights), loader.i)

        # What goes to many registers is one itself, found a cycle ahead.
        active = Signal()
        begin = Signal()
        finish = Signal()  # the instruction's last cycle
        prepared, next_packed, next_short = self._prepare(m, begin)
        packed = Signal(self._excerpt.width, reset_less=True)
        short = Signal(4)
        job = self._excerpt.unpack(packed)
        with m.If(begin):
            m.d.sync += [active.eq(1), packed.eq(next_packed), short.eq(next_short)]
        with m.Elif(finish):
            m.d.sync += active.eq(0)
        going_on = begin | (active & ~finish)
        m.d.sync += [
            finish.eq(pixels.upcoming_last & tiles.last),
            begin.eq(prepared & (~going_on | (pixels.upcoming_last & tiles.last))),
        ]
        m.d.comb += [
            tiles.job.eq(job),
            tiles.next_job.eq(self._excerpt.unpack(next_packed)),
            tiles.load.eq(begin),
            tiles.step.eq(pixels.last & ~finish),
            pixels.job.eq(job),
            pixels.start.eq(pixels.last | begin),
            pixels.short.eq(Mux(begin, next_short, short)),
            pixels.base.eq(tiles.base),
            pixels.active.eq(active),
            pixels.ready.eq(loader.complete),
            loader.start.eq(active & pixels.first),
            self.word_valid.eq(loader.word_valid),
            self.issuing.eq(pixels.issue),
            self.wait_weights.eq(active & pixels.first & ~loader.complete),
            self.pixel.address.eq(pixels.address),
        ]
        m.d.sync += [
            self.pixel.swap.eq(loader.start & loader.complete),
            self.pixel.gather.eq(job.gather),
        ]
        # Of the pixel issued a cycle ago, as its address is.
        now = Signal(sum_layout(self._target))
        late = Signal(data.StructLayout({"valid": 1, "gives": 2}))
        steady = Signal(data.StructLayout({"half": 1, "first": 1, "shift": 1}), reset_less=True)
        m.d.sync += [
            late.valid.eq(pixels.issue),
            late.gives.eq(Mux(finish, Cat(job.signal_load, job.signal_store), 0)),
            steady.half.eq(job.half),
            steady.first.eq(job.first & tiles.first),
            steady.shift.eq(job.shift),
        ]
        m.d.comb += [
            now.valid.eq(late.valid),
            now.address.eq(pixels.accumulator),
            now.half.eq(steady.half),
            now.first.eq(steady.first),
            now.shift.eq(steady.shift),
        ]
        self._delay(m, now, late.gives)
        return m

    def _prepare(self, m: Module, begin: Signal) -> tuple[Value, Signal, Signal]:
        """Take the tokens of the next instruction, which waits at the head of the queue.

        Returns whether that will have been done in the next cycle, the instruction, and whether it
        has one column, two, one row, two.
        """
        m.submodules.queue = queue = InstructionQueue(
            width=self._excerpt.width, depth=UNIT_QUEUE + 1
        )
        m.submodules.loaded = loaded = Semaphore()
        m.submodules.drained = drained = Semaphore()
        job = self._excerpt.unpack(queue.r_data)
        taken = Signal()
        short = Signal(4)
        waiting = queue.r_rdy & ~taken
        take = waiting & loaded.enough & drained.enough
        prepared = take | (taken & ~begin)
        m.d.comb += [
            queue.w_en.eq(self.i.valid),
            queue.w_data.eq(self._excerpt.pack(self.i.p)),
            queue.r_en.eq(begin),
            self.i.ready.eq(queue.w_rdy),
            loaded.give.eq(self.give_from_load),
            loaded.count.eq(job.wait_load),
            loaded.take.eq(take),
            drained.give.eq(self.give_from_store),
            drained.count.eq(job.wait_store),
            drained.take.eq(take),
            self.wait_load.eq(waiting & ~loaded.enough & ~self.issuing),
            self.wait_store.eq(waiting & loaded.enough & ~drained.enough & ~self.issuing),
        ]
        m.d.sync += taken.eq(prepared)
        with m.If(take):
            m.d.sync += short.eq(Cat(job.cols == 1, job.cols == 2, job.rows == 1, job.rows == 2))
        return prepared, queue.r_data, short

    def _delay(self, m: Module, now: data.View, gives: Value) -> None:
        """Delay what happens below the array until the pixel's sums are there."""
        target = self._target
        # Column 0's control comes one cycle before its sum.
        delayed = now
        for stage in range(target.bank_latency + array_latency(target) - 1):
            register = Signal.like(now, name=f"control_{stage}", reset_less=True)
            valid, gives_then = Signal(name=f"valid_{stage}"), Signal(2, name=f"early_{stage}")
            m.d.sync += [register.eq(delayed), valid.eq(delayed.valid), gives_then.eq(gives)]
            delayed = Signal.like(now, name=f"delayed_{stage}")
            m.d.comb += [delayed.eq(register), delayed.valid.eq(valid)]
            gives = gives_then
        m.d.comb += self.control.eq(delayed)
        # The last cell's columns write cells_per_row - 1 + ACCUMULATE_LATENCY cycles later.
        for stage in range(target.cells_per_row + ACCUMULATE_LATENCY):
            gives_then = Signal(2, name=f"gives_{stage}")
            m.d.sync += gives_then.eq(gives)
            gives = gives_then
        m.d.comb += Cat(self.give_load, self.give_store).eq(gives)
