"""One row of multiply-accumulate cells of the systolic array."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tilewright.compiler.target import Target
from tilewright.hw.multipliers.cell import psum_layout, sum_shape
from tilewright.hw.multipliers.families import array_cell

__all__ = ["ArrayRow"]


class ArrayRow(wiring.Component):
    """One row of C columns, columns_per_cell of them in each multiply-accumulate cell.

    For each column there are the weight in use, in its cell, and the next one. Activations, `swap`
    and `capture` move one cell to the right a cycle; weights and partial sums of cell g arrive g
    cycles later than those of cell 0 and leave one cycle after they arrive.

    Members
    -------
    activation : ``In(signed(act_bits))``
        Operand of cell 0.
    swap : ``In(1)``
        With the first activation of a tile: every cell takes its next weights into use.
    capture : ``In(1)``
        The passing weights are this row's: keep them as the next weights.
    weights_in, weights_out : ``ArrayLayout(signed(code_bits), C)``
        Weights passing down, one row a cycle.
    psums_in, psums_out : ``ArrayLayout(psum_layout(target), cells_per_row)``
        Partial sums, from row to row; those of cell g must be valid multiplier_stages + 1 + g
        cycles after its activation, and follow one cycle later.
    sums : ``Out(ArrayLayout(sum_shape(target), C))``
        What `psums_out` holds, by columns.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        weights = data.ArrayLayout(signed(target.code_bits), target.cols)
        psums = data.ArrayLayout(psum_layout(target), target.cells_per_row)
        super().__init__(
            {
                "activation": In(signed(target.act_bits)),
                "swap": In(1),
                "capture": In(1),
                "weights_in": In(weights),
                "weights_out": Out(weights),
                "psums_in": In(psums),
                "psums_out": Out(psums),
                "sums": Out(data.ArrayLayout(sum_shape(target), target.cols)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        target = self._target
        columns = target.columns_per_cell
        activation, swap, capture = self.activation, self.swap, self.capture
        for g in range(target.cells_per_row):
            m.submodules[f"cell_{g}"] = cell = array_cell(target)
            m.d.comb += [
                cell.activation.eq(activation),
                cell.swap.eq(swap),
                cell.psums_in.eq(self.psums_in[g]),
                self.psums_out[g].eq(cell.psums_out),
            ]
            for i, c in enumerate(range(g * columns, (g + 1) * columns)):
                passing = Signal(signed(target.code_bits), name=f"passing_{c}", reset_less=True)
                upcoming = Signal(signed(target.code_bits), name=f"upcoming_{c}", reset_less=True)
                m.d.sync += passing.eq(self.weights_in[c])
                with m.If(capture):
                    m.d.sync += upcoming.eq(self.weights_in[c])
                m.d.comb += [
                    cell.weights[i].eq(upcoming),
                    self.weights_out[c].eq(passing),
                    self.sums[c].eq(cell.sums[i]),
                ]
            swap_next = Signal(name=f"swap_{g}", reset_less=True)
            capture_next = Signal(name=f"capture_{g}", reset_less=True)
            m.d.sync += [swap_next.eq(swap), capture_next.eq(capture)]
            activation, swap, capture = cell.activation_out, swap_next, capture_next
        return m
