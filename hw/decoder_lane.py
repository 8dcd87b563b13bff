"""One lane of the weight decoder: its words, its symbols, and its columns of each row."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, ResetInserter, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from tilewright.compiler.microarchitecture import DECODER_ROWS
from tilewright.compiler.target import Target
from tilewright.compress.stream import LANE_WORDS, LONGEST_RUN, WORD
from tilewright.hw.code_tables import CODES_LAYOUT, table_write
from tilewright.hw.queue import Queue
from tilewright.hw.symbol_decoder import LANE_WORD, SymbolDecoder

__all__ = ["DecoderLane", "group_layout"]

_ROW_BITS = WORD - 1


def group_layout(target: Target) -> data.ArrayLayout:
    """The weights of a row that one lane decodes."""
    return data.ArrayLayout(unsigned(target.weight_bits), target.cols // target.decoder_lanes)


class DecoderLane(wiring.Component):
    """Gives its C/L weights of row after row.

    Words wait in a FIFO of LANE_WORDS. The first one of a chunk says how many rows it has, the
    others are bits; when all rows are given, the chunk's other words are thrown away.

    An item (run and value) is placed in a cycle; a cycle gives at most one row. A run that ends in
    a later row gives the present one in the same cycle. So a stream takes as many cycles as it has
    rows, items that stay in their row, and rows that a run skips, or as symbols, if those are more.

    Members
    -------
    i : ``In(stream of LANE_WORD)``
    o : ``Out(stream of group_layout(target))``
    codes, write : ``In``
        As in SymbolDecoder.
    no_code, beyond : ``Out(1)``
        What has to be decoded is no code, or the words have ended; a value lies behind the last
        row of its chunk. The lane then stands still for good.
    """

    i: Any
    o: Any
    codes: Any
    write: Any
    no_code: Any
    beyond: Any

    def __init__(self, target: Target) -> None:
        self._target = target
        super().__init__(
            {
                "i": In(stream.Signature(LANE_WORD)),
                "o": Out(stream.Signature(group_layout(target))),
                "codes": In(CODES_LAYOUT),
                "write": In(table_write(target)),
                "no_code": Out(1),
                "beyond": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.words = words = SyncFIFOBuffered(width=LANE_WORD.size, depth=LANE_WORDS)
        m.d.comb += [
            words.w_data.eq(self.i.p),
            words.w_en.eq(self.i.valid),
            self.i.ready.eq(words.w_rdy),
        ]
        word = data.View(LANE_WORD, words.r_data)
        flush, done = Signal(), Signal()
        symbols = SymbolDecoder(self._target)
        m.submodules.symbols = ResetInserter(flush)(symbols)
        m.d.comb += [
            symbols.codes.eq(self.codes),
            symbols.write.eq(self.write),
            symbols.i.p.eq(word),
        ]
        rows = Signal(_ROW_BITS)
        last_row = Signal()
        ended = Signal()  # the chunk's last word has been read
        running = Signal()
        with m.FSM():
            with m.State("HEAD"):
                m.d.comb += words.r_en.eq(1)
                m.d.sync += [
                    rows.eq(word.bits),
                    last_row.eq(word.bits[:_ROW_BITS] == 1),
                    ended.eq(0),
                ]
                with m.If(words.r_rdy):
                    m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += [
                    running.eq(1),
                    symbols.i.valid.eq(words.r_rdy & ~ended),
                    words.r_en.eq(symbols.i.ready & ~ended),
                ]
                with m.If(words.r_rdy & words.r_en & word.last):
                    m.d.sync += ended.eq(1)
                with m.If(done):
                    m.next = "FLUSH"
            with m.State("FLUSH"):
                m.d.comb += [flush.eq(1), words.r_en.eq(~ended)]
                with m.If(ended | (words.r_rdy & word.last)):
                    m.next = "HEAD"
        self._place(m, symbols, rows, last_row, running, done)
        return m

    def _place(
        self,
        m: Module,
        symbols: SymbolDecoder,
        rows: Signal,
        last_row: Signal,
        running: Signal,
        done: Signal,
    ) -> None:
        """Put items into the row's group, and give it when it is complete."""
        size = self._target.cols // self._target.decoder_lanes
        item = symbols.o.p
        group, whole = Signal(group_layout(self._target)), Signal(group_layout(self._target))
        at, rest = Signal(range(size + 1)), Signal(range(size + LONGEST_RUN))
        partly = Signal()  # the item's run has passed a row's end
        place, behind = Signal(range(size + LONGEST_RUN)), Signal(range(size + LONGEST_RUN))
        crosses, fits, fills = Signal(), Signal(), Signal()
        m.d.comb += [
            place.eq(Mux(partly, rest, at + item.run)),
            behind.eq(place - size),
            crosses.eq(place >= size),
            fits.eq(behind < size),
            fills.eq(item.some & (place == size - 1)),
            whole.eq(group),
        ]
        with m.If(~crosses & item.some):
            m.d.comb += whole[place].eq(item.value)
        gives, moves = Signal(), Signal()
        sound = symbols.o.valid & running & ~item.bad & ~self.beyond
        m.submodules.groups = groups = Queue(
            width=group_layout(self._target).size, depth=DECODER_ROWS
        )
        m.d.comb += [
            gives.eq(sound & (crosses | fills)),
            groups.w_en.eq(gives),
            groups.w_data.eq(whole),
            moves.eq(sound & (~(crosses | fills) | groups.w_rdy)),
            done.eq(gives & groups.w_rdy & last_row & ~(crosses & item.some)),
            self.o.p.eq(groups.r_data),
            self.o.valid.eq(groups.r_rdy),
            groups.r_en.eq(self.o.ready),
        ]
        with m.If(symbols.o.valid & running & item.bad):
            m.d.sync += self.no_code.eq(1)
        with m.If(gives & last_row & crosses & item.some):
            m.d.sync += self.beyond.eq(1)
        with m.If(gives & groups.w_rdy):
            m.d.sync += [rows.eq(rows - 1), last_row.eq(rows == 2)]
        with m.If(done):
            m.d.sync += [group.eq(0), at.eq(0), partly.eq(0)]
        with m.Elif(moves & crosses):
            m.d.sync += [group.eq(0), rest.eq(behind), partly.eq(1), at.eq(0)]
            with m.If(fits & ~item.some):
                m.d.comb += symbols.o.ready.eq(1)
                m.d.sync += [at.eq(behind), partly.eq(0)]
            with m.If(fits & item.some & (behind != size - 1)):
                m.d.comb += symbols.o.ready.eq(1)
                m.d.sync += [at.eq(behind + 1), partly.eq(0)]
                m.d.sync += group[behind].eq(item.value)
        with m.Elif(moves):
            m.d.comb += symbols.o.ready.eq(1)
            m.d.sync += [group.eq(whole), at.eq(place + item.some), partly.eq(0)]
            with m.If(fills):
                m.d.sync += [group.eq(0), at.eq(0)]
