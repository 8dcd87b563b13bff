"""How weight rows enter the array ahead of each tile."""

from amaranth.hdl import Cat, Module, Signal
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
        The next tile starts if it is complete.
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
        # Counted in ones: bit n says that n + 1 rows have entered, so that the last bit says all.
        entered = Signal(self._target.rows)
        m.d.comb += [
            self.complete.eq(entered[-1]),
            self.i.ready.eq(~self.complete | self.start),
            self.word_valid.eq(self.i.valid & self.i.ready),
        ]
        with m.If(self.start & self.complete):
            m.d.sync += entered.eq(self.word_valid)
        with m.Elif(self.word_valid):
            m.d.sync += entered.eq(Cat(1, entered))
        return m
