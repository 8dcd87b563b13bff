"""The STORE unit: accumulators through pooling and post-processing to memory."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from tilewright.compiler.isa import FIELDS, PARAM_BYTES, Opcode
from tilewright.compiler.target import Target
from tilewright.hw.accumulators import drain_layout, drained_layout
from tilewright.hw.burst import TRANSFER
from tilewright.hw.drain import DrainWalker
from tilewright.hw.flow import flow
from tilewright.hw.halves_queue import HalvesQueue, queue_input
from tilewright.hw.instruction_queue import InstructionQueue
from tilewright.hw.instructions import instruction_layout
from tilewright.hw.lanes import LanePacker
from tilewright.hw.parameter_loader import ParameterLoader
from tilewright.hw.pooling import Pooling
from tilewright.hw.postprocess import PostProcess
from tilewright.hw.row_transfers import RowTransfers
from tilewright.hw.semaphore import Semaphore
from tilewright.hw.stamp_source import StampSource
from tilewright.hw.stream_buffer import StreamBuffer
from tilewright.hw.writer import beat_layout

__all__ = ["StoreUnit"]

_STORE = instruction_layout(Opcode.STORE)
_JOB = tuple(field.name for field in FIELDS[Opcode.STORE] if field.name != "params")
"""What is needed besides the parameters' address; a STAMP's address takes the place of a STORE's."""
_RECORD = data.StructLayout({"bias": signed(48), "shift": unsigned(8), "reserved": unsigned(8)})


