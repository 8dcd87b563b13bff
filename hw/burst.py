"""Cutting transfers into AXI bursts."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tilewright.compiler.target import Target

__all__ = ["ADDRESS_BITS", "BURST", "COUNT_BITS", "TRANSFER", "BurstSplitter"]

ADDRESS_BITS = 32
COUNT_BITS = 32
"""Bits of the beats of any transfer."""

TRANSFER = data.StructLayout(
    {"address": unsigned(ADDRESS_BITS), "beats": unsigned(COUNT_BITS), "tag": 1}
)
"""A run of `beats` bus beats from a byte address; the tag comes back with its last burst."""

BURST = data.StructLayout({"address": unsigned(ADDRESS_BITS), "length": unsigned(8), "tag": 1})
"""One burst of length + 1 beats."""


class BurstSplitter(wiring.Component):
    """Cuts transfers into INCR bursts that are no longer than allowed and never cross 4 KiB.

    One burst every three cycles: two to find its length, one to send it. A transfer of 0 beats
    gives no burst. `tag` is set on the last burst of a transfer whose own tag is set.

    Parameters
    ----------
    target
        Bus width.
    longest
        Beats of the longest burst.
    count_bits
        Bits of a transfer's beats that can differ from 0.

    Members
    -------
    i : ``In(stream of TRANSFER)``
    o : ``Out(stream of BURST)``
    """

    def __init__(self, target: Target, *, longest: int, count_bits: int = COUNT_BITS) -> None:
        self._target = target
        self._longest = longest
        self._count_bits = count_bits
        super().__init__({"i": In(stream.Signature(TRANSFER)), "o": Out(stream.Signature(BURST))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        longest = self._longest
        beat_bits = exact_log2(self._target.bus_bytes)
        # Counts of beats are held less one, as AXI wants them; addresses count beats.
        idle = Signal(init=1)
        left = Signal(min(self._count_bits, self._target.address_bits), reset_less=True)
        address = Signal(self._target.address_bits - beat_bits, reset_less=True)
        tag = Signal(reset_less=True)

        # First cycle of a burst: beats up to the next 4 KiB boundary, at most a burst. Second cycle:
        # at most what is left.
        bounded, sized = Signal(), Signal()
        final = Signal()
        length = Signal(range(longest), reset_less=True)
        most = Signal.like(length)  # beats that this burst may have, less one
        few = Signal()  # a burst might hold what is left
        room = Signal(12 - beat_bits)
        ends = Signal()
        m.d.comb += [
            room.eq(~address),
            ends.eq(few & (left[: len(length)] <= most)),
        ]
        m.d.sync += [
            most.eq(Mux(room < longest, room, longest - 1)),
            few.eq(left[len(length) :] == 0),
            final.eq(ends),
            length.eq(Mux(ends, left, most)),
            bounded.eq(~idle),
            sized.eq(bounded),
        ]

        # Third cycle: the burst leaves, or waits until the one before has left. One adder loads and
        # counts.
        free = Signal()
        burst = Signal(BURST, reset_less=True)
        m.d.comb += self.o.p.eq(burst)
        count, less = Signal.like(left), Signal(signed(len(length) + 1))
        m.d.comb += [
            free.eq(~self.o.valid),
            self.i.ready.eq(idle),
            count.eq(Mux(idle, self.i.p.beats, left)),
            less.eq(Mux(idle, -1, Cat(~length, 1).as_signed())),  # -1 - length
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(idle | (sized & free)):
            m.d.sync += left.eq(count + less)
        with m.If(idle):
            m.d.sync += [
                idle.eq(~self.i.valid | (self.i.p.beats[: len(left)] == 0)),
                address.eq(self.i.p.address >> beat_bits),
                tag.eq(self.i.p.tag),
            ]
        with m.Elif(sized & free):
            m.d.sync += [
                self.o.valid.eq(1),
                burst.address.eq(address << beat_bits),
                burst.length.eq(length),
                burst.tag.eq(tag & final),
                address.eq(address - Cat(~length, 1).as_signed()),
                bounded.eq(0),
                sized.eq(0),
                idle.eq(final),
            ]
        return m
