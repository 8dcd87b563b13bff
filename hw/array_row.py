"""One row of multiply-accumulate cells of the systolic array."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tilewright.compiler.target import Target
from tilewright.hw.multiplier import Multiplier

__all__ = ["ArrayRow"]


class ArrayRow(wiring.Component):
    """One row of C multiply-accumulate cells.

    Each cell holds the weight in use and the next one. Activations, `swap` and `capture` move one
    column to the right a cycle; weights and partial sums of column c arrive c cycles later than
    those of column 0 and leave one cycle after they arrive.

    Members
    -------
    activation : ``In(signed(act_bits))``
        Operand of column 0.
    swap : ``In(1)``
        With the first activation of a tile: every cell takes its next weight into use.
    capture : ``In(1)``
        The passing weights are this row's: keep them as the next weights.
    weights_in, weights_out : ``ArrayLayout(signed(weight_bits), C)``
        Weights passing down, one row a cycle.
    psums_in, psums_out : ``ArrayLayout(signed(psum_bits), C)``
        Partial sums; ``psums_in[c]`` must be valid multiplier_stages + 1 + c cycles after its
        activation, ``psums_out[c]`` follows one cycle later.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        weights = data.ArrayLayout(signed(target.weight_bits), target.cols)
        psums = data.ArrayLayout(signed(target.psum_bits), target.cols)
        super().__init__(
            {
                "activation": In(signed(target.act_bits)),
                "swap": In(1),
                "capture": In(1),
                "weights_in": In(weights),
                "weights_out": Out(weights),
                "psums_in": In(psums),
                "psums_out": Out(psums),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        target = self._target
        activation, swap, capture = self.activation, self.swap, self.capture
        for c in range(target.cols):
            held = Signal(signed(target.act_bits), name=f"activation_{c}", reset_less=True)
            passing = Signal(signed(target.weight_bits), name=f"passing_{c}", reset_less=True)
            upcoming = Signal(signed(target.weight_bits), name=f"upcoming_{c}", reset_less=True)
            weight = Signal(signed(target.weight_bits), name=f"weight_{c}", reset_less=True)
            psum = Signal(signed(target.psum_bits), name=f"psum_{c}", reset_less=True)
            swap_next = Signal(name=f"swap_{c}")
            capture_next = Signal(name=f"capture_{c}")
            multiplier = Multiplier(
                a_bits=target.act_bits,
                b_bits=target.weight_bits,
                stages=target.multiplier_stages,
            )
            m.submodules[f"multiplier_{c}"] = multiplier

            m.d.sync += [
                held.eq(activation),
                swap_next.eq(swap),
                capture_next.eq(capture),
                passing.eq(self.weights_in[c]),
                psum.eq(self.psums_in[c] + multiplier.product),
            ]
            with m.If(swap):
                m.d.sync += weight.eq(upcoming)
            with m.If(capture):
                m.d.sync += upcoming.eq(self.weights_in[c])
            m.d.comb += [
                multiplier.a.eq(held),
                multiplier.b.eq(weight),
                self.weights_out[c].eq(passing),
                self.psums_out[c].eq(psum),
            ]
            activation, swap, capture = held, swap_next, capture_next
        return m
