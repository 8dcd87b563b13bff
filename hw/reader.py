"""The DMA readers and the arbiter that shares the bus's read channels among them."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out, connect, flipped

from tilewright.compiler.target import Target
from tilewright.hw.burst import BURST, TRANSFER, BurstSplitter

__all__ = ["BurstReader"]


class BurstReader(wiring.Component):
    """Reads transfers in bursts ahead of its consumer, as far as its FIFO has room.

    A burst is requested only when the FIFO can take all of it, so data that comes back never
    waits: readers cannot block each other on the shared data channel.

    Parameters
    ----------
    target
        Bus width.
    longest
        Beats of the longest burst.
    depth
        Beats of the FIFO, at least a burst; two bursts hide the memory's latency.

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

    def __init__(self, target: Target, *, longest: int, depth: int) -> None:
        if depth < longest:
            raise ValueError(f"FIFO depth must be at least a burst, not {depth!r}")
        self._target = target
        self._longest = longest
        self._depth = depth
        width = 8 * target.bus_bytes
        super().__init__(
            {
                "i": In(stream.Signature(TRANSFER)),
                "request": Out(stream.Signature(BURST)),
                "beat_valid": In(1),
                "beat": In(width),
                "o": Out(stream.Signature(width)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.splitter = splitter = BurstSplitter(self._target, longest=self._longest)
        # One more than promised: a beat on its way to the output register fills two places.
        m.submodules.fifo = fifo = SyncFIFOBuffered(
            width=8 * self._target.bus_bytes, depth=self._depth + 1
        )
        connect(m, flipped(self.i), splitter.i)

        room = Signal(range(self._depth + 1), init=self._depth)
        fits = Signal()
        asked = Signal()
        m.d.comb += [
            fits.eq(room > splitter.o.p.length),
            self.request.p.eq(splitter.o.p),
            self.request.valid.eq(splitter.o.valid & fits),
            splitter.o.ready.eq(self.request.ready & fits),
            asked.eq(self.request.valid & self.request.ready),
            fifo.w_en.eq(self.beat_valid),
            fifo.w_data.eq(self.beat),
            self.o.valid.eq(fifo.r_rdy),
            self.o.p.eq(fifo.r_data),
            fifo.r_en.eq(self.o.ready),
        ]
        taken = self.o.valid & self.o.ready
        m.d.sync += room.eq(room + taken - Mux(asked, splitter.o.p.length + 1, 0))
        return m
