"""The second half of LOAD: the words of padded rectangles, for the activation banks."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, ceil_log2

from tilewright.compiler.isa import Opcode
from tilewright.compiler.legal import row_beats
from tilewright.compiler.target import Target
from tilewright.hw.choice import choose
from tilewright.hw.gearbox import Gearbox
from tilewright.hw.instructions import instruction_layout
from tilewright.hw.loop_counter import LoopCounter
from tilewright.hw.padded_counter import PaddedCounter
from tilewright.hw.stream_buffer import StreamBuffer

__all__ = ["LoadWriter"]

_INSTRUCTION = instruction_layout(Opcode.LOAD)


class LoadWriter(wiring.Component):
    """Second half of LOAD: gives the padded rectangle's words, one bank word a cycle.

    Words of P packed pixels hold two rows of P/2 pixels; a row of the rectangle has P/2 phases,
    one pixel after the other, and then goes on to the next P words.

    A narrow map has only 1, 2 or 4 lanes a pixel in memory; their first `period` ones fill the R
    lanes again and again.

    What each word is, is found a word ahead and stands in registers.

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
            8 * target.bus_bytes,
            tuple(8 * target.lane_bytes * lanes for lanes in pixel_bytes),
            short=target.short_stages,
        )
        inlet = gearbox.i
        if target.short_stages:  # what counts beats does not hear from the banks within a cycle
            m.submodules.inlet = buffer = StreamBuffer(gearbox.i.p.shape(), short=True)
            wiring.connect(m, buffer.o, gearbox.i)
            inlet = buffer.i

        # Rows begin with a fresh beat: what is left of a row's last beat is dropped.
        job = self.i.p
        short = target.short_stages
        beat_bits = bits_for(row_beats(target, target.act_depth))
        row_bits = bits_for(target.act_depth)
        m.submodules.beats = beats = LoopCounter(beat_bits, short=short)
        m.submodules.rows = rows = LoopCounter(row_bits, short=short)
        rows_left = Signal()
        begun = Signal()  # the rectangle's words are being given
        begins = ~begun if short else self.started  # what counts is at its start until then
        accept = inlet.valid & inlet.ready
        wanted = Signal()
        m.d.comb += [
            inlet.p.data.eq(self.beats.p),
            inlet.p.last.eq(beats.last),
            beats.count.eq(job.row_beats),
            beats.single.eq(job.row_beats == 1),
            beats.start.eq(begins),
            beats.step.eq(accept),
            rows.count.eq(job.rows),
            rows.single.eq(job.rows == 1),
            rows.start.eq(begins),
            rows.step.eq(accept & beats.last),
            gearbox.mode.eq(job.narrow),
        ]
        with m.If(self.started):
            m.d.sync += rows_left.eq(job.rows != 0)
        with m.Elif(rows.step & rows.last):
            m.d.sync += rows_left.eq(0)

        busy = Signal()  # words are left to be found
        found = Signal()  # the word being given has been
        step = Signal()
        m.submodules.x = x = PaddedCounter(target.act_depth, short=short)
        m.submodules.y = y = PaddedCounter(target.act_depth, short=short)
        address = Signal.like(self.address, reset_less=True)
        pixel, final, last = Signal(), Signal(), Signal()
        m.d.comb += [
            self.waiting.eq(self.i.valid & ~begun),
            self.started.eq(self.waiting & self.start),
            step.eq(busy & (~found | self.enable)),
            x.start.eq(begins),
            x.before.eq(job.pad_left),
            x.count.eq(job.cols),
            x.after.eq(job.pad_right),
            x.step.eq(step),
            y.start.eq(begins),
            y.before.eq(job.pad_top),
            y.count.eq(job.rows),
            y.after.eq(job.pad_bottom),
            y.step.eq(step & x.last),
            # Beats enter only while their instruction is at the front.
            wanted.eq(begun & rows_left),
            inlet.valid.eq(self.beats.valid & wanted),
            self.beats.ready.eq(inlet.ready & wanted),
        ]
        blank: Value = ~pixel
        if short:  # a register of its own for all lanes
            blank = Signal(init=1)
            with m.If(self.enable):
                m.d.sync += blank.eq(1)
            with m.If(step):
                m.d.sync += blank.eq(~(y.inside & x.inside))
        with m.If(self.enable):
            m.d.sync += [found.eq(0), pixel.eq(0)]
        with m.If(step):
            m.d.sync += [
                found.eq(1),
                pixel.eq(y.inside & x.inside),
                final.eq(x.final),
                last.eq(x.last & y.last),
                busy.eq(~(x.last & y.last)),
                self.address.eq(address),
            ]
        with m.If(self.started):
            m.d.sync += [begun.eq(1), busy.eq(1), address.eq(job.bank_address)]
        with m.Elif(self.done):
            m.d.sync += begun.eq(0)

        lanes = data.ArrayLayout(unsigned(8 * target.lane_bytes), target.rows)
        word = data.View(lanes, gearbox.o.p.data)
        m.d.comb += [
            gearbox.o.ready.eq(pixel),
            gearbox.stop.eq(final),
            self.enable.eq(found & (~pixel | gearbox.o.valid)),
            self.done.eq(self.enable & last),
            self.i.ready.eq(self.done),
        ]
        zero = Cat(Const(0, target.act_bits - 1), job.unsigned)  # as the map holds it
        for r in range(target.rows):
            lane = Signal(8 * target.lane_bytes, name=f"lane_{r}")
            periods = range(1, max(target.narrow_lanes, default=0) + 1)
            sources = {0: r} | {period: r % period for period in periods}
            m.d.comb += lane.eq(choose(job.period, sources, word.__getitem__))
            m.d.comb += self.lanes[r].eq(
                Mux(blank, zero, lane[: target.act_bits])
                if short
                else Mux(pixel, lane[: target.act_bits], zero)
            )
        ahead = self._phases(m, step)
        with m.If(step):
            m.d.sync += address.eq(address + ahead)
        return m

    def _phases(self, m: Module, step: Signal) -> Signal:
        """Count the phases of packed words; returns how far the next word's address is."""
        packs = self._target.packs
        ahead = Signal(range(max(packs, default=1) + 1))
        column = Signal(2)  # of the pixel in its block
        with m.Switch(self.i.p.pack):
            for pixels in packs:
                last = pixels // 2 - 1
                with m.Case(ceil_log2(pixels)):
                    m.d.comb += ahead.eq(Mux(column == last, pixels, 0))
                    with m.If(step):
                        m.d.sync += column.eq(Mux(column == last, 0, column + 1))
            with m.Default():
                m.d.comb += ahead.eq(1)
        with m.If(self.started):
            m.d.sync += column.eq(0)
        with m.If(step):
            m.d.sync += self.phase.eq(self.i.p.phase | column)
        return ahead
