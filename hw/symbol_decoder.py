"""One lane's canonical Huffman decoder: from words of bits to runs and values."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from tilewright.compiler.target import Target
from tilewright.compress.huffman import LIMIT
from tilewright.compress.steps import MAX_ENTRIES
from tilewright.compress.stream import LONGEST_RUN, WORD
from tilewright.hw.code_tables import CODES_LAYOUT, INDEX_BITS, RUN_BITS, table_write
from tilewright.hw.queue import Queue

__all__ = ["LANE_WORD", "SymbolDecoder", "item_layout"]

LANE_WORD = data.StructLayout({"bits": unsigned(WORD), "last": 1})
"""A word of a lane; `last` marks the last one of a chunk."""

_BUFFER = 2 * LIMIT + WORD
_ITEMS = 8
_LENGTHS = range(1, LIMIT + 1)


def item_layout(target: Target) -> data.StructLayout:
    """A run of zeros and, if `some`, a value behind it; `bad`: what stands here is no code."""
    return data.StructLayout(
        {"run": unsigned(RUN_BITS), "value": unsigned(target.weight_bits), "some": 1, "bad": 1}
    )


class SymbolDecoder(wiring.Component):
    """Decodes one symbol a cycle: codewords of runs and of values by turns.

    The next bits are compared with a limit for each length, and the buffer moves on by the length
    found, all in one cycle; the symbol is looked up in the two cycles behind it. The buffer never
    runs dry while a word is there. Behind the last word it goes on until its bits are used up, and
    then gives a bad item; what it decodes of a chunk's filling is for its user to throw away.

    Throughput: a symbol a cycle, so an item in two (run and value) or one (escape). Latency: 4
    cycles from a word to its first item.

    Members
    -------
    i : ``In(stream of LANE_WORD)``
    o : ``Out(stream of item_layout(target))``
    codes : ``In(CODES_LAYOUT)``
    write : ``In(table_write(target))``
        Entries of the tables.
    """

    i: Any
    o: Any
    codes: Any
    write: Any

    def __init__(self, target: Target) -> None:
        self._target = target
        super().__init__(
            {
                "i": In(stream.Signature(LANE_WORD)),
                "o": Out(stream.Signature(item_layout(target))),
                "codes": In(CODES_LAYOUT),
                "write": In(table_write(target)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        in_value = Signal()  # the next symbol is a value
        window = Signal(LIMIT)
        found = Signal(LIMIT)  # a bit for each length
        escape, none = Signal(), Signal()
        m.d.comb += escape.eq(
            ~in_value
            & self.codes.escapes
            & (((window ^ self.codes.escape) & self.codes.escape_mask) == 0)
        )
        below = [
            window[LIMIT - n :]
            < Mux(in_value, self.codes.values[f"limit_{n}"], self.codes.runs[f"limit_{n}"])
            for n in _LENGTHS
        ]
        m.d.comb += [
            found.eq(Cat(below) & ~Cat(0, *below[:-1])),
            none.eq(~below[-1]),
        ]
        go, short, room = Signal(), Signal(), Signal()
        bad = none | short
        self._buffer(m, window, found, go, short, room, bad)
        with m.If(go):
            m.d.sync += in_value.eq(~in_value & ~escape)
        self._look_up(m, window, found, go, room, in_value, escape, bad)
        return m

    def _buffer(
        self,
        m: Module,
        window: Signal,
        found: Signal,
        go: Signal,
        short: Signal,
        room: Signal,
        bad: Value,
    ) -> None:
        """Bits that wait, the next one highest; as many as `count` are real, those behind are 0."""
        buffer, count = Signal(_BUFFER), Signal(range(_BUFFER + 1))
        ended, stopped = Signal(), Signal()
        taking = self.i.valid & self.i.ready
        filled = Signal(_BUFFER)
        length = Signal(range(LIMIT + 1))
        word = Cat(Const(0, _BUFFER - WORD), self.i.p.bits)
        m.d.comb += [
            self.i.ready.eq((count <= _BUFFER - WORD) & ~ended),
            filled.eq(
                buffer | Mux(taking, Value.cast(word) >> count[: (_BUFFER - WORD).bit_length()], 0)
            ),
            window.eq(buffer[-LIMIT:]),
            length.eq(sum((Mux(found[n - 1], n, 0) for n in _LENGTHS), 0)),
            short.eq(length > count),
            go.eq(((count >= LIMIT) | ended) & room & ~stopped),
        ]
        moved = Signal(_BUFFER)
        m.d.comb += moved.eq(_or(Mux(found[n - 1], filled << n, 0)[:_BUFFER] for n in _LENGTHS))
        more = Mux(taking, WORD, 0)
        m.d.sync += [
            buffer.eq(Mux(go, moved, filled)),
            count.eq(count + more - Mux(go, length, 0)),
        ]
        with m.If(go & bad):
            m.d.sync += stopped.eq(1)
        with m.If(taking):
            m.d.sync += ended.eq(self.i.p.last)

    def _look_up(
        self,
        m: Module,
        window: Signal,
        found: Signal,
        go: Signal,
        room: Signal,
        in_value: Signal,
        escape: Signal,
        bad: Value,
    ) -> None:
        target = self._target
        m.submodules.values = values = Memory(
            shape=unsigned(target.weight_bits), depth=MAX_ENTRIES + 1, init=[]
        )
        m.submodules.runs = runs = Memory(shape=unsigned(RUN_BITS), depth=LONGEST_RUN + 1, init=[])
        for memory, enable, item in (
            (values, self.write.value_enable, self.write.value),
            (runs, self.write.run_enable, self.write.run),
        ):
            port = memory.write_port()
            m.d.comb += [port.en.eq(enable), port.addr.eq(self.write.place), port.data.eq(item)]

        # One cycle behind: where the symbol stands. Two behind: the symbol.
        bits, length = Signal(LIMIT), Signal(LIMIT)
        flags = data.StructLayout({"valid": 1, "value": 1, "escape": 1, "bad": 1})
        placing, reading = Signal(flags), Signal(flags)
        m.d.sync += [
            bits.eq(window),
            length.eq(found),
            placing.eq(Cat(go, in_value, escape, bad)),
            reading.eq(placing),
        ]
        places = []
        for codes in (self.codes.values, self.codes.runs):
            parts = (
                Mux(length[n - 1], (bits[LIMIT - n :] + codes[f"offset_{n}"])[:INDEX_BITS], 0)
                for n in _LENGTHS
            )
            places.append(_or(parts))
        value, run = values.read_port(), runs.read_port()
        m.d.comb += [value.addr.eq(places[0]), run.addr.eq(places[1])]

        m.submodules.items = items = Queue(width=item_layout(target).size, depth=_ITEMS)
        kept = Signal(RUN_BITS)
        with m.If(reading.valid & ~reading.value):
            m.d.sync += kept.eq(run.data)
        item = Signal(item_layout(target))
        m.d.comb += [
            item.run.eq(Mux(reading.escape, run.data, kept)),
            item.value.eq(value.data),
            item.some.eq(reading.value),
            item.bad.eq(reading.bad),
            items.w_data.eq(item),
            items.w_en.eq(reading.valid & (reading.value | reading.escape | reading.bad)),
            self.o.p.eq(items.r_data),
            self.o.valid.eq(items.r_rdy),
            items.r_en.eq(self.o.ready),
        ]
        promised = Signal(range(_ITEMS + 1))  # items decoded, or in the queue
        entering = go & (in_value | escape | bad)
        leaving = self.o.valid & self.o.ready
        m.d.comb += room.eq(promised != _ITEMS)
        m.d.sync += promised.eq(promised + entering - leaving)


def _or(values: Any) -> Value:
    result: Any = 0
    for value in values:
        result = result | value
    return Value.cast(result)
