"""The counting semaphore between two units."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["TOKEN_BITS", "Semaphore"]

TOKEN_BITS = 16


class Semaphore(wiring.Component):
    """Tokens that one unit gives and another takes.

    A token given in cycle t can be taken from cycle t + 1 on.

    Members
    -------
    give : ``In(1)``
        Add one token.
    count : ``In(TOKEN_BITS)``
        Tokens wanted.
    enough : ``Out(1)``
        They are there.
    known : ``Out(1)``
        The same from a register: right unless `count` has changed or tokens were taken in the
        cycle before.
    take : ``In(1)``
        Take `count` tokens; only with `enough`.
    """

    give: In(1)
    count: In(TOKEN_BITS)
    enough: Out(1)
    known: Out(1)
    take: In(1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        tokens = Signal(TOKEN_BITS)
        m.d.comb += self.enough.eq(tokens >= self.count)
        m.d.sync += self.known.eq(self.enough | (self.give & (tokens + 1 >= self.count)))
        m.d.sync += tokens.eq(Mux(self.take, tokens - self.count + self.give, tokens + self.give))
        return m
