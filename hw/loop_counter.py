"""A loop's counter that knows its last round beforehand."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["LoopCounter"]


class LoopCounter(wiring.Component):
    """Counts `count` rounds again and again; that this is the last one is a register.

    Comparing a counter with its end takes long, so it is done a round ahead.

    Parameters
    ----------
    bits
        Of `count`.

    Members
    -------
    count : ``In(bits)``
        Rounds, at least 1; constant from the cycle after `start` until the next `start`.
    single : ``In(1)``
        `count` is 1; already valid with `start`.
    start : ``In(1)``
        In the next cycle the first round begins.
    step : ``In(1)``
        The round ends. After the last one comes the first.
    last : ``Out(1)``
        This is the last round.
    """

    def __init__(self, bits: int) -> None:
        self._bits = bits
        super().__init__(
            {
                "count": In(bits),
                "single": In(1),
                "start": In(1),
                "step": In(1),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        after_next = Signal(self._bits, init=2)  # the round after next, the first being 0
        with m.If(self.step):
            m.d.sync += [after_next.eq(after_next + 1), self.last.eq(after_next == self.count)]
        with m.If(self.start | (self.step & self.last)):
            m.d.sync += [after_next.eq(2), self.last.eq(self.single)]
        return m
