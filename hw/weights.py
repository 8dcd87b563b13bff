"""The WEIGHTS unit: from the weight stream in memory to one row of a weight tile a cycle."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from tilewright.compiler.isa import FIELDS, Opcode
from tilewright.compiler.registers import StreamFault
from tilewright.compiler.target import Target
from tilewright.hw.burst import TRANSFER
from tilewright.hw.choice import choose
from tilewright.hw.decoder import WeightDecoder
from tilewright.hw.gearbox import Gearbox
from tilewright.hw.halves_queue import HalvesQueue, queue_input
from tilewright.hw.instructions import instruction_layout
from tilewright.hw.stream_buffer import StreamBuffer

__all__ = ["WeightsUnit", "weight_row_layout"]

_INSTRUCTION = instruction_layout(Opcode.WEIGHTS)
_REQUEST = ("address", "beats")
_UNPACK = tuple(
    field.name for field in FIELDS[Opcode.WEIGHTS] if field.name not in ("opcode", "address")
)
"""Fields that the unit's halves need."""
_OFFSET_BITS = 16


def weight_row_layout(target: Target) -> data.StructLayout:
    """One row of a weight tile, and the bank offset that belongs to it."""
    return data.StructLayout(
        {
            "offset": unsigned(ceil_log2(target.act_depth)),
            "weights": data.ArrayLayout(signed(target.code_bits), target.cols),
        }
    )


