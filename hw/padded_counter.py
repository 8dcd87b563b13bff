"""A counter over a line with padding on both sides."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["PaddedCounter"]

_BITS = 17


class PaddedCounter(wiring.Component):
    """Walks `before` + `count` + `after` places again and again; where it stands is in registers.

    Comparing a counter with what follows from three lengths takes long, so it is done a place
    ahead.

    Members
    -------
    before, count, after : ``In``
        Valid with `start`; together at least 1.
    start : ``In(1)``
        In the next cycle it stands on the first place.
    step : ``In(1)``
        Go to the next place; after the last one comes the first.
    inside : ``Out(1)``
        The place is one of the `count`.
    final : ``Out(1)``
        It is the last one of these.
    last : ``Out(1)``
        It is the last place of all.
    """

    before: In(8)
    count: In(16)
    after: In(8)
    start: In(1)
    step: In(1)
    inside: Out(1)
    final: Out(1)
    last: Out(1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        after_next = Signal(_BITS)  # the place after next, the first being 0
        begin, end, length = Signal(_BITS), Signal(_BITS), Signal(_BITS)
        opening = Signal(3)  # what holds on the first place

        none = (self.before == 0, self.count == 0, self.after == 0)
        one = (self.before == 1, self.count == 1, self.after == 1)
        start = Signal(3)
        inside, final, last = start
        m.d.comb += [
            inside.eq(none[0] & ~none[1]),
            final.eq((none[0] & one[1]) | (one[0] & none[1])),
            last.eq((final & none[2]) | (none[0] & none[1] & one[2])),
        ]
        state = (self.inside, self.final, self.last)
        with m.If(self.step):
            m.d.sync += [
                after_next.eq(after_next + 1),
                self.inside.eq((after_next > begin) & (after_next <= end)),
                self.final.eq(after_next == end),
                self.last.eq(after_next == length),
            ]
            with m.If(self.last):
                m.d.sync += [signal.eq(bit) for signal, bit in zip(state, opening, strict=True)]
                m.d.sync += after_next.eq(2)
        with m.If(self.start):
            m.d.sync += [
                begin.eq(self.before),
                end.eq(self.before + self.count),
                length.eq(self.before + self.count + self.after),
                opening.eq(start),
                after_next.eq(2),
            ]
            m.d.sync += [signal.eq(bit) for signal, bit in zip(state, start, strict=True)]
        return m
