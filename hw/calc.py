"""The CALC unit: for each weight tile, for each pixel, one step of the array."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from tilewright.compiler.isa import FIELDS, Opcode
from tilewright.compiler.microarchitecture import SUM_LATENCY
from tilewright.compiler.target import Target
from tilewright.hw.accumulator_column import sum_layout
from tilewright.hw.array import array_latency
from tilewright.hw.bank_row import pixel_layout
from tilewright.hw.halves_queue import queue_input
from tilewright.hw.instruction_queue import InstructionQueue
from tilewright.hw.instruction_register import InstructionRegister
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

    A tile takes max(pixels, Target.accumulate_latency) cycles if its weights are there. The tokens of the
    next instruction are taken while the present one runs, if the unit has a queue. Tokens given at the end of an
    instruction follow its last pixel through the array, so that whoever gets one finds the
    accumulators written and the banks no longer read.

    Members
    -------
    i : ``In(stream of queue_input(target, CALC))``
    weights : ``In(stream of weight_row_layout(target))``
    word_valid : ``Out(1)``
        The row at `weights` enters the array.
    pixel : ``Out(pixel_layout(target))``
        To the banks.
    control : ``Out(sum_layout(target))``
        To the accumulators, Target.control_lead cycles ahead of column 0's sum.
    give_from_load, give_from_store : ``In(1)``
        Tokens for this unit.
    give_load, give_store : ``Out(1)``
        Tokens for others.
    issuing, wait_load, wait_store, wait_weights : ``Out(1)``
        For the counters: a pixel is issued; or what keeps the unit from it.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._single = target.unit_queue == 1
        fields = tuple(field.name for field in FIELDS[Opcode.CALC] if field.name != "opcode")
        self._excerpt = Excerpt(target, Opcode.CALC, fields)
        super().__init__(
            {
                "i": In(stream.Signature(queue_input(target, Opcode.CALC))),
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
        prepared, next_packed, next_short = self._prepare(m, finish if self._single else begin)
        packed = Signal(self._excerpt.width, reset_less=True)
        short = Signal(4)
        if self._single:  # it stays at the head
            packed, short = next_packed, next_short
        job = self._excerpt.unpack(packed)
        with m.If(begin):
            m.d.sync += active.eq(1)
            if not self._single:
                m.d.sync += [packed.eq(next_packed), short.eq(next_short)]
        with m.Elif(finish):
            m.d.sync += active.eq(0)
        ending = pixels.upcoming_last & tiles.last
        going_on = begin | (active & ~finish)
        m.d.sync += [
            finish.eq(ending),
            begin.eq(prepared & (~going_on | (ending & (not self._single)))),
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
        counts = pixels.issue  # in an accumulator
        if self._target.scaled:
            m.d.sync += self.pixel.scales.eq(pixels.issue & job.scales)
            counts = counts & ~job.scales
        # Of the pixel issued a cycle ago, as its address is.
        now = Signal(sum_layout(self._target))
        late = Signal(data.StructLayout({"valid": 1, "gives": 2}))
        steady = Signal(data.StructLayout({"half": 1, "first": 1, "shift": 1}), reset_less=True)
        m.d.sync += [
            late.valid.eq(counts),
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

    def _prepare(self, m: Module, leave: Signal) -> tuple[Value, Signal, Signal]:
        """Take the tokens of the next instruction, at the head of the queue, which it will `leave`.

        Returns whether that will have been done in the next cycle, the instruction, and whether it
        has one column, two, one row, two.
        """
        queue: InstructionQueue | InstructionRegister
        if self._single:
            m.submodules.queue = queue = InstructionRegister(self._target, self._excerpt)
            wiring.connect(m, wiring.flipped(self.i), queue.i)
        else:
            m.submodules.queue = queue = InstructionQueue(
                width=self._excerpt.width,
                depth=self._target.unit_queue + 1,
                short=self._target.short_stages,
            )
            m.d.comb += [
                queue.w_en.eq(self.i.valid),
                queue.w_data.eq(self._excerpt.pack(self.i.p)),
                self.i.ready.eq(queue.w_rdy),
            ]
        m.submodules.loaded = loaded = Semaphore(self._target)
        m.submodules.drained = drained = Semaphore(self._target)
        job = self._excerpt.unpack(queue.r_data)
        taken = Signal()
        short = Signal(4)
        stands = Signal()  # at the head for a cycle, so that the tokens are known
        waiting = stands & ~taken
        take = waiting & loaded.enough & drained.enough
        m.d.sync += stands.eq(queue.r_rdy & ~leave)
        prepared = take | (taken & ~leave)
        m.d.comb += [
            queue.r_en.eq(leave),
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
        stages = target.bank_latency + array_latency(target) - target.control_lead
        valid: Value = now.valid
        for stage in range(stages):
            valid_then, gives_then = Signal(name=f"valid_{stage}"), Signal(2, name=f"early_{stage}")
            m.d.sync += [valid_then.eq(valid), gives_then.eq(gives)]
            valid, gives = valid_then, gives_then
        delayed = self._later(m, now.as_value(), stages)
        m.d.comb += [self.control.eq(delayed), self.control.valid.eq(valid)]
        # The last cell's columns get their sums cells_per_row - 1 cycles after the first one's.
        for stage in range(target.control_lead + target.cells_per_row + SUM_LATENCY):
            gives_then = Signal(2, name=f"gives_{stage}")
            m.d.sync += gives_then.eq(gives)
            gives = gives_then
        m.d.comb += Cat(self.give_load, self.give_store).eq(gives)

    def _later(self, m: Module, value: Value, cycles: int) -> Value:
        """A value some cycles later; on small targets out of a memory, which spares registers."""
        if self._target.bursts:
            for stage in range(cycles):
                register = Signal(len(value), name=f"control_{stage}", reset_less=True)
                m.d.sync += register.eq(value)
                value = register
            return value
        places = 1 << (cycles - 1).bit_length()
        memory = Memory(shape=len(value), depth=places, init=[])
        m.submodules.later = memory
        write, read = memory.write_port(), memory.read_port()
        m.d.sync += write.addr.eq(write.addr + 1)
        m.d.comb += [
            write.en.eq(1),
            write.data.eq(value),
            read.addr.eq(write.addr + (places - cycles + 1)),  # what was written a cycle less ago
        ]
        return read.data
