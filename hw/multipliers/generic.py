"""The multiplier of any family: what synthesis makes of `*`."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["GenericMultiplier"]


class GenericMultiplier(wiring.Component):
    """Signed product, `stages` cycles after its operands; one product a cycle, no handshake.

    The registers stand behind the product without a reset, where synthesis can pull them into a
    DSP block's pipeline and output registers.

    Parameters
    ----------
    a_bits, b_bits
        Operand widths.
    stages
        Registers from the operands to the product, at least 1.

    Members
    -------
    a : ``In(signed(a_bits))``
        First operand.
    b : ``In(signed(b_bits))``
        Second operand.
    product : ``Out(signed(a_bits + b_bits))``
        ``a * b`` of `stages` cycles ago.
    """

    def __init__(self, *, a_bits: int, b_bits: int, stages: int) -> None:
        if stages < 1:
            raise ValueError(f"Multiplier stages must be a positive integer, not {stages!r}")
        self.stages = stages
        super().__init__(
            {
                "a": In(signed(a_bits)),
                "b": In(signed(b_bits)),
                "product": Out(signed(a_bits + b_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        value = self.a * self.b
        for stage in range(self.stages):
            register = Signal.like(self.product, name=f"product_{stage}", reset_less=True)
            m.d.sync += register.eq(value)
            value = register
        m.d.comb += self.product.eq(value)
        return m
