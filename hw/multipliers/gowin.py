"""The multiplier blocks of Gowin's LittleBee and Arora families."""

from __future__ import annotations

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tilewright.hw.multipliers.cell import as_port

__all__ = ["GowinMultiplier"]


class GowinMultiplier(wiring.Component):
    """Signed product in a MULT9X9 or MULT18X18 with all its registers, three cycles late.

    One product a cycle, no handshake, no reset.

    Parameters
    ----------
    a_bits, b_bits
        Operand widths, at most 18; up to 9 take half a block.

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
        self._width = 9 if max(a_bits, b_bits) <= 9 else 18
        super().__init__(
            {
                "a": In(signed(a_bits)),
                "b": In(signed(b_bits)),
                "product": Out(signed(a_bits + b_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = self._width
        product = Signal(2 * width)
        registers = {f"p_{name}": Const(1, 1) for name in ("AREG", "BREG", "PIPE_REG", "OUT_REG")}
        operands: dict[str, object] = {}
        for name, operand in (("A", self.a), ("B", self.b)):
            sign = operand[-1].replicate(width - len(operand))
            operands |= {
                f"i_{name}": Cat(operand, sign),
                f"i_{name}SIGN": Const(1),
                f"i_{name}SEL": Const(0),
                f"i_SI{name}": Const(0, width),
            }
        m.submodules.block = Instance(
            f"MULT{width}X{width}",
            **registers,
            **operands,
            i_CE=Const(1),
            i_CLK=ClockSignal(),
            i_RESET=Const(0),
            o_DOUT=product,
        )
        m.d.comb += self.product.eq(as_port(product[: len(self.product)]))
        return m