def _spread_layout(target: Target) -> data.StructLayout:
    """A row before it is spread, if it is packed, and how: not, or turned by whose turn it is."""
    turns = {f"turn_{pixels}": target.cols // pixels for pixels in target.packs}
    return data.StructLayout({"row": weight_row_layout(target), "plain": 1, **turns})


class WeightsUnit(wiring.Component):
    """Reads weight streams and unpacks them.

    The stream of the next instruction is read while the present one is unpacked. One row a cycle
    as long as the bus delivers: C weights of the container's width, and 16 bits for the offset if
    the instruction gathers. In the same bits, a row of a packed instruction has but P weights of
    the widest container, for the P columns that stand as far into their group of C/P as the row
    does; those of the other columns are 0.

    With `decoder_lanes`, a decoder reads compressed streams, and the blocks that go before them. A
    stream without the rows that its tiles need is a fault, too.

    Members
    -------
    i : ``In(stream of queue_input(target, WEIGHTS))``
    transfer, beats : to and from the unit's reader
    o : ``Out(stream of weight_row_layout(target))``
    busy : ``Out(1)``
        For ACTIVITY: an instruction is there.
    fault, number : ``Out(StreamFault)``, ``Out(32)``
        What is wrong with a compressed stream, for good, and which instruction's it is, from 0.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        super().__init__(
            {
                "i": In(stream.Signature(queue_input(target, Opcode.WEIGHTS))),
                "transfer": Out(stream.Signature(TRANSFER)),
                "beats": In(stream.Signature(8 * target.bus_bytes)),
                "o": Out(stream.Signature(weight_row_layout(target))),
                "busy": Out(1),
                "fault": Out(StreamFault),
                "number": Out(32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        target = self._target
        containers = target.weight_containers
        widths = tuple(
            bits * target.cols + offset for offset in (0, _OFFSET_BITS) for bits in containers
        )
        short = target.short_stages
        m.submodules.gearbox = gearbox = Gearbox(8 * target.bus_bytes, widths, short=short)
        # Buffers on both sides of it, so that beats and rows are counted apart, and what waits for the
        # array does not hold up a beat within a cycle.
        inlet, out = gearbox.i, self.o
        if short:
            m.submodules.inlet = buffer = StreamBuffer(gearbox.i.p.shape(), short=True)
            wiring.connect(m, buffer.o, gearbox.i)
            m.submodules.rows = rows = StreamBuffer(_spread_layout(target), short=True)
            m.d.comb += [self.o.valid.eq(rows.o.valid), rows.o.ready.eq(self.o.ready)]
            inlet, out = buffer.i, rows.i

        m.submodules.queue = queue = HalvesQueue(
            target, Opcode.WEIGHTS, first=_REQUEST, second=_UNPACK
        )
        wiring.connect(m, wiring.flipped(self.i), queue.i)
        request = queue.first
        m.d.comb += [
            self.transfer.valid.eq(request.valid & queue.room),
            self.transfer.p.address.eq(request.p.address),
            self.transfer.p.beats.eq(request.p.beats),
            request.ready.eq(queue.room & self.transfer.ready),
            queue.passed.eq(request.valid & request.ready),
            self.busy.eq(request.valid | queue.second.valid),
        ]

        job = queue.second.p
        beat_bits, tile_bits = (queue.bits(name) for name in ("beats", "tiles"))
        # Both ends are found ahead; counted are beats and tiles, and the next one, from 1.
        next_beat, final_beat, first_beat = Signal(beat_bits, init=2), Signal(), Signal(init=1)
        next_tile, final_tile, first_tile = Signal(tile_bits, init=2), Signal(), Signal(init=1)
        only_tile = Signal()  # known before the first row is there
        row = Signal(target.rows, init=1)  # a bit for each, so that it need not be compared
        last_row = row[-1]
        last_tile: Value = Mux(first_tile, only_tile, final_tile)
        if target.short_stages and target.rows > 1:  # known again before the next tile's last row
            ends = Signal()
            m.d.sync += ends.eq(last_tile)
            last_tile = ends
        last = last_row & last_tile
        beats_done = Signal()
        # An instruction's fields stand a cycle before it is valid.
        names = ("container", "gather", "pack")
        kind = Signal(data.StructLayout({name: job[name].shape() for name in names}))
        m.d.sync += [kind[name].eq(job[name]) for name in names]
        if short:  # a packed row has weights of the widest container, whatever its bits
            m.d.sync += kind.container.eq(Mux(job.pack == 0, job.container, len(containers) - 1))
        with m.Switch(Cat(job.container, job.gather)):
            for mode in range(2 * len(containers)):
                gather, container = divmod(mode, len(containers))
                with m.Case(gather << len(job.container) | container):
                    m.d.sync += gearbox.mode.eq(mode)
        final_of_part = Mux(first_beat, job.beats == 1, final_beat)
        decoded = Signal()  # the decoder reads this instruction's beats
        wanted = Signal()
        m.d.comb += [
            decoded.eq(job.coded | job.block),
            wanted.eq(queue.second.valid & ~beats_done),
            inlet.p.data.eq(self.beats.p),
            inlet.p.last.eq(final_of_part),
            inlet.valid.eq(self.beats.valid & wanted & ~decoded),
            self.beats.ready.eq(inlet.ready & wanted),
            gearbox.o.ready.eq(out.ready),
            gearbox.stop.eq(last),
            out.valid.eq(gearbox.o.valid),
            queue.second.ready.eq(out.valid & out.ready & last),
        ]
        with m.If(self.beats.valid & self.beats.ready):
            m.d.sync += [
                first_beat.eq(0),
                next_beat.eq(next_beat + 1),
                final_beat.eq(next_beat == job.beats),
                beats_done.eq(final_of_part),
            ]
        m.d.sync += only_tile.eq(job.tiles == 1)
        over = [beats_done.eq(0), first_beat.eq(1), first_tile.eq(1)]
        over += [next_beat.eq(2), next_tile.eq(2)]
        tile_over = [
            first_tile.eq(0),
            next_tile.eq(next_tile + 1),
            final_tile.eq(next_tile == job.tiles),
        ]
        late = short and target.rows > 2  # counted a cycle later, before the next tile's last row
        with m.If(out.valid & out.ready):
            m.d.sync += row.eq(row.rotate_left(1))
            if not late:
                with m.If(last_row):
                    m.d.sync += tile_over
                with m.If(last):
                    m.d.sync += over
        if late:
            ended = Signal(2)
            m.d.sync += ended.eq((out.valid & out.ready).replicate(2) & Cat(last_row, last))
            with m.If(ended[0]):
                m.d.sync += tile_over
            with m.If(ended[1]):
                m.d.sync += over
        self._unpack(m, kind, gearbox.o.p.data, out)
        if short:
            self._spread(m, rows.o.p)
        if target.decoder_lanes:
            complete = self._decode(m, queue, decoded & wanted, final_of_part, last, out)
            with m.If(complete):
                m.d.sync += [beats_done.eq(0), first_beat.eq(1), next_beat.eq(2)]
        return m

    def _decode(
        self, m: Module, queue: HalvesQueue, wanted: Value, final_beat: Value, last: Value, out: Any
    ) -> Signal:
        """The way through the decoder; returns whether a block is complete."""
        job = queue.second.p
        m.submodules.decoder = decoder = WeightDecoder(self._target)
        ragged = Signal()
        row = decoder.o.p
        m.d.comb += [
            decoder.i.p.data.eq(self.beats.p),
            decoder.i.p.last.eq(final_beat),
            decoder.i.valid.eq(self.beats.valid & wanted),
            decoder.block.eq(job.block),
            ragged.eq(decoder.o.valid & (row.last != last)),
        ]
        with m.If(job.coded | job.block):
            m.d.comb += [
                self.beats.ready.eq(decoder.i.ready & wanted),
                out.valid.eq(decoder.o.valid & ~ragged),
                decoder.o.ready.eq(out.ready & ~ragged),
                self._row(out).offset.eq(row.offset),
            ]
            for weight, decoded in zip(self._row(out).weights, row.weights, strict=True):
                m.d.comb += weight.eq(decoded.as_signed())
        with m.If(decoder.complete):
            m.d.comb += queue.second.ready.eq(1)
        with m.If(self.fault == StreamFault.NONE):
            m.d.sync += self.fault.eq(Mux(ragged, StreamFault.ROWS, decoder.fault))
            m.d.sync += self.number.eq(self.number + (queue.second.valid & queue.second.ready))
        return decoder.complete

    def _row(self, out: Any) -> Any:
        """What a stream of rows gives, whether they are spread later or have been."""
        return out.p.row if self._target.short_stages else out.p

    def _unpack(self, m: Module, kind: Any, word: Signal, out: Any) -> None:
        """Slice a row into its offset and sign-extended weights, spread those of a packed row.

        With short stages they are spread by `_spread`, behind a buffer.
        """
        target = self._target
        columns, widest = target.cols, max(target.weight_containers)
        m.d.comb += self._row(out).offset.eq(word[:_OFFSET_BITS])
        row = Signal(columns * widest)
        m.d.comb += row.eq(Mux(kind.gather, word[_OFFSET_BITS:], word))
        turns = {pixels: self._turn(m, pixels, out) for pixels in target.packs}
        codes = dict(enumerate(target.weight_containers))
        for c, weight in enumerate(self._row(out).weights):
            kept = {bits: row.word_select(c, bits).as_signed() for bits in codes.values()}
            m.d.comb += weight.eq(choose(kind.container, codes, kept.__getitem__))
            for pixels, turn in turns.items() if not target.short_stages else ():
                with m.If(kind.pack == ceil_log2(pixels)):
                    packed = row.word_select(c // len(turn), widest)
                    m.d.comb += weight.eq(Mux(turn[c % len(turn)], packed, 0))
        if target.short_stages:
            m.d.comb += out.p.plain.eq(kind.pack == 0)
            for pixels, turn in turns.items():
                its = kind.pack == ceil_log2(pixels)
                m.d.comb += out.p[f"turn_{pixels}"].eq(Mux(its, turn, 0))

    def _spread(self, m: Module, spread: Any) -> None:
        """The weights of a row, each for all columns that it may be meant for."""
        target = self._target
        m.d.comb += self.o.p.offset.eq(spread.row.offset)
        for c, weight in enumerate(self.o.p.weights):
            kept: Value = Mux(spread.plain, spread.row.weights[c], 0)
            for pixels in target.packs:
                turn = spread[f"turn_{pixels}"]
                kept |= Mux(turn[c % len(turn)], spread.row.weights[c // len(turn)], 0)
            m.d.comb += weight.eq(kept)

    def _turn(self, m: Module, pixels: int, out: Any) -> Signal:
        """The row's place in its group of columns, a bit for each."""
        turn = Signal(self._target.cols // pixels, init=1, name=f"turn_{pixels}")
        with m.If(out.valid & out.ready):
            m.d.sync += turn.eq(turn.rotate_left(1))
        return turn
