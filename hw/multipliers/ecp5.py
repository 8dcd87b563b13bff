"""The multiplier block of Lattice ECP5."""

from __future__ import annotations

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tilewright.hw.multipliers.cell import as_port

__all__ = ["Ecp5Multiplier"]

_WIDTH = 18


class Ecp5Multiplier(wiring.Component):
    """Signed product in a MULT18X18D with all its registers, three cycles after its operands.

    The operands stand at the top of the block's ports, where the router finds shorter ways. One
    product a cycle, no handshake, no reset.

    Parameters
    ----------
    a_bits, b_bits
        Operand widths, at most 18.

    Members
    -------
    a : ``In(signed(a_bits))``
        First operand.
    b : ``In(signed(b_bits))``
        Second operand.
    product : ``Out(signed(a_bits + b_bits))``
        ``a * b`` of three cycles ago.
    """

    def __init__(self, *, a_bits: int, b_bits: int) -> None:
        super().__init__(
            {
                "a": In(signed(a_bits)),
                "b": In(signed(b_bits)),
                "product": Out(signed(a_bits + b_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        ports: dict[str, object] = {
            "i_CLK0": ClockSignal(),
            "i_CE0": Const(1),
            "i_RST0": Const(0),
            "i_SIGNEDA": Const(1),
            "i_SIGNEDB": Const(1),
            "i_SOURCEA": Const(0),
            "i_SOURCEB": Const(0),
        }
        for name, operand in (("A", self.a), ("B", self.b)):
            aligned = Cat(Const(0, _WIDTH - len(operand)), operand)
            ports |= {f"i_{name}{bit}": aligned[bit] for bit in range(_WIDTH)}
        product = Signal(2 * _WIDTH)
        ports |= {f"o_P{bit}": product[bit] for bit in range(2 * _WIDTH)}
        registers = {
            f"p_REG_{stage}_{signal}": f"{signal}0"
            for stage in ("INPUTA", "INPUTB", "PIPELINE", "OUTPUT")
            for signal in ("CLK", "CE", "RST")
        }
        m.submodules.block = Instance("MULT18X18D", **registers, **ports)
        m.d.comb += self.product.eq(as_port(product[2 * _WIDTH - len(self.product) :]))
        return m
