"""The CALC unit: for each weight tile, for each pixel, one step of the array."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tilewright.compiler.isa import Opcode
from tilewright.compiler.target import Target
from tilewright.hw.accumulator_column import ACCUMULATE_LATENCY, sum_layout
from tilewright.hw.array import array_latency
from tilewright.hw.bank_row import BANK_LATENCY, pixel_layout
from tilewright.hw.instructions import instruction_layout
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
        To the accumulators, two cycles ahead of column 0's sum.
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
        m.submodules.walker = walker = TileWalker()
        wiring.connect(m, wiring.flipped(self.weights), loader.i)
        m.d.comb += self.word_valid.eq(loader.word_valid)

        active = Signal()
        job = Signal(_INSTRUCTION)
        finish = Signal()  # the instruction's last cycle
        begin = Signal()
        next_valid, next_job = self._prepare(m, begin)
        m.d.comb += [
            begin.eq(next_valid & (~active | finish)),
            walker.job.eq(job),
            walker.next_job.eq(next_job),
            walker.load.eq(begin),
        ]
        with m.If(begin):
            m.d.sync += [active.eq(1), job.eq(next_job)]
        with m.Elif(finish):
            m.d.sync += active.eq(0)
        self._issue(m, active, job, next_job, begin, finish, loader, walker)
        return m

    def _prepare(self, m: Module, begin: Signal) -> tuple[Signal, Signal]:
        """Hold the next instruction, its tokens taken."""
        m.submodules.loaded = loaded = Semaphore()
        m.submodules.drained = drained = Semaphore()
        next_valid = Signal()
        next_job = Signal(_INSTRUCTION)
        free = ~next_valid | begin
        take = self.i.valid & loaded.enough & drained.enough & free
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
            m.d.sync += [next_valid.eq(1), next_job.eq(self.i.p)]
        with m.Elif(begin):
            m.d.sync += next_valid.eq(0)
        return next_valid, next_job

    def _issue(
        self,
        m: Module,
        active: Signal,
        job: Signal,
        next_job: Signal,
        begin: Signal,
        finish: Signal,
        loader: TileLoader,
        walker: TileWalker,
    ) -> None:
        """Walk the pixels of each tile."""
        x, y = Signal(16), Signal(16)
        address, row_address = Signal(16), Signal(16)
        accumulator = Signal(16)
        starting = Signal()  # the next pixel is its tile's first
        exhausted = Signal()  # all pixels are issued, the tile's least time is not over
        elapsed = Signal(range(ACCUMULATE_LATENCY))
        issue, last_x, last_pixel, tile_end = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            issue.eq(active & ~exhausted & (~starting | loader.complete)),
            loader.start.eq(issue & starting),
            last_x.eq(x == job.cols - 1),
            last_pixel.eq(issue & last_x & (y == job.rows - 1)),
            tile_end.eq((last_pixel | exhausted) & (elapsed == ACCUMULATE_LATENCY - 1)),
            walker.step.eq(tile_end & ~walker.last),
            finish.eq(tile_end & walker.last),
            self.issuing.eq(issue),
            self.wait_weights.eq(active & starting & ~loader.complete),
        ]
        with m.If(issue):
            m.d.sync += [
                starting.eq(0),
                x.eq(x + 1),
                accumulator.eq(accumulator + 1),
                address.eq(address + job.col_step),
            ]
            with m.If(last_x):
                m.d.sync += [
                    x.eq(0),
                    y.eq(y + 1),
                    address.eq(row_address + job.row_step),
                    row_address.eq(row_address + job.row_step),
                ]
        with m.If(last_pixel):
            m.d.sync += exhausted.eq(1)
        with m.If((issue | exhausted) & (elapsed != ACCUMULATE_LATENCY - 1)):
            m.d.sync += elapsed.eq(elapsed + 1)
        with m.If(tile_end | begin):
            start = Mux(begin, next_job.base, walker.upcoming)
            m.d.sync += [
                exhausted.eq(0),
                elapsed.eq(0),
                starting.eq(1),
                x.eq(0),
                y.eq(0),
                address.eq(start),
                row_address.eq(start),
                accumulator.eq(Mux(begin, next_job.acc_base, job.acc_base)),
            ]
        self._send(m, job, issue, address, accumulator, starting, finish, walker)

    def _send(
        self,
        m: Module,
        job: Signal,
        issue: Signal,
        address: Signal,
        accumulator: Signal,
        starting: Signal,
        finish: Signal,
        walker: TileWalker,
    ) -> None:
        """Register the pixel, and delay the accumulators' part by the array's latency."""
        target = self._target
        m.d.sync += [
            self.pixel.address.eq(address),
            self.pixel.swap.eq(issue & starting),
            self.pixel.gather.eq(job.gather),
        ]
        layout = data.StructLayout(
            {
                "sum": sum_layout(target),
                "give_load": 1,
                "give_store": 1,
            }
        )
        now = Signal(layout)
        m.d.comb += [
            now.sum.valid.eq(issue),
            now.sum.address.eq(accumulator),
            now.sum.half.eq(job.half),
            now.sum.first.eq(job.first & walker.first),
            now.give_load.eq(finish & job.signal_load),
            now.give_store.eq(finish & job.signal_store),
        ]
        # Column 0's control comes two cycles before its sum.
        stages = 1 + BANK_LATENCY + array_latency(target) - 2
        delayed: data.View = now
        for stage in range(stages):
            register = Signal(layout, name=f"control_{stage}")
            m.d.sync += register.eq(delayed)
            delayed = register
        m.d.comb += self.control.eq(delayed.sum)
        # The last column writes C - 1 + ACCUMULATE_LATENCY cycles later.
        gives = Cat(delayed.give_load, delayed.give_store)
        for stage in range(target.cols + ACCUMULATE_LATENCY):
            register = Signal(2, name=f"gives_{stage}")
            m.d.sync += register.eq(gives)
            gives = register
        m.d.comb += Cat(self.give_load, self.give_store).eq(gives)
