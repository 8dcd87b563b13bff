"""How weight rows enter the array ahead of each tile."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tilewright.compiler.isa import Opcode
from tilewright.compiler.target import Target
from tilewright.hw.instructions import instruction_layout
from tilewright.hw.weights import weight_row_layout

__all__ = ["TileLoader"]

_INSTRUCTION = instruction_layout(Opcode.CALC)


class TileLoader(wiring.Component):
    """Lets exactly R weight rows into the array ahead of each tile.

    The rows of the next tile may enter from the cycle on in which the present one starts, so a
    tile can start every R cycles.

    Members
    -------
    i : ``In(stream of weight_row_layout(target))``
    word_valid : ``Out(1)``
        A row enters this cycle.
    complete : ``Out(1)``
        All rows of the next tile have entered.
    start : ``In(1)``
        The next tile starts; only with `complete`.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        super().__init__(
            {
                "i": In(stream.Signature(weight_row_layout(target))),
                "word_valid": Out(1),
                "complete": Out(1),
                "start": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        count = Signal(range(self._target.rows + 1))
        rows = self._target.rows
        final = self.word_valid & (Mux(self.start, 0, count) == rows - 1)
        m.d.comb += [
            self.i.ready.eq(~self.complete | self.start),
            self.word_valid.eq(self.i.valid & self.i.ready),
        ]
        m.d.sync += [
            count.eq(Mux(self.start, 0, count) + self.word_valid),
            self.complete.eq(final | (self.complete & ~self.start)),
        ]
        return m
