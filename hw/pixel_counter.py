"""A loop's counter that knows two rounds ahead which is the last."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["PixelCounter"]


class PixelCounter(wiring.Component):
    """Counts `count` rounds again and again; that this or the next one is the last are registers.

    Parameters
    ----------
    bits
        Of `count`.
    short
        `step`, which comes late, chooses nothing but whether what stands next is taken.

    Members
    -------
    count : ``In(bits)``
        Rounds, at least 1; constant from the cycle after `start` until the next `start`.
    single, double : ``In(1)``
        `count` is 1 or 2; already valid with `start`.
    start : ``In(1)``
        In the next cycle the first round begins.
    step : ``In(1)``
        The round ends. After the last one comes the first.
    last : ``Out(1)``
        This is the last round.
    next_last : ``Out(1)``
        The one that follows, even if that is the first, is the last round.
    """

    def __init__(self, bits: int, *, short: bool = False) -> None:
        self._bits, self._short = bits, short
        super().__init__(
            {
                "count": In(bits),
                "single": In(1),
                "double": In(1),
                "start": In(1),
                "step": In(1),
                "last": Out(1),
                "next_last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        third = Signal(self._bits, init=3)  # the third round from now, the first being 0
        if self._short:
            again, few = self.start | self.last, self.single | self.double
            meets = ~self.next_last & (third == self.count)
            with m.If(self.start | self.step):
                m.d.sync += [
                    third.eq(Mux(again, 3, third + 1)),
                    self.last.eq(Mux(again, self.single, self.next_last)),
                    self.next_last.eq(Mux(again, few, meets)),
                ]
            return m
        with m.If(self.start | (self.step & self.last)):
            m.d.sync += [
                third.eq(3),
                self.last.eq(self.single),
                self.next_last.eq(self.single | self.double),
            ]
        with m.Elif(self.step):
            m.d.sync += [
                third.eq(third + 1),
                self.last.eq(self.next_last),
                self.next_last.eq(~self.next_last & (third == self.count)),
            ]
        return m
