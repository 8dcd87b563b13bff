"""From post-processed columns to write beats: lane placement, row packing, byte strobes."""

from __future__ import annotations

import math

from amaranth.hdl import Cat, Module, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from tilewright.compiler.target import Target
from tilewright.hw.gearbox import Gearbox
from tilewright.hw.writer import beat_layout

__all__ = ["LanePacker"]


class LanePacker(wiring.Component):
    """Places columns on the lanes of a memory word and packs a row's words into bus beats.

    Lane j of a word takes column j - dst_lane + src_lane for dst_lane <= j < dst_lane + lanes; the
    strobes of other lanes, and of what pads a row's last beat, are off. With R = C no lane ever
    moves and the placement costs nothing. Throughput: a word or a beat a cycle, whichever is
    wider.

    Members
    -------
    i : ``In(stream of {lanes: ArrayLayout(signed(act_bits), C), last: 1})``
        Output pixels; `last` ends a row.
    src_lane, dst_lane, lanes : ``In(8)``
        Constant while pixels are inside.
    o : ``Out(stream of beat_layout(target))``
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        pixel = data.StructLayout(
            {"lanes": data.ArrayLayout(signed(target.act_bits), target.cols), "last": 1}
        )
        super().__init__(
            {
                "i": In(stream.Signature(pixel)),
                "src_lane": In(8),
                "dst_lane": In(8),
                "lanes": In(8),
                "o": Out(stream.Signature(beat_layout(target))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        target = self._target
        # A byte and its strobe travel together through the gearbox.
        cell = 9
        m.submodules.gearbox = gearbox = Gearbox(
            cell * target.pixel_bytes, (cell * target.bus_bytes,), flush="pad"
        )
        word = Signal(
            data.ArrayLayout(
                data.StructLayout({"byte": unsigned(8), "strobe": 1}), target.pixel_bytes
            )
        )
        # Of the fields, only the bits count that lanes of the array need.
        begins = Cat(self.dst_lane[: bits_for(target.rows - 1)] == j for j in range(target.rows))
        end = Signal(range(target.rows + 1))
        m.d.comb += end.eq(self.dst_lane + self.lanes)
        for j in range(target.rows):
            value = Signal(signed(8 * target.lane_bytes), name=f"lane_{j}")
            m.d.comb += value.eq(self._column(m, j))
            strobe = begins[: j + 1].any() & (end > j)
            for byte in range(target.lane_bytes):
                cell_j = word[j * target.lane_bytes + byte]
                m.d.comb += [
                    cell_j.byte.eq(value.word_select(byte, 8)),
                    cell_j.strobe.eq(strobe),
                ]
        # What a row's last word does not fill of its last beat is not written.
        step = math.gcd(target.pixel_bytes, target.bus_bytes)
        whole = ~gearbox.o.p.last | (gearbox.filled == 0)
        filled = [gearbox.filled > n for n in range(target.bus_bytes // step - 1)]
        written = [whole | Cat(filled)[n // step :][:1] for n in range(target.bus_bytes)]
        beat = data.View(
            data.ArrayLayout(data.StructLayout({"byte": 8, "strobe": 1}), target.bus_bytes),
            gearbox.o.p.data,
        )
        m.d.comb += [
            gearbox.i.valid.eq(self.i.valid),
            gearbox.i.p.data.eq(word),
            gearbox.i.p.last.eq(self.i.p.last),
            self.i.ready.eq(gearbox.i.ready),
            self.o.valid.eq(gearbox.o.valid),
            gearbox.o.ready.eq(self.o.ready),
            self.o.p.data.eq(Cat(b.byte for b in beat)),
            self.o.p.strobe.eq(Cat(b.strobe for b in beat) & Cat(written)),
        ]
        return m

    def _column(self, m: Module, lane: int) -> Signal:
        """Column that goes to `lane`: a multiplexer over the moves that R and C allow."""
        rows, cols = self._target.rows, self._target.cols
        chosen = Signal(signed(self._target.act_bits), name=f"column_for_{lane}")
        unit = math.gcd(rows, cols)
        if rows == cols:
            m.d.comb += chosen.eq(self.i.p.lanes[lane])
            return chosen
        move = self.dst_lane - self.src_lane
        for delta in range(unit - cols, rows, unit):
            if 0 <= lane - delta < cols:
                with m.If(move == delta):
                    m.d.comb += chosen.eq(self.i.p.lanes[lane - delta])
        return chosen
