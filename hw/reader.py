"""The DMA readers and the arbiter that shares the bus's read channels among them."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out, connect, flipped

from tilewright.compiler.target import Target
from tilewright.hw.block_fifo import BlockFifo
from tilewright.hw.burst import BURST, COUNT_BITS, TRANSFER, BurstSplitter
from tilewright.hw.stream_buffer import StreamBuffer

__all__ = ["BurstReader", "reader_members"]


def reader_members(target: Target) -> dict[str, wiring.Member]:
    """The interface of DMA readers, described at BurstReader."""
    width = 8 * target.bus_bytes
    return {
        "i": In(stream.Signature(TRANSFER)),
        "request": Out(stream.Signature(BURST)),
        "beat_valid": In(1),
        "beat": In(width),
        "o": Out(stream.Signature(width)),
    }


class BurstReader(wiring.Component):
    """Reads transfers in bursts ahead of its consumer, as far as its FIFO has room.

    A burst is requested only when the FIFO can take all of it, so data that comes back never
    waits: readers cannot block each other on the shared data channel. The FIFO's output goes
    through registers, as a block RAM's is late.

    Parameters
    ----------
    target
        Bus width.
    longest
        Beats of the longest burst.
    depth
        Beats of the FIFO, at least a burst; two bursts hide the memory's latency.
    count_bits
        Bits of a transfer's beats that can differ from 0.

    Members
    -------
    i : ``In(stream of TRANSFER)``
        What to read; the tag is not used.
    request : ``Out(stream of BURST)``
        To the arbiter.
    beat_valid, beat : ``In``
        A beat that came back; always taken.
    o : ``Out(stream of beats)``
        The data in order.
    """

    def __init__(
        self, target: Target, *, longest: int, depth: int, count_bits: int = COUNT_BITS
    ) -> None:
        if depth < longest:
            raise ValueError(f"FIFO depth must be at least a burst, not {depth!r}")
        self._target = target
        self._longest = longest
        self._depth = depth
        self._count_bits = count_bits
        super().__init__(reader_members(target))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = 8 * self._target.bus_bytes
        m.submodules.splitter = splitter = BurstSplitter(
            self._target, longest=self._longest, count_bits=self._count_bits
        )
        connect(m, flipped(self.i), splitter.i)

        # One more than promised: a beat on its way to the output register fills two places.
        fifo: BlockFifo | SyncFIFOBuffered
        if self._target.short_stages:
            m.submodules.fifo = fifo = BlockFifo(width=width, depth=self._depth)
            held = fifo.o
        else:
            m.submodules.fifo = fifo = SyncFIFOBuffered(width=width, depth=self._depth + 1)
            held = fifo.r_stream
        m.submodules.buffer = buffer = StreamBuffer(width, short=self._target.short_stages)
        connect(m, buffer.o, flipped(self.o))

        # The bus ends here: its data come from afar, and which reader they are for from a queue.
        arrived = Signal()
        beat = Signal(width, reset_less=True)
        m.d.sync += [arrived.eq(self.beat_valid), beat.eq(self.beat)]

        # Room is compared a cycle ahead; until the request is taken it can only grow.
        room = Signal(range(self._depth + 1), init=self._depth)
        asked = Signal()
        m.d.comb += [
            self.request.p.eq(splitter.o.p),
            splitter.o.ready.eq(asked),
            asked.eq(self.request.valid & self.request.ready),
            fifo.w_en.eq(arrived),
            fifo.w_data.eq(beat),
            buffer.i.valid.eq(held.valid),
            buffer.i.p.eq(held.p),
            held.ready.eq(buffer.i.ready),
        ]
        taken = Signal()
        given: Value = asked
        promised: Value = splitter.o.p.length + 1
        if self._target.short_stages:  # the next burst stands there two cycles later
            given, beats = Signal(), Signal(room.shape())
            m.d.sync += [given.eq(asked), beats.eq(promised)]
            promised = beats
        m.d.sync += [
            taken.eq(self.o.valid & self.o.ready),
            self.request.valid.eq(splitter.o.valid & ~asked & (room > splitter.o.p.length)),
            room.eq(room + taken - Mux(given, promised, 0)),
        ]
        return m
