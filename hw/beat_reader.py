"""The DMA reader of small targets: one beat at a time."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.utils import exact_log2

from tilewright.compiler.target import Target
from tilewright.hw.burst import COUNT_BITS
from tilewright.hw.reader import reader_members

__all__ = ["BeatReader"]


class BeatReader(wiring.Component):
    """Reads transfers beat by beat: it holds one, and asks for the next when that has been taken.

    So a beat that comes back always has a place, as in BurstReader, whose members these are; nothing
    is read ahead. A transfer of 0 beats reads nothing.

    Parameters
    ----------
    target
        Bus and address width.
    count_bits
        Bits of a transfer's beats that can differ from 0.

    Members
    -------
    i : ``In(stream of TRANSFER)``
        What to read; the tag is not used.
    request : ``Out(stream of BURST)``
        To the arbiter; of one beat.
    beat_valid, beat : ``In``
        A beat that came back; always taken.
    o : ``Out(stream of beats)``
        The data in order.
    """

    def __init__(self, target: Target, *, count_bits: int = COUNT_BITS) -> None:
        self._target = target
        self._count_bits = min(count_bits, target.address_bits)
        super().__init__(reader_members(target))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        beat_bits = exact_log2(self._target.bus_bytes)
        address = Signal(self._target.address_bits - beat_bits, reset_less=True)  # in beats
        left = Signal(self._count_bits, reset_less=True)
        some = Signal()  # beats are left to ask for
        asked = Signal()  # one has not come back
        m.d.comb += [
            self.i.ready.eq(~some),
            self.request.valid.eq(some & ~asked & ~self.o.valid),
            self.request.p.address.eq(address << beat_bits),
        ]
        with m.If(~some):
            m.d.sync += [
                address.eq(self.i.p.address >> beat_bits),
                left.eq(self.i.p.beats),
                some.eq(self.i.valid & self.i.p.beats[: len(left)].any()),
            ]
        with m.Elif(self.request.valid & self.request.ready):
            m.d.sync += [
                address.eq(address + 1),
                left.eq(left - 1),
                some.eq(left != 1),
                asked.eq(1),
            ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.beat_valid):
            m.d.sync += [self.o.valid.eq(1), self.o.p.eq(self.beat), asked.eq(0)]
        return m
