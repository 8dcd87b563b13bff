"""A loop's counter that knows its last round beforehand."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
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
    short
        `step`, which comes late, chooses nothing but whether what stands next is taken; `single` is a
        register, and must be right a cycle before `start`.

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

    def __init__(self, bits: int, *, short: bool = False) -> None:
        self._bits, self._short = bits, short
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
        if self._short:
            single, again = Signal(), self.start | self.last
            m.d.sync += single.eq(self.single)
            with m.If(self.start | self.step):
                m.d.sync += [
                    after_next.eq(Mux(again, 2, after_next + 1)),
                    self.last.eq(Mux(again, single, after_next == self.count)),
                ]
            return m
        with m.If(self.step):
            m.d.sync += [after_next.eq(after_next + 1), self.last.eq(after_next == self.count)]
        with m.If(self.start | (self.step & self.last)):
            m.d.sync += [after_next.eq(2), self.last.eq(self.single)]
        return m
