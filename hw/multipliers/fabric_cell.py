"""A cell whose operand registers and partial sums are in the fabric."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal, Value, signed
from amaranth.lib import wiring

from tilewright.compiler.target import Target
from tilewright.hw.multipliers.cell import cell_members
from tilewright.hw.multipliers.ecp5 import Ecp5Multiplier
from tilewright.hw.multipliers.generic import GenericMultiplier
from tilewright.hw.multipliers.gowin import GowinMultiplier
from tilewright.hw.multipliers.packing import lower_part, pack, upper_part

__all__ = ["FabricCell"]


class FabricCell(wiring.Component):
    """A cell around one multiplier, for one weight or a pair of narrow ones.

    Of the target's multiplier_stages, those that the multiplier block does not have follow it as
    registers in the fabric: they may be placed near the block, so that the way from there to the
    adder is another cycle's. With a pair of weights the adders correct the upper product's borrow
    as their carry.

    Parameters
    ----------
    target : its multiplier's family, widths, stages and weights_per_multiplier

    Members
    -------
    See :func:`tilewright.hw.multipliers.cell.cell_members`.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._field = target.act_bits + target.weight_bits
        super().__init__(cell_members(target))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        target = self._target
        upcoming = self._upcoming()
        held = Signal(signed(target.act_bits), reset_less=True)
        weight = Signal(signed(len(upcoming)), reset_less=True)
        m.d.sync += held.eq(self.activation)
        with m.If(self.swap):
            m.d.sync += weight.eq(upcoming)
        m.d.comb += self.activation_out.eq(held)

        m.submodules.multiplier = multiplier = self._multiplier(len(upcoming))
        m.d.comb += [multiplier.a.eq(held), multiplier.b.eq(weight)]
        product = multiplier.product
        for stage in range(target.product_registers):
            register = Signal.like(product, name=f"product_{stage}", reset_less=True)
            m.d.sync += register.eq(product)
            product = register

        for column, (addend, carry) in enumerate(self._addends(product)):
            psum = Signal(signed(target.psum_bits), name=f"psum_{column}", reset_less=True)
            m.d.sync += psum.eq(_add(self.psums_in[column], addend, carry))
            m.d.comb += [self.psums_out[column].eq(psum), self.sums[column].eq(psum)]
        return m

    def _multiplier(self, b_bits: int) -> wiring.Component:
        target = self._target
        if target.multiplier == "ecp5":
            return Ecp5Multiplier(a_bits=target.act_bits, b_bits=b_bits)
        if target.multiplier == "gowin":
            return GowinMultiplier(a_bits=target.act_bits, b_bits=b_bits)
        return GenericMultiplier(
            a_bits=target.act_bits, b_bits=b_bits, stages=target.multiplier_stages
        )

    def _upcoming(self) -> Value:
        if self._target.weights_per_multiplier == 1:
            return self.weights[0]
        return pack(self.weights[0], self.weights[1], self._field)

    def _addends(self, product: Value) -> list[tuple[Value, Value | None]]:
        """What each column adds, and whether one more."""
        if self._target.weights_per_multiplier == 1:
            return [(product, None)]
        return [(lower_part(product, self._field), None), upper_part(product, self._field)]


def _add(psum: Value, addend: Value, carry: Value | None) -> Value:
    if carry is None:
        return psum + addend
    # One adder: its lowest bit only makes the carry.
    return (Cat(Const(1, 1), psum).as_signed() + Cat(carry, addend).as_signed()) >> 1
