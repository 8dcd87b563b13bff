"""A counter over a line with padding on both sides."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

__all__ = ["PaddedCounter"]

_PAD_BITS = 8


class PaddedCounter(wiring.Component):
    """Walks `before` + `count` + `after` places again and again; where it stands is in registers.

    Comparing a counter with what follows from three lengths takes long, so it is done a place
    ahead.

    Parameters
    ----------
    most
        Largest `count`.
    short
        `step`, which comes late, chooses nothing but whether what stands next is taken; where the first
        place stands is a register, so that the three lengths must be there a cycle before `start`.

    Members
    -------
    before, count, after : ``In(8)``, ``In(bits_for(most))``, ``In(8)``
        Constant from `start` to the last place; together at least 1.
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

    def __init__(self, most: int, *, short: bool = False) -> None:
        self._short = short
        self._bits = bits_for(most + 2 * ((1 << _PAD_BITS) - 1))
        super().__init__(
            {
                "before": In(_PAD_BITS),
                "count": In(bits_for(most)),
                "after": In(_PAD_BITS),
                "start": In(1),
                "step": In(1),
                "inside": Out(1),
                "final": Out(1),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        after_next = Signal(self._bits)  # the place after next, the first being 0
        end, length = Signal(self._bits), Signal(self._bits)  # places up to the end of `count`, all
        opens = Signal()  # the next place is the first of the `count`, if there are any

        none, one = [], []
        for part in (self.before, self.count, self.after):
            few = ~part[1:].any()
            none.append(few & ~part[0])
            one.append(few & part[0])
        first_final = (none[0] & one[1]) | (one[0] & none[1])
        first_last = (first_final & none[2]) | (none[0] & none[1] & one[2])
        state = Cat(self.inside, opens, self.final, self.last)
        first = Signal(4)  # the state on the first place
        m.d.comb += first.eq(Cat(none[0] & ~none[1], one[0], first_final, first_last))
        inside = (opens & ~none[1]) | (self.inside & ~self.final)
        reaches = [after_next == place for place in (self.before, end, length)]
        if self._short:
            stands, empty = Signal(4), Signal()
            again = self.start | self.last
            m.d.sync += [stands.eq(first), empty.eq(none[1])]
            inside = (opens & ~empty) | (self.inside & ~self.final)
            with m.If(self.start | self.step):
                m.d.sync += [
                    state.eq(Mux(again, stands, Cat(inside, *reaches))),
                    after_next.eq(Mux(again, 2, after_next + 1)),
                ]
        else:
            with m.If(self.start | (self.step & self.last)):
                m.d.sync += [state.eq(first), after_next.eq(2)]
            with m.Elif(self.step):
                m.d.sync += [after_next.eq(after_next + 1), state.eq(Cat(inside, *reaches))]
        with m.If(self.start):
            m.d.sync += [
                end.eq(self.before + self.count),
                length.eq(self.before + self.count + self.after),
            ]
        return m
