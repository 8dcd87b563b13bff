"""The DMA writer."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import bits_for

from tilewright.compiler.legal import row_beats
from tilewright.compiler.microarchitecture import WRITES_PENDING
from tilewright.compiler.program import STAMP_BYTES
from tilewright.compiler.target import Target
from tilewright.hw.burst import BURST, TRANSFER, BurstSplitter
from tilewright.hw.burst_log import BUS_FAULT, BurstLog
from tilewright.hw.queue import Queue
from tilewright.hw.stream_buffer import StreamBuffer

__all__ = ["BurstWriter", "beat_layout", "row_bits", "writer_members"]


def beat_layout(target: Target) -> data.StructLayout:
    """A write beat: data and byte strobes."""
    return data.StructLayout(
        {"data": unsigned(8 * target.bus_bytes), "strobe": unsigned(target.bus_bytes)}
    )


def row_bits(target: Target) -> int:
    """Bits of the beats of a transfer: an output row, or a stamp."""
    return int(
        bits_for(max(row_beats(target, target.acc_depth), -(-STAMP_BYTES // target.bus_bytes)))
    )


def writer_members(target: Target) -> dict[str, wiring.Member]:
    """The interface of DMA writers, described at BurstWriter."""
    beat = stream.Signature(beat_layout(target))
    return {
        "i": In(stream.Signature(TRANSFER)),
        "beats": In(beat),
        "aw": Out(stream.Signature(BURST)),
        "w": Out(beat),
        "w_last": Out(1),
        "b_valid": In(1),
        "b_resp": In(2),
        "complete": Out(1),
        "halt": In(1),
        "idle": Out(1),
        "quiet": Out(1),
        "fault": Out(BUS_FAULT),
    }


class BurstWriter(wiring.Component):
    """Writes transfers in bursts; responses are counted, not waited for.

    A burst that was announced when `halt` came, and whose data never comes, is completed with beats
    that write nothing: the bus is never left with half a burst.

    Members
    -------
    i : ``In(stream of TRANSFER)``
        Where to write; the tag asks for `complete`.
    beats : ``In(stream of beat_layout(target))``
        The data of all transfers in order.
    aw : ``Out(stream of BURST)``
        Write address channel.
    w, w_last : ``Out(stream of beat_layout(target))``, ``Out(1)``
        Write data channel.
    b_valid, b_resp : ``In``
        A response arrives; always taken.
    complete : ``Out(1)``
        The response to the last burst of a tagged transfer has arrived.
    halt : ``In(1)``
        Start no further burst. Stays until the reset that follows.
    idle : ``Out(1)``
        Nothing is under way, what is just being offered aside; with short stages a cycle late.
    quiet : ``Out(1)``
        No burst is under way, though transfers may wait.
    fault : ``Out(BUS_FAULT)``
        The first error response; stays until reset.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        super().__init__(writer_members(target))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.splitter = splitter = BurstSplitter(
            self._target, longest=self._target.burst_beats, count_bits=row_bits(self._target)
        )
        m.submodules.lengths = lengths = Queue(width=9, depth=4)
        m.submodules.pending = pending = Queue(width=1, depth=WRITES_PENDING)
        short = self._target.short_stages
        transfers = self.i
        if short:
            m.submodules.transfers = waiting = StreamBuffer(TRANSFER, short=True)
            connect(m, flipped(self.i), waiting.i)
            transfers = waiting.o
            connect(m, transfers, splitter.i)
        else:
            connect(m, flipped(transfers), splitter.i)

        # A burst is announced together with its entries in both queues. Once valid, `aw` stays so
        # until taken, whatever `halt` does.
        burst = splitter.o
        free = Signal()
        go = Signal()
        m.d.comb += [
            free.eq((~self.aw.valid | self.aw.ready) & lengths.w_rdy & pending.w_rdy & ~self.halt),
            burst.ready.eq(free),
            go.eq(burst.valid & free),
            lengths.w_en.eq(go),
            lengths.w_data.eq(Cat(burst.p.length, burst.p.length == 0)),
            pending.w_en.eq(go),
            pending.w_data.eq(burst.p.tag),
            pending.r_en.eq(self.b_valid),
            self.complete.eq(self.b_valid & pending.r_data),
            self.quiet.eq(~pending.r_rdy & ~self.aw.valid),
        ]
        idle = self.quiet & ~burst.valid & splitter.i.ready
        if short:
            m.d.sync += self.idle.eq(idle & ~transfers.valid)
        else:
            m.d.comb += self.idle.eq(idle)
        offered = Signal(BURST, reset_less=True)
        m.d.comb += self.aw.p.eq(offered)
        with m.If(go):
            m.d.sync += [self.aw.valid.eq(1), offered.eq(burst.p)]
        with m.Elif(self.aw.ready):
            m.d.sync += self.aw.valid.eq(0)

        m.submodules.log = log = BurstLog(WRITES_PENDING)
        m.d.comb += [
            log.start.eq(self.aw.valid & self.aw.ready),
            log.address.eq(self.aw.p.address),
            log.answer.eq(self.b_valid),
            log.response.eq(self.b_resp),
            log.last.eq(1),
            self.fault.eq(log.fault),
        ]

        m.submodules.buffer = buffer = StreamBuffer(beat_layout(self._target), short=short)
        connect(m, flipped(self.beats), buffer.i)
        beats = buffer.o

        # The last beat is known a beat ahead: comparing the count takes long.
        following = Signal(8, init=1)  # the number of the next beat, the first being 0
        first, final = Signal(init=1), Signal()
        filling = Signal()
        with m.If(self.halt & ~beats.valid):
            m.d.sync += filling.eq(1)
        m.d.comb += [
            self.w.p.eq(Mux(filling, 0, beats.p.as_value())),
            self.w.valid.eq((beats.valid | filling) & lengths.r_rdy),
            beats.ready.eq(self.w.ready & lengths.r_rdy & ~filling),
            self.w_last.eq(Mux(first, lengths.r_data[8], final)),
        ]
        with m.If(self.w.valid & self.w.ready):
            m.d.sync += [
                following.eq(following + 1),
                final.eq(following == lengths.r_data[:8]),
                first.eq(0),
            ]
            with m.If(self.w_last):
                m.d.comb += lengths.r_en.eq(1)
                m.d.sync += [following.eq(1), first.eq(1)]
        return m
