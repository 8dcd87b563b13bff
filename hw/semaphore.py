"""The counting semaphore between two units."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, exact_log2

from tilewright.compiler.isa import INSTRUCTION_BYTES
from tilewright.compiler.legal import most_tokens
from tilewright.compiler.target import Target

__all__ = ["TOKEN_BITS", "Semaphore"]

TOKEN_BITS = 16


class Semaphore(wiring.Component):
    """Tokens that one unit gives and another takes.

    A token given in cycle t can be taken from cycle t + 1 on, with short stages from t + 2 on.
    Everything passes a register.

    Members
    -------
    give : ``In(1)``
        Add one token; there are never 2**TOKEN_BITS, nor more than instructions.
    count : ``In(bits_for(most_tokens(target)))``
        Tokens wanted.
    enough : ``Out(1)``
        They are there: right if `count` was the same in the cycle before, and no tokens were taken in
        the two cycles before.
    take : ``In(1)``
        Take `count` tokens; only with `enough`.
    """

    def __init__(self, target: Target) -> None:
        self._short = target.short_stages
        self._bits = min(TOKEN_BITS, target.address_bits - exact_log2(INSTRUCTION_BYTES) + 1)
        super().__init__(
            {
                "give": In(1),
                "count": In(bits_for(most_tokens(target))),
                "enough": Out(1),
                "take": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        tokens = Signal(self._bits)
        bits = len(self.count)
        many = Signal()  # more than can be wanted
        taken, change = Signal(bits), Signal(signed(bits + 1))
        m.d.comb += [many.eq(tokens[bits:].any()), change.eq(self.give - taken)]
        there = tokens[:bits] if self._short else tokens[:bits] + self.give
        m.d.sync += [
            self.enough.eq(many | (there >= self.count)),
            taken.eq(Mux(self.take, self.count, 0)),
            tokens.eq(tokens + change),
        ]
        return m
