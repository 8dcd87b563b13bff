"""The second half of LOAD: the words of padded rectangles, for the activation banks."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from tilewright.compiler.isa import Opcode
from tilewright.compiler.target import Target
from tilewright.hw.gearbox import Gearbox
from tilewright.hw.instructions import instruction_layout

__all__ = ["LoadWriter"]

_INSTRUCTION = instruction_layout(Opcode.LOAD)


class LoadWriter(wiring.Component):
    """Second half of LOAD: gives the padded rectangle's words, one bank word a cycle.

    Words of P packed pixels hold two rows of P/2 pixels; a row of the rectangle has P/2 phases,
    one pixel after the other, and then goes on to the next P words.

    A narrow map has only 1, 2 or 4 lanes a pixel in memory; their first `period` ones fill the R
    lanes again and again.

    Members
    -------
    i : ``In(stream of LOAD instructions)``
        Taken when the rectangle is complete; `start` must hold for it to begin.
    start : ``In(1)``
        The tokens are there.
    started : ``Out(1)``
        Takes them.
    beats : ``In(stream of beats)``
        The rows read, each beginning with a beat.
    enable, address, lanes : ``Out``
        A word, to the rotator.
    phase : ``Out(3)``
        Of the word's pixel, if words are packed.
    done : ``Out(1)``
        The last word of a rectangle is being given.
    waiting : ``Out(1)``
        A rectangle has not begun.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        super().__init__(
            {
                "i": In(stream.Signature(_INSTRUCTION)),
                "start": In(1),
                "started": Out(1),
                "beats": In(stream.Signature(8 * target.bus_bytes)),
                "enable": Out(1),
                "address": Out(ceil_log2(target.act_depth)),
                "lanes": Out(data.ArrayLayout(signed(target.act_bits), target.rows)),
                "phase": Out(3),
                "done": Out(1),
                "waiting": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        target = self._target
        pixel_bytes = (target.rows, *target.narrow_lanes)  # in the order of `narrow`
        m.submodules.gearbox = gearbox = Gearbox(
            8 * target.bus_bytes, tuple(8 * target.lane_bytes * lanes for lanes in pixel_bytes)
        )

        # Rows begin with a fresh beat: what is left of a row's last beat is dropped.
        job = self.i.p
        beat = Signal(16)
        rows_in = Signal(16)
        wanted = Signal()
        m.d.comb += [
            gearbox.i.p.data.eq(self.beats.p),
            gearbox.i.p.last.eq(beat == job.row_beats - 1),
            gearbox.mode.eq(job.narrow),
        ]
        with m.If(gearbox.i.valid & gearbox.i.ready):
            m.d.sync += [
                beat.eq(Mux(gearbox.i.p.last, 0, beat + 1)),
                rows_in.eq(rows_in + gearbox.i.p.last),
            ]

        busy = Signal()
        x = Signal(17)
        y = Signal(17)
        address = Signal.like(self.address)
        width = Signal(17)
        height = Signal(17)
        left, right = Signal(17), Signal(17)
        top, bottom = Signal(17), Signal(17)
        pixel = Signal()
        m.d.comb += [
            pixel.eq((y >= top) & (y < bottom) & (x >= left) & (x < right)),
            self.waiting.eq(self.i.valid & ~busy),
            self.started.eq(self.waiting & self.start),
            # Beats enter only while their instruction is at the front.
            wanted.eq(busy & (rows_in != job.rows)),
            gearbox.i.valid.eq(self.beats.valid & wanted),
            self.beats.ready.eq(gearbox.i.ready & wanted),
        ]
        with m.If(self.started):
            m.d.sync += [
                busy.eq(1),
                rows_in.eq(0),
                x.eq(0),
                y.eq(0),
                address.eq(job.bank_address),
                left.eq(job.pad_left),
                right.eq(job.pad_left + job.cols),
                width.eq(job.pad_left + job.cols + job.pad_right),
                top.eq(job.pad_top),
                bottom.eq(job.pad_top + job.rows),
                height.eq(job.pad_top + job.rows + job.pad_bottom),
            ]

        lanes = data.ArrayLayout(unsigned(8 * target.lane_bytes), target.rows)
        word = data.View(lanes, gearbox.o.p.data)
        last_x = x == width - 1
        last = last_x & (y == height - 1)
        m.d.comb += [
            gearbox.o.ready.eq(busy & pixel),
            gearbox.stop.eq(x == right - 1),
            self.enable.eq(busy & (~pixel | gearbox.o.valid)),
            self.address.eq(address),
            self.done.eq(self.enable & last),
            self.i.ready.eq(self.done),
        ]
        for r in range(target.rows):
            lane = Signal(8 * target.lane_bytes, name=f"lane_{r}")
            with m.Switch(job.period):
                for period in range(1, max(target.narrow_lanes, default=0) + 1):
                    with m.Case(period):
                        m.d.comb += lane.eq(word[r % period])
                with m.Default():
                    m.d.comb += lane.eq(word[r])
            m.d.comb += self.lanes[r].eq(Mux(pixel, lane[: target.act_bits], 0))
        step = self._phases(m)
        with m.If(self.enable):
            m.d.sync += [address.eq(address + step), x.eq(x + 1)]
            with m.If(last_x):
                m.d.sync += [x.eq(0), y.eq(y + 1)]
            with m.If(last):
                m.d.sync += busy.eq(0)
        return m

    def _phases(self, m: Module) -> Signal:
        """Count the phases of packed words; returns how far the next word's address is."""
        packs = self._target.packs
        step = Signal(range(max(packs, default=1) + 1))
        column = Signal(2)  # of the pixel in its block
        with m.Switch(self.i.p.pack):
            for pixels in packs:
                last = pixels // 2 - 1
                with m.Case(ceil_log2(pixels)):
                    m.d.comb += step.eq(Mux(column == last, pixels, 0))
                    with m.If(self.enable):
                        m.d.sync += column.eq(Mux(column == last, 0, column + 1))
            with m.Default():
                m.d.comb += step.eq(1)
        with m.If(self.started):
            m.d.sync += column.eq(0)
        m.d.comb += self.phase.eq(self.i.p.phase | column)
        return step
