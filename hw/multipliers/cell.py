"""What every cell of the array is, whatever its multiplier."""

from __future__ import annotations

from amaranth.hdl import ShapeLike, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Member, Out

from tilewright.compiler.target import Target

__all__ = ["CASCADE_BITS", "as_port", "cell_members", "psum_layout", "sum_shape"]

CASCADE_BITS = 48
"""Width of the cascade from one DSP48E1 to the next."""


def as_port(value: Value) -> Value:
    """The value, through an operator that costs nothing.

    Bits of a block's output that go to a port directly would each become a port, with a number
    that differs from cell to cell; so all cells are one module.
    """
    return value | 0


def sum_shape(target: Target) -> ShapeLike:
    """A column's sum: a number, in ternary cells those of the positive and the negative weights."""
    if target.ternary:
        return data.ArrayLayout(signed(target.sum_bits), 2)
    return signed(target.psum_bits)


def psum_layout(target: Target) -> data.ArrayLayout:
    """What one cell passes down to the next: partial sums, or the block's cascade."""
    if target.multiplier == "xilinx":
        return data.ArrayLayout(signed(CASCADE_BITS), 1)
    return data.ArrayLayout(sum_shape(target), target.columns_per_cell)


def cell_members(target: Target) -> dict[str, Member]:
    """The members of a cell: the columns that share a multiplier, in one row.

    A cell holds the weight in use of each of its columns and adds
    ``psums_out = psums_in + activation * weight``. No handshake, no reset.

    activation, activation_out : signed(act_bits)
        Passed to the next cell one cycle later.
    swap : 1
        With the first activation of a tile: take `weights` into use, also for this activation.
    weights : signed(code_bits) a column
        The next weights. In ternary cells, bit 0 adds the activation to the sum of the positive
        weights, bit 1 to that of the negative ones.
    psums_in, psums_out : psum_layout(target)
        `psums_in` must be valid multiplier_stages + 1 cycles after its activation, `psums_out`
        follows one cycle later.
    sums : sum_shape(target) a column
        What `psums_out` holds, for whatever is below the last row.
    """
    columns = target.columns_per_cell
    return {
        "activation": In(signed(target.act_bits)),
        "activation_out": Out(signed(target.act_bits)),
        "swap": In(1),
        "weights": In(data.ArrayLayout(signed(target.code_bits), columns)),
        "psums_in": In(psum_layout(target)),
        "psums_out": Out(psum_layout(target)),
        "sums": Out(data.ArrayLayout(sum_shape(target), columns)),
    }
