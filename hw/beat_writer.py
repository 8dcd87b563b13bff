"""The DMA writer of small targets: one beat at a time."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.utils import exact_log2

from tilewright.compiler.target import Target
from tilewright.hw.writer import row_bits, writer_members

__all__ = ["BeatWriter"]


class BeatWriter(wiring.Component):
    """Writes transfers beat by beat, each when the one before it has been answered.

    A beat that has been offered is always completed, whatever `halt` does.

    Members
    -------
    As those of BurstWriter.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        super().__init__(writer_members(target))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        beat_bits = exact_log2(self._target.bus_bytes)
        address = Signal(self._target.address_bits - beat_bits, reset_less=True)  # in beats
        left = Signal(row_bits(self._target), reset_less=True)
        tag = Signal(reset_less=True)
        some = Signal()  # beats are left
        busy = Signal()  # one is under way
        error = self.fault.error
        m.d.comb += [
            self.i.ready.eq(~some),
            self.quiet.eq(~busy),
            self.idle.eq(~some),
            self.aw.p.address.eq(address << beat_bits),
            self.fault.address.eq(address << beat_bits),
            self.w.p.eq(self.beats.p),
            self.w_last.eq(1),
            self.beats.ready.eq(self.w.valid & self.w.ready),
            self.complete.eq(self.b_valid & tag & (left == 1)),
        ]
        with m.If(~some):
            m.d.sync += [
                address.eq(self.i.p.address >> beat_bits),
                left.eq(self.i.p.beats),
                tag.eq(self.i.p.tag),
                some.eq(self.i.valid & self.i.p.beats[: len(left)].any()),
            ]
        with m.Elif(self.b_valid & ~self.b_resp[1]):
            m.d.sync += [address.eq(address + 1), left.eq(left - 1), some.eq(left != 1)]
        with m.If(self.aw.ready):
            m.d.sync += self.aw.valid.eq(0)
        with m.If(self.w.ready):
            m.d.sync += self.w.valid.eq(0)
        with m.If(self.b_valid):
            m.d.sync += busy.eq(0)
        with m.Elif(some & ~busy & self.beats.valid & ~self.halt & ~error):
            m.d.sync += [busy.eq(1), self.aw.valid.eq(1), self.w.valid.eq(1)]
        with m.If(~error):
            m.d.sync += [
                error.eq(self.b_valid & self.b_resp[1]),
                self.fault.response.eq(self.b_resp),
            ]
        return m
