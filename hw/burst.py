"""Cutting transfers into AXI bursts."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tilewright.compiler.target import Target

__all__ = ["ADDRESS_BITS", "BURST", "TRANSFER", "BurstSplitter"]

ADDRESS_BITS = 32

TRANSFER = data.StructLayout({"address": unsigned(ADDRESS_BITS), "beats": unsigned(32), "tag": 1})
"""A run of `beats` bus beats from a byte address; the tag comes back with its last burst."""

BURST = data.StructLayout({"address": unsigned(ADDRESS_BITS), "length": unsigned(8), "tag": 1})
"""One burst of length + 1 beats."""


class BurstSplitter(wiring.Component):
    """Cuts transfers into INCR bursts that are no longer than allowed and never cross 4 KiB.

    One burst every two cycles at most. A transfer of 0 beats gives no burst. `tag` is set on the
    last burst of a transfer whose own tag is set.

    Parameters
    ----------
    target
        Bus width.
    longest
        Beats of the longest burst.

    Members
    -------
    i : ``In(stream of TRANSFER)``
    o : ``Out(stream of BURST)``
    """

    def __init__(self, target: Target, *, longest: int) -> None:
        self._target = target
        self._longest = longest
        super().__init__({"i": In(stream.Signature(TRANSFER)), "o": Out(stream.Signature(BURST))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        target = self._target
        beat_bits = exact_log2(target.bus_bytes)
        left = Signal(32)
        address = Signal(ADDRESS_BITS)
        tag = Signal()

        # Beats up to the next 4 KiB boundary, at most a burst, at most what is left.
        page_beats = 4096 // target.bus_bytes
        room = Signal(range(page_beats + 1))
        limit = Signal(range(self._longest + 1))
        take = Signal(range(self._longest + 1))
        m.d.comb += [
            room.eq(page_beats - address[beat_bits:12]),
            limit.eq(Mux(room < self._longest, room, self._longest)),
            take.eq(Mux(left < limit, left, limit)),
        ]

        free = Signal()
        m.d.comb += [free.eq(~self.o.valid | self.o.ready), self.i.ready.eq(left == 0)]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                left.eq(self.i.p.beats),
                address.eq(self.i.p.address),
                tag.eq(self.i.p.tag),
            ]
        with m.Elif(free & (left != 0)):
            m.d.sync += [
                self.o.valid.eq(1),
                self.o.p.address.eq(address),
                self.o.p.length.eq(take - 1),
                self.o.p.tag.eq(tag & (take == left)),
                left.eq(left - take),
                address.eq(address + (take << beat_bits)),
            ]
        return m