class StoreUnit(wiring.Component):
    """Runs STORE, STAMP and FINISH.

    The parameters of the next STOREs are fetched as soon as their instructions arrive. A STORE
    loads its parameters, waits for its accumulators, then reads one accumulator word a cycle.
    CALC gets its token when the last accumulator has been read, LOAD when the write responses are
    there; neither delays the next STORE. STAMP and FINISH wait until all is written.

    Between the accumulators and the queue of results nothing ever stops: an accumulator is asked for
    only if the queue will have room for what becomes of it.

    Members
    -------
    i : ``In(stream of queue_input(target, STORE))``
    param_transfer, param_beats : to and from the unit's reader
    request, drained, drain_half : to and from the accumulators; any number of cycles apart
    transfer, beats : to the writer
    writer_idle : ``In(1)``
    give_from_calc : ``In(1)``
        Token for this unit.
    give_calc : ``Out(1)``
        Token for CALC.
    cycles, busy_cycles : ``In(32)``
        Counters to stamp.
    finished : ``Out(1)``
        FINISH is done.
    busy : ``Out(1)``
        A STORE is past its waiting.
    wait_params, wait_calc, wait_writes : ``Out(1)``
        For ACTIVITY: what an instruction waits for.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        super().__init__(
            {
                "i": In(stream.Signature(queue_input(target, Opcode.STORE))),
                "param_transfer": Out(stream.Signature(TRANSFER)),
                "param_beats": In(stream.Signature(8 * target.bus_bytes)),
                "request": Out(flow(drain_layout(target))),
                "drained": In(flow(drained_layout(target))),
                "drain_half": Out(1),
                "transfer": Out(stream.Signature(TRANSFER)),
                "beats": Out(stream.Signature(beat_layout(target))),
                "writer_idle": In(1),
                "give_from_calc": In(1),
                "give_calc": Out(1),
                "cycles": In(32),
                "busy_cycles": In(32),
                "finished": Out(1),
                "busy": Out(1),
                "wait_params": Out(1),
                "wait_calc": Out(1),
                "wait_writes": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        target = self._target
        m.submodules.queue = queue = HalvesQueue(
            target, Opcode.STORE, first=("opcode", "params"), second=_JOB
        )
        m.submodules.parameters = parameters = ParameterLoader(target)
        m.submodules.walker = walker = DrainWalker(target)
        m.submodules.rows = rows = RowTransfers(target)
        m.submodules.stamp = stamp = StampSource(target)
        m.submodules.ready_sums = ready_sums = Semaphore(target)
        connect(m, flipped(self.param_beats), parameters.beats)
        connect(m, walker.o, flipped(self.request))
        connect(m, flipped(self.i), queue.i)
        self._prefetch(m, queue)

        job = queue.second.p
        opcode = job.opcode
        m.d.comb += [
            walker.job.eq(job),
            rows.job.eq(job),
            self.drain_half.eq(job.half),
            ready_sums.give.eq(self.give_from_calc),
            ready_sums.count.eq(job.wait_calc),
            stamp.cycles.eq(self.cycles),
            stamp.busy_cycles.eq(self.busy_cycles),
        ]
        start = Signal()
        m.d.sync += start.eq(0)
        m.d.comb += [walker.start.eq(start), rows.start.eq(start)]
        packed_last = self._datapath(m, job, parameters, walker, stamp)
        self._transfers(m, rows, job, stamp)

        with m.FSM() as fsm:
            with m.State("IDLE"):
                with m.If(queue.second.valid & (opcode == Opcode.STORE)):
                    m.d.comb += parameters.start.eq(1)
                    m.next = "PARAMETERS"
                with m.If(queue.second.valid & (opcode == Opcode.STAMP) & self.writer_idle):
                    m.d.comb += stamp.start.eq(1)
                    m.next = "STAMP"
                with m.If(queue.second.valid & (opcode == Opcode.FINISH) & self.writer_idle):
                    m.d.comb += [self.finished.eq(1), queue.second.ready.eq(1)]
            with m.State("PARAMETERS"), m.If(parameters.done):
                m.next = "WAIT"
            with m.State("WAIT"), m.If(ready_sums.enough):
                m.d.comb += ready_sums.take.eq(1)
                m.d.sync += start.eq(1)
                m.next = "DRAIN"
            with m.State("DRAIN"):
                m.d.comb += self.busy.eq(1)
                with m.If(packed_last):
                    m.next = "ROWS"
            with m.State("ROWS"):
                m.d.comb += self.busy.eq(1)
                with m.If(~rows.busy):
                    m.d.comb += queue.second.ready.eq(1)
                    m.next = "IDLE"
            with m.State("STAMP"), m.If(~stamp.active):
                m.d.comb += queue.second.ready.eq(1)
                m.next = "IDLE"
        m.d.comb += [
            self.wait_params.eq(fsm.ongoing("PARAMETERS")),
            self.wait_calc.eq(fsm.ongoing("WAIT")),
            self.wait_writes.eq(queue.second.valid & (opcode != Opcode.STORE)),
        ]
        return m

    def _prefetch(self, m: Module, queue: HalvesQueue) -> None:
        """Ask for a STORE's parameters when its instruction arrives, before any waiting."""
        beats = -(-self._target.cols * PARAM_BYTES // self._target.bus_bytes)
        needs = queue.first.p.opcode == Opcode.STORE
        m.d.comb += [
            self.param_transfer.valid.eq(queue.first.valid & queue.room & needs),
            self.param_transfer.p.address.eq(queue.first.p.params),
            self.param_transfer.p.beats.eq(beats),
            queue.first.ready.eq(queue.room & (~needs | self.param_transfer.ready)),
            queue.passed.eq(queue.first.valid & queue.first.ready),
        ]

    def _datapath(
        self,
        m: Module,
        job: data.View,
        parameters: ParameterLoader,
        walker: DrainWalker,
        stamp: StampSource,
    ) -> Signal:
        """Pooling, post-processing, packing; returns whether the last pixel has left them."""
        target = self._target
        m.submodules.pooling = pooling = Pooling(target, tag_width=2)
        m.submodules.postprocess = post = PostProcess(target, tag_width=2)
        m.submodules.packer = packer = LanePacker(target)
        if target.short_stages:  # it stands long before the first pixel
            later = Signal.like(job, name="job_later", reset_less=True)
            m.d.sync += later.eq(job)
            job = later
        connect(m, flipped(self.drained), pooling.i)
        connect(m, pooling.o, post.i)
        shape = post.o.p.shape()
        m.submodules.results = results = InstructionQueue(
            width=shape.size, depth=target.results_queue
        )
        result = data.View(shape, results.r_data)
        given, takes = results.r_rdy, results.r_en
        if target.short_stages:  # the packer hears from the bus whether it is ready
            m.submodules.buffer = buffer = StreamBuffer(shape, short=True)
            m.d.comb += [
                buffer.i.valid.eq(given),
                buffer.i.p.eq(result),
                takes.eq(buffer.i.ready),
            ]
            result, given, takes = buffer.o.p, buffer.o.valid, buffer.o.ready
        gone, last_gone = Signal(), Signal()
        leaves = given & packer.i.ready
        m.d.sync += [gone.eq(leaves), last_gone.eq(leaves & result.tag[1])]
        self._credits(m, walker, gone)
        m.d.comb += [
            results.w_en.eq(post.o.valid),
            results.w_data.eq(post.o.p),
            takes.eq(packer.i.ready),
            pooling.is_sum.eq(job.pool_sum),
            post.records.eq(parameters.o),
            post.lo.eq(job.lo),
            post.hi.eq(job.hi),
            packer.src_lane.eq(job.src_lane),
            packer.dst_lane.eq(job.dst_lane),
            packer.lanes.eq(job.lanes),
            packer.i.valid.eq(given),
            packer.i.p.lanes.eq(result.lanes),
            packer.i.p.last.eq(result.tag[0]),
            # Stamps are only written when the packer is empty.
            self.beats.valid.eq(packer.o.valid | stamp.o.valid),
            self.beats.p.eq(Mux(stamp.active, stamp.o.p.as_value(), packer.o.p.as_value())),
            packer.o.ready.eq(self.beats.ready & ~stamp.active),
            stamp.o.ready.eq(self.beats.ready),
        ]
        if target.leaky:
            m.d.comb += [
                post.leaky.eq(job.leaky),
                post.slope_multiplier.eq(job.slope_multiplier),
                post.slope_shift.eq(job.slope_shift),
            ]
        if target.activations:
            m.d.comb += [
                post.function.eq(job.function),
                post.function_shift.eq(job.function_shift),
            ]
        drained = self.drained
        m.d.sync += self.give_calc.eq(
            drained.valid & drained.p.tag[1] & drained.p.last & job.signal_calc
        )
        return last_gone

    def _credits(self, m: Module, walker: DrainWalker, gone: Signal) -> None:
        """Ask for accumulators as long as their results find room in the queue."""
        most = self._target.results_queue
        if self._target.short_stages:
            m.d.comb += walker.go.eq(self._room_ahead(m, most, walker.window, gone))
            return
        room = Signal(range(most + 1), init=most)
        left = Signal.like(room)
        m.d.comb += left.eq(room + gone - walker.window)
        m.d.sync += [room.eq(left), walker.go.eq(left != 0)]

    def _room_ahead(self, m: Module, most: int, taken: Value, gone: Signal) -> Value:
        """Whether there is room for a result in the next cycle, `taken` being found late in this one.

        So the room is counted a cycle late, and how much there is now follows from what was taken and
        what has gone by then.
        """
        counted = Signal(range(most + 1), init=most)  # a cycle ago
        at_least = Signal(3, init=0b111)  # one, two, three of them
        less, more, some = Signal(), Signal(), Signal(init=1)
        now = Signal.like(counted)
        m.d.comb += now.eq(counted + more - less)
        m.d.sync += [
            counted.eq(now),
            at_least.eq(Cat(now >= n for n in (1, 2, 3))),
            less.eq(taken & ~gone),
            more.eq(gone & ~taken),
        ]
        two = at_least[2] | (at_least[1] & ~less) | (at_least[0] & more)
        ahead = gone | Mux(taken, two, some)
        m.d.sync += some.eq(ahead)
        return ahead

    def _transfers(self, m: Module, rows: RowTransfers, job: data.View, stamp: StampSource) -> None:
        """Where the writer writes: the output rows, or a stamp."""
        stamp_beats = -(-8 // self._target.bus_bytes)
        asked = Signal()
        m.d.comb += [
            self.transfer.valid.eq(rows.o.valid),
            self.transfer.p.eq(rows.o.p),
            rows.o.ready.eq(self.transfer.ready),
        ]
        stamps: Value = stamp.active & ~asked
        if self._target.short_stages:  # what a transfer is of is known long before it
            stamps = Signal()
            m.d.sync += stamps.eq(job.opcode == Opcode.STAMP)
        with m.If(stamps):
            m.d.comb += [
                self.transfer.valid.eq(stamp.active & ~asked if self._target.short_stages else 1),
                self.transfer.p.address.eq(job.address),
                self.transfer.p.beats.eq(stamp_beats),
                self.transfer.p.tag.eq(0),
            ]
            with m.If(
                self.transfer.valid & self.transfer.ready
                if self._target.short_stages
                else self.transfer.ready
            ):
                m.d.sync += asked.eq(1)
        with m.If(stamp.start):
            m.d.sync += asked.eq(0)
