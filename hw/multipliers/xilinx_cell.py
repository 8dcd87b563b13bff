"""A cell of Xilinx 7-series: all of it is one block."""

from __future__ import annotations

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, Value, signed
from amaranth.lib import wiring

from tilewright.compiler.target import Target
from tilewright.hw.multipliers.cell import CASCADE_BITS, as_port, cell_members
from tilewright.hw.multipliers.packing import lower_part, pack, upper_part

__all__ = ["XilinxCell"]

_A_BITS, _B_BITS = 30, 18
_MULTIPLY_AND_ADD_PCIN = 0b0010101


class XilinxCell(wiring.Component):
    """Operand registers, product, and the column's sum through the cascade, in one DSP48E1.

    With two multiplier_stages the operands pass the second of the block's two registers as well.
    A pair of weights leaves room for a whole column's sum in the lower field, so that only the
    sums below the last row are taken apart.

    Parameters
    ----------
    target : its widths, stages and weights_per_multiplier

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

        cascade, total = Signal(CASCADE_BITS), Signal(CASCADE_BITS)
        self._block(m, self._upcoming(), cascade, total)
        m.d.comb += self.psums_out[0].eq(cascade)
        if target.weights_per_multiplier == 1:
            m.d.comb += self.sums[0].eq(as_port(total[: target.psum_bits]))
        else:
            upper, carry = upper_part(total, target.psum_bits)
            m.d.comb += [
                self.sums[0].eq(as_port(lower_part(total, target.psum_bits))),
                self.sums[1].eq(upper + carry),
            ]
        return m

    def _upcoming(self) -> Value:
        if self._target.weights_per_multiplier == 1:
            return self.weights[0]
        return pack(self.weights[0], self.weights[1], self._target.psum_bits)

    def _block(self, m: Module, upcoming: Value, cascade: Signal, total: Signal) -> None:
        # With two operand registers the first is what the weight and the activation wait in.
        stages = self._target.multiplier_stages
        first = 1 if stages == 2 else 2
        ports: dict[str, object] = {
            **{f"i_{name}": Const(0) for name in _UNUSED},
            "i_CLK": ClockSignal(),
            "i_A": _extended(upcoming, _A_BITS),
            "i_B": _extended(self.activation, _B_BITS),
            "i_PCIN": self.psums_in[0],
            "i_OPMODE": Const(_MULTIPLY_AND_ADD_PCIN, 7),
            "i_CEM": Const(1),
            "i_CEP": Const(1),
            f"i_CEA{first}": self.swap,
            f"i_CEA{3 - first}": Const(stages == 2, 1),
            f"i_CEB{first}": Const(1),
            f"i_CEB{3 - first}": Const(stages == 2, 1),
            "i_ALUMODE": Const(0, 4),
            "i_CARRYINSEL": Const(0, 3),
            "i_INMODE": Const(0, 5),
            "i_ACIN": Const(0, _A_BITS),
            "i_BCIN": Const(0, _B_BITS),
            "i_C": Const(0, 48),
            "i_D": Const(0, 25),
            "o_PCOUT": cascade,
            "o_P": total,
        }
        controls = ("ALUMODE", "CARRYIN", "CARRYINSEL", "INMODE", "OPMODE")
        m.submodules.block = Instance(
            "DSP48E1",
            **{f"p_{name}REG": stages for name in ("A", "B", "ACASC", "BCASC")},
            **{f"p_{name}REG": 0 for name in controls},  # constant
            **{f"p_{name}REG": 1 for name in ("M", "P", "C", "D", "AD")},
            p_USE_DPORT="FALSE",
            p_USE_MULT="MULTIPLY",
            p_USE_SIMD="ONE48",
            **ports,
        )


_UNUSED = (
    *("CARRYCASCIN", "CARRYIN", "MULTSIGNIN"),
    *("CEAD", "CEALUMODE", "CEC", "CECARRYIN", "CECTRL", "CED", "CEINMODE"),
    *("RSTA", "RSTALLCARRYIN", "RSTALUMODE", "RSTB", "RSTC", "RSTCTRL", "RSTD"),
    *("RSTINMODE", "RSTM", "RSTP"),
)


def _extended(value: Value, bits: int) -> Value:
    return Cat(value, value[-1].replicate(bits - len(value)))
