"""A cell that multiplies nothing: weights of 1, 0 and -1."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring

from tilewright.compiler.target import Target
from tilewright.hw.multipliers.cell import cell_members

__all__ = ["TernaryCell"]


class TernaryCell(wiring.Component):
    """Adds an activation to the sums that the bits of each column's weight name.

    Without multiplier_stages a sum passes the cell or its adder, which is one look-up table a bit
    where that has an input beside the carry chain's (iCE40). With one, a register with a reset holds
    the activation or 0 in front of a plain adder (ECP5); further ones delay it.

    Parameters
    ----------
    target : its widths, stages and columns that share the activation's register

    Members
    -------
    See :func:`tilewright.hw.multipliers.cell.cell_members`.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        super().__init__(cell_members(target))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        target = self._target
        held = Signal(signed(target.act_bits), reset_less=True)
        m.d.sync += held.eq(self.activation)
        m.d.comb += self.activation_out.eq(held)
        for column in range(target.columns_per_cell):
            weight = Signal(target.code_bits, name=f"weight_{column}", reset_less=True)
            with m.If(self.swap):
                m.d.sync += weight.eq(self.weights[column])
            for sign in range(2):
                before = self.psums_in[column][sign]
                psum = Signal.like(before, name=f"psum_{column}_{sign}", reset_less=True)
                if target.multiplier_stages:
                    addend = self._gated(m, held, weight[sign], f"addend_{column}_{sign}")
                    m.d.sync += psum.eq(before + addend)
                else:
                    m.d.sync += psum.eq(Mux(weight[sign], before + held, before))
                m.d.comb += [
                    self.psums_out[column][sign].eq(psum),
                    self.sums[column][sign].eq(psum),
                ]
        return m

    def _gated(self, m: Module, held: Signal, taken: Signal, name: str) -> Signal:
        """The activation or 0, behind the stages' registers."""
        value = held
        for stage in range(self._target.multiplier_stages):
            register = Signal.like(held, name=f"{name}_{stage}", reset_less=True)
            m.d.sync += register.eq(value if stage else Mux(taken, held, 0))
            value = register
        return value
