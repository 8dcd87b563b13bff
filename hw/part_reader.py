"""The parts of compressed weights, round by round: heads, words for the lanes, checksums."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tilewright.compiler.registers import StreamFault
from tilewright.compiler.target import Target
from tilewright.compress.stream import CODES, MAGIC, OFFSET_ROWS, OFFSETS, WORD, round_bytes
from tilewright.hw.symbol_decoder import LANE_WORD

__all__ = ["CHUNK", "PartReader", "round_layout"]

_ROW_BITS = WORD - 1
_HEAD = 8
"""Bytes of a block's head that are looked at here."""
CHUNK = data.StructLayout({"rows": unsigned(_ROW_BITS), "last": 1})
"""Rows of a chunk, and whether it is its stream's last one."""


def round_layout(target: Target) -> data.StructLayout:
    """One word of each lane; `last`: no other comes behind it in its part's beats."""
    return data.StructLayout({"data": 8 * round_bytes(target.decoder_lanes), "last": 1})


class PartReader(wiring.Component):
    """Reads a block or a stream after another, see docs/compression.md.

    A round of words is taken in a cycle, as is one of offsets; a code block takes a cycle a byte.
    After a fault no round is taken.

    Members
    -------
    i : ``In(stream of round_layout(target))``
    block : ``In(1)``
        The part whose first round is at the input is a block.
    words, word_valid, room : ``Out``, ``Out(1)``, ``In(1)``
        A word for each lane, or the rows of a chunk; only if all have `room`.
    chunk : ``Out(stream of CHUNK)``
    byte, byte_valid, clear, coded : ``Out(8)``, ``Out(1)``, ``Out(1)``, ``In(1)``
        To the code tables: a byte of the block, a new block; they have all of it.
    offset_enable, offset_place : ``Out``
        The round at the input is one of offsets.
    checked : ``Out(1)``
        All beats of the stream have been read, and its checksum is right.
    finished : ``In(1)``
        The stream's last row has left.
    complete : ``Out(1)``
        All of a block has been read, and its checksum is right.
    fault : ``Out(StreamFault)``
    """

    i: Any
    block: Any
    words: Any
    word_valid: Any
    room: Any
    chunk: Any
    byte: Any
    byte_valid: Any
    clear: Any
    coded: Any
    offset_enable: Any
    offset_place: Any
    checked: Any
    finished: Any
    complete: Any
    fault: Any

    def __init__(self, target: Target) -> None:
        self._lanes = target.decoder_lanes
        super().__init__(
            {
                "i": In(stream.Signature(round_layout(target))),
                "block": In(1),
                "words": Out(data.ArrayLayout(LANE_WORD, self._lanes)),
                "word_valid": Out(1),
                "room": In(1),
                "chunk": Out(stream.Signature(CHUNK)),
                "byte": Out(8),
                "byte_valid": Out(1),
                "clear": Out(1),
                "coded": In(1),
                "offset_enable": Out(1),
                "offset_place": Out(range(OFFSET_ROWS // self._lanes)),
                "checked": Out(1),
                "finished": In(1),
                "complete": Out(1),
                "fault": Out(StreamFault),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.check = check = CRC32_ISO_HDLC(data_width=16 * self._lanes).create()
        taken, fault = Signal(), Signal(StreamFault)
        begin = Signal()
        m.d.comb += [
            taken.eq(self.i.valid & self.i.ready),
            check.start.eq(begin),
            check.data.eq(self.i.p.data),
            check.valid.eq(taken),
        ]
        words = [self.i.p.data.word_select(n, WORD) for n in range(self._lanes)]
        number, rows = words[:2]
        left = Signal(WORD)
        last_round, last_chunk = Signal(), Signal()
        reads_block = Signal()  # `block` may be the next part's when this one's last row has left
        ends, over = Signal(), Signal()  # the part's last round, and row, have been seen
        for lane, word in zip(self.words, words, strict=True):
            m.d.comb += lane.bits.eq(word)
        m.d.comb += [self.chunk.p.eq(rows), self.byte_valid.eq(0)]
        with m.FSM() as fsm:
            with m.State("BEGIN"):
                m.d.comb += [begin.eq(1), self.clear.eq(1)]
                m.d.sync += [over.eq(0), self.offset_place.eq(0), reads_block.eq(self.block)]
                with m.If(self.i.valid):
                    m.next = "CHUNK"
                    with m.If(self.block):
                        m.next = "BYTES"
            with m.State("BYTES"):
                self._bytes(m, left, fault)
            with m.State("OFFSETS"):
                m.d.comb += [self.i.ready.eq(left != 0), self.offset_enable.eq(taken)]
                with m.If(left == 0):
                    m.next = "SEAL"
                with m.Elif(taken):
                    m.d.sync += [left.eq(left - 1), self.offset_place.eq(self.offset_place + 1)]
            with m.State("CHUNK"):
                m.d.comb += [
                    self.i.ready.eq(self.room & self.chunk.ready),
                    self.word_valid.eq(taken),
                    self.chunk.valid.eq(taken),
                ]
                for lane in self.words:
                    m.d.comb += [lane.bits.eq(rows[:_ROW_BITS]), lane.last.eq(0)]
                m.d.sync += [left.eq(number), last_round.eq(number == 1), last_chunk.eq(rows[-1])]
                with m.If(taken):
                    m.next = "WORDS"
                    with m.If((number == 0) | (rows[:_ROW_BITS] == 0)):
                        m.d.comb += fault.eq(StreamFault.HEADER)
            with m.State("WORDS"):
                m.d.comb += [self.i.ready.eq(self.room), self.word_valid.eq(taken)]
                for lane in self.words:
                    m.d.comb += lane.last.eq(last_round)
                with m.If(taken):
                    m.d.sync += [left.eq(left - 1), last_round.eq(left == 2)]
                    with m.If(last_round):
                        m.next = "CHUNK"
                        with m.If(last_chunk):
                            m.next = "SEAL"
            with m.State("SEAL"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += ends.eq(self.i.p.last)
                with m.If(taken):
                    m.next = "CHECK"
            with m.State("CHECK"):
                m.next = "DRAIN"
                with m.If(~check.match_detected):
                    m.d.comb += fault.eq(StreamFault.CHECKSUM)
            with m.State("DRAIN"):
                m.d.comb += [
                    self.i.ready.eq(~ends),
                    self.checked.eq(~reads_block & ends & (self.fault == StreamFault.NONE)),
                ]
                with m.If(taken):
                    m.d.sync += ends.eq(self.i.p.last)
                with m.If(self.finished):
                    m.d.sync += over.eq(1)
                with m.If(ends & (over | reads_block)):
                    m.d.comb += self.complete.eq(reads_block & (self.fault == StreamFault.NONE))
                    m.next = "BEGIN"
            with m.State("STOP"):
                pass
        with m.If(taken & self.i.p.last & ~fsm.ongoing("SEAL") & ~fsm.ongoing("DRAIN")):
            m.d.comb += fault.eq(StreamFault.TRUNCATED)
        with m.If(self.fault == StreamFault.NONE):
            m.d.sync += self.fault.eq(fault)
        return m

    def _bytes(self, m: Module, left: Signal, fault: Signal) -> None:
        """The round at the input, byte by byte: a code block, or the head of one of offsets."""
        size = 2 * self._lanes
        at, seen = Signal(range(size)), Signal(range(_HEAD + 1))
        head = [Signal(8, name=f"head_{n}") for n in range(6)]
        wrong, coded = Signal(), Signal()
        end = at == size - 1
        m.d.comb += [
            wrong.eq(
                (head[0] != MAGIC)
                | ((head[1] != CODES) & (head[1] != OFFSETS))
                | (head[2] != exact_log2(self._lanes))
            ),
            coded.eq((head[1] == CODES) & self.coded),
            self.byte.eq(self.i.p.data.word_select(at, 8)),
        ]
        m.d.sync += left.eq(Cat(head[4], head[5]))
        with m.If((seen > 2) & wrong):
            m.d.comb += fault.eq(StreamFault.HEADER)
            m.next = "STOP"
        with m.Elif(coded):
            # What is left of the round fills it up.
            m.d.comb += self.i.ready.eq(at != 0)
            with m.If((at == 0) | self.i.valid):
                m.d.sync += [at.eq(0), seen.eq(0)]
                m.next = "SEAL"
        with m.Elif(self.i.valid):
            m.d.comb += [self.i.ready.eq(end)]
            m.d.comb += self.byte_valid.eq((seen < 2) | (head[1] == CODES))
            m.d.sync += at.eq(at + 1)
            with m.If(seen != _HEAD):
                m.d.sync += seen.eq(seen + 1)
            for n, part in enumerate(head):
                with m.If(seen == n):
                    m.d.sync += part.eq(self.byte)
            with m.If(end & (head[1] == OFFSETS) & (seen >= _HEAD - 1)):
                m.d.sync += seen.eq(0)
                m.next = "OFFSETS"
