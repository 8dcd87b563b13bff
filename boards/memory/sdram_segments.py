"""Cutting AXI4 bursts into what an SDRAM does without looking up."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tilewright.boards.memory.beats import PAGE
from tilewright.boards.memory.sdram_timing import SdramTiming

__all__ = ["BUFFER_BEATS", "SEGMENT_BEATS", "SegmentSplitter", "segment_layout"]

SEGMENT_BEATS = 16
"""Beats of a segment at most; segments do not cross a multiple of this, so they lie in one row."""

BUFFER_BEATS = 2 * SEGMENT_BEATS
"""Beats that wait in either direction between bus and chip."""


def segment_layout(timing: SdramTiming) -> data.StructLayout:
    """A run of beats in one row: where it starts, and how it ends.

    `length` is beats - 1, `last` says that it ends its burst, `outside` that it lies beyond the chip.
    """
    return data.StructLayout(
        {
            "column": unsigned(timing.col_bits),
            "bank": unsigned(2),
            "row": unsigned(timing.row_bits),
            "length": unsigned(exact_log2(SEGMENT_BEATS)),
            "last": unsigned(1),
            "outside": unsigned(1),
        }
    )


class SegmentSplitter(wiring.Component):
    """Cuts INCR bursts of the full width into segments, one in three cycles.

    A segment is offered once as many beats are `available` as it has: of data to write, or of room
    for data that is read. So a segment that was taken never waits for the bus.

    Members
    -------
    i : ``In(stream of {address: 32, length: 8})``
    o : ``Out(stream of segment_layout)``
    available : ``In(range(BUFFER_BEATS + 1))``
        Less by the beats of each segment in the cycle after it was taken; else it only grows.
    """

    def __init__(self, timing: SdramTiming, data_bytes: int) -> None:
        self._timing, self._data_bytes = timing, data_bytes
        burst = data.StructLayout({"address": 32, "length": 8})
        super().__init__(
            {
                "i": In(stream.Signature(burst)),
                "o": Out(stream.Signature(segment_layout(timing))),
                "available": In(range(BUFFER_BEATS + 1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        timing = self._timing
        beat_bits = exact_log2(self._data_bytes)
        word_bits = exact_log2(8 * self._data_bytes // timing.data_bits)
        pin_bits = beat_bits - word_bits
        size_bits = exact_log2(timing.bytes)
        step_bits = exact_log2(SEGMENT_BEATS)

        active, sized = Signal(), Signal()
        address = Signal(size_bits)
        left = Signal(8)
        within = Signal(step_bits)  # of the address
        room = Signal(step_bits)
        ends = Signal()
        m.d.comb += [
            within.eq(address[beat_bits:]),
            room.eq(~within),
            ends.eq(left <= room),
            self.i.ready.eq(~active),
        ]
        m.d.sync += [
            self.o.p.length.eq(Mux(ends, left, room)),
            self.o.p.last.eq(ends),
            sized.eq(active),
            self.o.valid.eq(sized & (self.available > self.o.p.length)),
        ]
        m.d.comb += [
            self.o.p.column.eq(address[pin_bits:]),
            self.o.p.bank.eq(address[pin_bits + timing.col_bits :]),
            self.o.p.row.eq(address[pin_bits + timing.col_bits + 2 :]),
        ]
        with m.If(~active):
            m.d.sync += [
                active.eq(self.i.valid),
                address.eq(self.i.p.address),
                left.eq(self.i.p.length),
                self.o.p.outside.eq(self.i.p.address[12:] >= timing.bytes // PAGE),
            ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [
                active.eq(~self.o.p.last),
                sized.eq(0),
                self.o.valid.eq(0),
                # The next segment starts at a multiple of the longest.
                address.eq(
                    ((address[beat_bits + step_bits :] + 1) << (beat_bits + step_bits))[:size_bits]
                ),
                left.eq(left - self.o.p.length - 1),
            ]
        return m
