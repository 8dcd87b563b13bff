"""Below ternary cells: a column's sums of positive and of negative weights become one."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tilewright.compiler.target import Target
from tilewright.hw.multipliers.cell import sum_shape

__all__ = ["ColumnScale"]


class ColumnScale(wiring.Component):
    """``psum = sums[0] * positive - sums[1] * negative``, scale_registers cycles later.

    The scales are numbers of weight_bits without a sign, and come the way that sums come: with
    `take`, they are the low bits of the sums; sums count again from two cycles later on. Without
    scales (weight_bits of 2), both are 1. Products are sums of shifted operands, each of which is
    added or left out, in two stages: no multiplier. One sum a cycle, no handshake, no reset.

    Members
    -------
    sums : ``In(sum_shape(target))``
        Of the column's positive and negative weights.
    take : ``In(1)``
        Only if the target is scaled: `sums` are the scales.
    psum : ``Out(signed(psum_bits))``
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        take = {"take": In(1)} if target.scaled else {}
        super().__init__(
            {"sums": In(sum_shape(target)), **take, "psum": Out(signed(target.psum_bits))}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        positive, negative = self.sums[0], self.sums[1]
        if self._target.scaled:
            taken = Signal()
            m.d.sync += taken.eq(self.take)
            positive = self._product(m, positive, taken, "positive")
            negative = self._product(m, negative, taken, "negative")
        psum = Signal.like(self.psum, reset_less=True)
        m.d.sync += psum.eq(positive - negative)
        m.d.comb += self.psum.eq(psum)
        return m

    def _product(self, m: Module, value: Value, taken: Signal, name: str) -> Signal:
        """`value` times its scale, two cycles later; the scale is taken where `value` is held."""
        bits = self._target.weight_bits
        scale = Signal(bits, name=f"{name}_scale", reset_less=True)
        held = Signal.like(value, name=f"{name}_held", reset_less=True)
        m.d.sync += held.eq(value)
        with m.If(taken):
            m.d.sync += scale.eq(held)
        low = Signal(signed(len(value) + bits // 2), name=f"{name}_low", reset_less=True)
        product = Signal(signed(len(value) + bits), name=f"{name}_product", reset_less=True)
        first = Mux(scale[0], value, 0)
        m.d.sync += low.eq(_added(m, first, value, scale[1 : bits // 2], 1, f"{name}_first"))
        second = _added(m, low, held, scale[bits // 2 :], bits // 2, f"{name}_second")
        m.d.sync += product.eq(second)
        return product


def _added(m: Module, start: Value, value: Value, bits: Value, place: int, name: str) -> Value:
    """`start` plus `value` shifted by `place` and on for each of `bits` that is set.

    What stands below the place is not added to, so that adders have `value`'s width.
    """
    total = start
    for n, bit in enumerate(bits):
        above = total >> (place + n)
        added = Signal(signed(max(len(above), len(value)) + 1), name=f"{name}_{n}")
        m.d.comb += added.eq(Mux(bit, above + value, above))
        total = Cat(total[: place + n], added).as_signed()
    return total
