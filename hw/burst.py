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

    One burst every two cycles: one to find its length, one to send it. A transfer of 0 beats gives no burst. `tag` is set on the
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
        target, longest = self._target, self._longest
        beat_bits = exact_log2(target.bus_bytes)
        # Counts of beats are held less one, as AXI wants them.
        idle = Signal(init=1)
        left = Signal(32)
        address = Signal(ADDRESS_BITS)
        tag = Signal()

        # First cycle of a burst: beats up to the next 4 KiB boundary, at most a burst, at most what
        # is left.
        sized = Signal()
        final = Signal()
        length = Signal(range(self._longest), reset_less=True)
        room = Signal(12 - beat_bits)
        ends = Signal()
        m.d.comb += [room.eq(~address[beat_bits:12]), ends.eq((left <= room) & (left < longest))]
        m.d.sync += [
            final.eq(ends),
            length.eq(Mux(ends, left, Mux(room < longest, room, longest - 1))),
            sized.eq(~idle),
        ]

        # Second cycle: the burst leaves, or waits until it can.
        free = Signal()
        m.d.comb += [free.eq(~self.o.valid | self.o.ready), self.i.ready.eq(idle)]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(idle):
            m.d.sync += [
                idle.eq(~self.i.valid | (self.i.p.beats == 0)),
                left.eq(self.i.p.beats - 1),
                address.eq(self.i.p.address),
                tag.eq(self.i.p.tag),
            ]
        with m.Elif(sized & free):
            m.d.sync += [
                self.o.valid.eq(1),
                self.o.p.address.eq(address),
                self.o.p.length.eq(length),
                self.o.p.tag.eq(tag & final),
                left.eq(left - length - 1),
                address.eq(address + ((length + 1) << beat_bits)),
                sized.eq(0),
                idle.eq(final),
            ]
        return m
