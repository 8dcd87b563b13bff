"""A cell of Lattice iCE40 UltraPlus: two columns share one block."""

from __future__ import annotations

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, signed
from amaranth.lib import wiring

from tilewright.compiler.target import Target
from tilewright.hw.multipliers.cell import cell_members

__all__ = ["Ice40Cell"]

_WIDTH = 8
_HALF = 2 * _WIDTH


class Ice40Cell(wiring.Component):
    """Two products of up to 8x8 bits in one SB_MAC16.

    The block's own operand registers hold the activation and the weights in use, and a second of the
    multiplier_stages is its output register, behind adders that have too few bits for partial sums
    and add 0. Synthesize with `synth_ice40` without `-dsp`: as of Yosys 0.70 that option pulls a
    register behind the block into it as if it were one 16x16 multiplier.

    Parameters
    ----------
    target : its widths and stages

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

        products = Signal(2 * _HALF)
        self._block(m, products)
        for column in range(2):
            product = products[_HALF * column :][:_HALF].as_signed()
            psum = Signal(signed(target.psum_bits), name=f"psum_{column}", reset_less=True)
            m.d.sync += psum.eq(self.psums_in[column] + product)
            m.d.comb += [self.psums_out[column].eq(psum), self.sums[column].eq(psum)]
        return m

    def _block(self, m: Module, products: Signal) -> None:
        activation, weights = Signal(signed(_WIDTH)), [Signal(signed(_WIDTH)) for _ in range(2)]
        m.d.comb += activation.eq(self.activation)
        m.d.comb += [weights[column].eq(self.weights[column]) for column in range(2)]
        ones: tuple[str, ...] = ("MODE_8x8", "A_SIGNED", "B_SIGNED", "A_REG", "B_REG")
        ones += ("TOP_8x8_MULT_REG", "BOT_8x8_MULT_REG")
        output = (
            1 if self._target.multiplier_stages == 2 else 2
        )  # the adder's register, or the product
        halves = {}
        for half in ("TOP", "BOT"):
            halves[f"p_{half}OUTPUT_SELECT"] = Const(output, 2)
            halves[f"p_{half}ADDSUB_LOWERINPUT"] = Const(1, 2)  # the product
            halves[f"p_{half}ADDSUB_UPPERINPUT"] = Const(1, 1)  # C or D, which are 0
        unused: tuple[str, ...] = (
            "AHOLD",
            "CHOLD",
            "DHOLD",
            "OHOLDTOP",
            "OHOLDBOT",
            "OLOADTOP",
            "OLOADBOT",
        )
        unused += ("IRSTTOP", "IRSTBOT", "ORSTTOP", "ORSTBOT", "ADDSUBTOP", "ADDSUBBOT")
        unused += ("CI", "ACCUMCI", "SIGNEXTIN")
        m.submodules.block = Instance(
            "SB_MAC16",
            **{f"p_{name}": Const(1, 1) for name in ones},
            **halves,
            **{f"i_{name}": Const(0) for name in unused},
            i_CLK=ClockSignal(),
            i_CE=Const(1),
            i_A=Cat(activation, activation),
            i_B=Cat(*weights),
            i_C=Const(0, 16),
            i_D=Const(0, 16),
            i_BHOLD=~self.swap,
            o_O=products,
        )
