"""The weight-stationary systolic array and the way weights travel into it."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tilewright.compiler.target import Target
from tilewright.hw.array_row import ArrayRow
from tilewright.hw.column_scale import ColumnScale

__all__ = ["SystolicArray", "array_latency"]


def array_latency(target: Target) -> int:
    """Cycles from an activation at the left edge of row 0 to its sum below column 0."""
    below = target.edge_registers + target.scale_registers
    return target.rows + target.multiplier_stages + 1 + below


class SystolicArray(wiring.Component):
    """R×C weight-stationary array.

    Row r gets its activation, `swap` and `capture` r cycles after row 0. `weights` for column 0 of
    row 0 come with that row's `capture`; the array delays column c by g = c // columns_per_cell
    cycles itself. The sum of column c for an activation that row 0 got in cycle t stands at
    ``psums[c]`` in cycle t + array_latency(target) + g. One pixel a cycle, no handshake.

    Members
    -------
    activations : ``In(ArrayLayout(signed(act_bits), R))``
        Left edge.
    swap, capture : ``In(R)``
        A bit for each row, see :class:`ArrayRow`.
    weights : ``In(ArrayLayout(signed(code_bits), C))``
        One row of a weight tile.
    scales : ``In(1)``
        Only if the target is scaled. With the last row's activation: the sums of these activations
        are the columns' scales, for all activations that follow after at least Target.accumulate_latency
        cycles, see :class:`ColumnScale`.
    psums : ``Out(ArrayLayout(signed(psum_bits), C))``
        Bottom edge.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        scales = {"scales": In(1)} if target.scaled else {}
        super().__init__(
            {
                **scales,
                "activations": In(data.ArrayLayout(signed(target.act_bits), target.rows)),
                "swap": In(target.rows),
                "capture": In(target.rows),
                "weights": In(data.ArrayLayout(signed(target.code_bits), target.cols)),
                "psums": Out(data.ArrayLayout(signed(target.psum_bits), target.cols)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        target = self._target
        above = Signal(data.ArrayLayout(signed(target.code_bits), target.cols))
        for c in range(target.cols):
            skewed = self.weights[c]
            for hop in range(c // target.columns_per_cell):
                register = Signal(signed(target.code_bits), name=f"skew_{c}_{hop}", reset_less=True)
                m.d.sync += register.eq(skewed)
                skewed = register
            m.d.comb += above[c].eq(skewed)

        psums = None
        for r in range(target.rows):
            m.submodules[f"row_{r}"] = row = ArrayRow(target)
            m.d.comb += [
                row.activation.eq(self.activations[r]),
                row.swap.eq(self.swap[r]),
                row.capture.eq(self.capture[r]),
                row.weights_in.eq(above),
            ]
            if psums is not None:
                m.d.comb += row.psums_in.eq(psums)
            above, psums = row.weights_out, row.psums_out
        sums = row.sums
        for stage in range(target.edge_registers):
            register = Signal.like(sums, name=f"sums_{stage}", reset_less=True)
            m.d.sync += register.eq(sums)
            sums = register
        if target.ternary:
            self._scale(m, sums)
        else:
            m.d.comb += self.psums.eq(sums)
        return m

    def _scale(self, m: Module, sums: data.View) -> None:
        """One sum of each column's two; `scales` follows the last row's activation to them."""
        target = self._target
        take = self.scales if target.scaled else None
        group = target.columns_per_cell
        for c in range(target.cols):
            if take is not None and c % group == 0:
                delay = 1 if c else target.multiplier_stages + 2 + target.edge_registers
                for hop in range(delay):
                    later = Signal(name=f"take_{c}_{hop}")
                    m.d.sync += later.eq(take)
                    take = later
            m.submodules[f"scale_{c}"] = scale = ColumnScale(target)
            m.d.comb += [scale.sums.eq(sums[c]), self.psums[c].eq(scale.psum)]
            if take is not None:
                m.d.comb += scale.take.eq(take)
