"""Each STORE's parameter records, fetched ahead."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tilewright.compiler.isa import PARAM_BYTES, Opcode
from tilewright.compiler.target import Target
from tilewright.hw.gearbox import Gearbox
from tilewright.hw.instructions import instruction_layout

__all__ = ["ParameterLoader"]

_STORE = instruction_layout(Opcode.STORE)
_STAMP = instruction_layout(Opcode.STAMP)
_RECORD = data.StructLayout({"bias": signed(48), "shift": unsigned(8), "reserved": unsigned(8)})


class ParameterLoader(wiring.Component):
    """Takes each STORE's parameter records and holds them until the next STORE starts.

    Members
    -------
    beats : ``In(stream of beats)``
        From the unit's reader.
    start : ``In(1)``
        Take the next C records, one a cycle if the bus delivers.
    done : ``Out(1)``
        The last record is being taken.
    bias, shift : ``Out``
        Of each column.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        super().__init__(
            {
                "beats": In(stream.Signature(8 * target.bus_bytes)),
                "start": In(1),
                "done": Out(1),
                "bias": Out(data.ArrayLayout(signed(target.acc_bits), target.cols)),
                "shift": Out(data.ArrayLayout(unsigned(6), target.cols)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        target = self._target
        beat_count = -(-target.cols * PARAM_BYTES // target.bus_bytes)
        m.submodules.gearbox = gearbox = Gearbox(8 * target.bus_bytes, (8 * PARAM_BYTES,))
        left = Signal(range(target.cols + 1))
        beat = Signal(range(beat_count))
        record = data.View(_RECORD, gearbox.o.p.data)
        last_beat = beat == beat_count - 1
        beats_in = Signal()
        wanted = Signal()
        m.d.comb += [
            wanted.eq((left != 0) & ~beats_in),
            gearbox.i.p.data.eq(self.beats.p),
            gearbox.i.p.last.eq(last_beat),
            gearbox.i.valid.eq(self.beats.valid & wanted),
            self.beats.ready.eq(gearbox.i.ready & wanted),
            gearbox.o.ready.eq(left != 0),
            gearbox.stop.eq(left == 1),
            self.done.eq(gearbox.o.valid & (left == 1)),
        ]
        with m.If(self.start):
            m.d.sync += [left.eq(target.cols), beat.eq(0), beats_in.eq(0)]
        with m.If(gearbox.i.valid & gearbox.i.ready):
            m.d.sync += [beat.eq(Mux(last_beat, 0, beat + 1)), beats_in.eq(last_beat)]
        # Records shift in from the last column, so that the first ends in column 0.
        with m.If(gearbox.o.valid & gearbox.o.ready):
            m.d.sync += left.eq(left - 1)
            for c in range(target.cols):
                final = c == target.cols - 1
                m.d.sync += [
                    self.bias[c].eq(record.bias if final else self.bias[c + 1]),
                    self.shift[c].eq(record.shift if final else self.shift[c + 1]),
                ]
        return m
