"""The decoder of compressed weight streams: words dealt to lanes, their weights put into rows."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import ceil_log2

from tilewright.compiler.registers import StreamFault
from tilewright.compiler.target import Target
from tilewright.compress.stream import OFFSET_ROWS, WORD
from tilewright.hw.code_tables import CodeTables
from tilewright.hw.decoder_lane import DecoderLane
from tilewright.hw.gearbox import Gearbox
from tilewright.hw.part_reader import CHUNK, PartReader
from tilewright.hw.queue import Queue
from tilewright.hw.stream_buffer import StreamBuffer

__all__ = ["WeightDecoder", "decoded_row_layout"]

_STALL_BITS = 9
"""Bits of the cycles that no lane may take for a row whose words it has."""


def decoded_row_layout(target: Target) -> data.StructLayout:
    """A row of weights, the bank offset at its number, and whether it is its stream's last."""
    return data.StructLayout(
        {
            "offset": unsigned(WORD),
            "weights": data.ArrayLayout(unsigned(target.weight_bits), target.cols),
            "last": 1,
        }
    )


class WeightDecoder(wiring.Component):
    """Decodes the parts that docs/compression.md describes, one after the other.

    A part is a block (codes, or offsets: they stay until the next one) or a stream. Its beats are
    cut into rounds of one word for each lane. A stream's last row waits for the checksum. After a
    fault nothing moves until a reset.

    Throughput: a round, a symbol of each lane, and a row a cycle, whichever binds. A code block
    takes a cycle a byte, an offset block a cycle a round.

    Members
    -------
    i : ``In(stream {data, last})``
        Bus beats of a part; `last` marks its last one.
    block : ``In(1)``
        The part is a block; constant from its first beat to its end.
    complete : ``Out(1)``
        For a cycle, when all of a block has been taken. A stream ends with its last row.
    o : ``Out(stream of decoded_row_layout(target))``
    fault : ``Out(StreamFault)``
        Why the decoder has stopped.
    """

    i: Any
    block: Any
    complete: Any
    o: Any
    fault: Any

    def __init__(self, target: Target) -> None:
        self._target = target
        beat = data.StructLayout({"data": 8 * target.bus_bytes, "last": 1})
        super().__init__(
            {
                "i": In(stream.Signature(beat)),
                "block": In(1),
                "complete": Out(1),
                "o": Out(stream.Signature(decoded_row_layout(target))),
                "fault": Out(StreamFault),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        target = self._target
        round_bits = WORD * target.decoder_lanes
        m.submodules.gearbox = gearbox = Gearbox(8 * target.bus_bytes, (round_bits,), flush="pad")
        m.submodules.parts = parts = PartReader(target)
        m.submodules.tables = tables = CodeTables(target)
        m.submodules.chunks = chunks = Queue(width=CHUNK.size, depth=2)
        m.submodules.rows = rows = StreamBuffer(decoded_row_layout(target))
        m.submodules.offsets = offsets = Memory(
            shape=unsigned(round_bits), depth=OFFSET_ROWS // target.decoder_lanes, init=[]
        )
        connect(m, flipped(self.i), gearbox.i)
        connect(m, rows.o, flipped(self.o))
        port = offsets.write_port()
        sound = self.fault == StreamFault.NONE
        m.d.comb += [
            parts.i.p.eq(gearbox.o.p),
            parts.i.valid.eq(gearbox.o.valid & sound),
            gearbox.o.ready.eq(parts.i.ready & sound),
            parts.block.eq(self.block),
            parts.coded.eq(tables.complete),
            parts.finished.eq(self.o.valid & self.o.ready & self.o.p.last),
            self.complete.eq(parts.complete),
            tables.byte.eq(parts.byte),
            tables.valid.eq(parts.byte_valid),
            tables.clear.eq(parts.clear),
            port.addr.eq(parts.offset_place),
            port.data.eq(gearbox.o.p.data),
            port.en.eq(parts.offset_enable),
            chunks.w_en.eq(parts.chunk.valid),
            chunks.w_data.eq(parts.chunk.p),
            parts.chunk.ready.eq(chunks.w_rdy),
        ]
        lanes = []
        for n in range(target.decoder_lanes):
            m.submodules[f"lane_{n}"] = lane = DecoderLane(target)
            m.d.comb += [
                lane.i.p.eq(parts.words[n]),
                lane.i.valid.eq(parts.word_valid),
                lane.codes.eq(tables.codes),
                lane.write.eq(tables.write),
            ]
            lanes.append(lane)
        m.d.comb += parts.room.eq(Cat(lane.i.ready for lane in lanes).all())
        self._rows(m, parts, chunks, lanes, offsets, rows, sound)
        self._faults(m, parts, lanes, gearbox.o.valid & ~parts.room & ~self.o.valid)
        return m

    def _rows(
        self,
        m: Module,
        parts: PartReader,
        chunks: Queue,
        lanes: list[DecoderLane],
        offsets: Memory,
        rows: StreamBuffer,
        sound: Value,
    ) -> None:
        """Rows of what the lanes give: their groups turn by one from row to row of a chunk."""
        chunk = data.View(CHUNK, chunks.r_data)
        turn = Signal(ceil_log2(len(lanes)))
        row, place = Signal(range(1, 1 << len(chunk.rows)), init=1), Signal(range(OFFSET_ROWS))
        following = Signal.like(place)
        moves, ends = Signal(), Signal()
        m.d.comb += ends.eq(row == chunk.rows)
        last = ends & chunk.last
        there = Cat(lane.o.valid for lane in lanes).all() & chunks.r_rdy
        groups = [Value.cast(lane.o.p) for lane in lanes]
        for level, bit in enumerate(turn):
            groups = [
                Mux(bit, groups[(n + (1 << level)) % len(groups)], group)
                for n, group in enumerate(groups)
            ]
        read = offsets.read_port()
        m.d.comb += [
            rows.i.valid.eq(there & (~last | parts.checked) & sound),
            moves.eq(rows.i.valid & rows.i.ready),
            rows.i.p.weights.eq(Cat(groups)),
            rows.i.p.last.eq(last),
            rows.i.p.offset.eq(read.data.word_select(place[: len(turn)], WORD)),
            read.addr.eq(following >> len(turn)),
            following.eq(Mux(moves, Mux(last, 0, place + 1), place)),
            chunks.r_en.eq(moves & ends),
            *(lane.o.ready.eq(moves) for lane in lanes),
        ]
        m.d.sync += place.eq(following)
        with m.If(moves):
            m.d.sync += [turn.eq(turn + 1), row.eq(row + 1)]
            with m.If(ends):
                m.d.sync += [turn.eq(0), row.eq(1)]

    def _faults(
        self, m: Module, parts: PartReader, lanes: list[DecoderLane], blocked: Value
    ) -> None:
        """The first fault stays. Lanes that wait for each other's words are one of the stream."""
        stalled = Signal(_STALL_BITS)
        m.d.sync += stalled.eq(Mux(blocked, stalled + 1, 0))
        with m.If(self.fault == StreamFault.NONE):
            m.d.sync += self.fault.eq(parts.fault)
            for code, found in (
                (StreamFault.NO_ROOM, stalled.all()),
                (StreamFault.BEYOND, Cat(lane.beyond for lane in lanes).any()),
                (StreamFault.NO_CODE, Cat(lane.no_code for lane in lanes).any()),
            ):
                with m.If(found):
                    m.d.sync += self.fault.eq(code)
