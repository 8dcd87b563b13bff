"""The codes of a compressed weight stream, from a code block's bytes to what lanes compare with."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tilewright.compiler.target import Target
from tilewright.compress.huffman import LIMIT
from tilewright.compress.steps import MAX_ENTRIES
from tilewright.compress.stream import CODES_HEAD, LONGEST_RUN

__all__ = ["CODES_LAYOUT", "INDEX_BITS", "RUN_BITS", "CodeTables", "table_write"]

INDEX_BITS = MAX_ENTRIES.bit_length()
RUN_BITS = LONGEST_RUN.bit_length()

_KIND = data.StructLayout(
    {
        **{f"limit_{n}": unsigned(n + 1) for n in range(1, LIMIT + 1)},
        **{f"offset_{n}": unsigned(INDEX_BITS) for n in range(1, LIMIT + 1)},
    }
)
"""A canonical code: a word that begins with n bits below limit_n, and with none below a shorter
one's limit, is a codeword of n bits; its place in the table is its number plus offset_n."""

CODES_LAYOUT = data.StructLayout(
    {
        "values": _KIND,
        "runs": _KIND,
        "escape": unsigned(LIMIT),
        "escape_mask": unsigned(LIMIT),
        "escapes": 1,
    }
)
"""Both codes; `escapes`: there is an escape, a word that equals `escape` where `escape_mask` is."""


def table_write(target: Target) -> data.StructLayout:
    """An entry for the tables of all lanes: values and runs by their codewords' places."""
    return data.StructLayout(
        {
            "value_enable": 1,
            "run_enable": 1,
            "place": unsigned(INDEX_BITS),
            "value": unsigned(target.weight_bits),
            "run": unsigned(RUN_BITS),
        }
    )


class CodeTables(wiring.Component):
    """Reads a code block, one byte a cycle, and keeps the codes.

    Members
    -------
    clear : ``In(1)``
        A new block begins.
    byte, valid : ``In(8)``, ``In(1)``
        Its bytes, one by one; those behind `complete` are not looked at.
    complete : ``Out(1)``
        All has been read.
    codes : ``Out(CODES_LAYOUT)``
    write : ``Out(table_write(target))``
        What to write to the lanes' tables.
    """

    clear: Any
    byte: Any
    valid: Any
    complete: Any
    codes: Any
    write: Any

    def __init__(self, target: Target) -> None:
        self._entry = 1 if target.weight_bits <= 8 else 2
        super().__init__(
            {
                "clear": In(1),
                "byte": In(8),
                "valid": In(1),
                "complete": Out(1),
                "codes": Out(CODES_LAYOUT),
                "write": Out(table_write(target)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        head = CODES_HEAD.size
        first = head - 2 * LIMIT  # of the counts
        place = Signal(range(head + 1))  # in the head; then it stays
        count, runs, index = Signal(8), Signal(8), Signal(8)
        half = Signal(8)
        values_left = Signal()
        m.d.comb += values_left.eq(place == head)
        m.d.comb += [self.write.place.eq(index), self.write.run.eq(self.byte)]
        whole = Cat(half, self.byte) if self._entry == 2 else self.byte
        m.d.comb += self.write.value.eq(whole)
        second = Signal(init=int(self._entry == 1))  # the byte completes an entry
        in_runs = Signal()
        taken = self.valid & ~self.complete
        with m.If(self.clear):
            m.d.sync += [place.eq(0), index.eq(0), in_runs.eq(0), self.complete.eq(0)]
            m.d.sync += second.eq(second.init)
        with m.Elif(taken & ~values_left):
            m.d.sync += place.eq(place + 1)
            with m.Switch(place):
                with m.Case(4):
                    m.d.sync += count.eq(self.byte)
                with m.Case(5):
                    m.d.sync += runs.eq(self.byte)
                with m.Case(6):
                    length = self.byte[:4]
                    m.d.sync += [
                        self.codes.escape[:4].eq(self.byte[4:]),
                        self.codes.escapes.eq(length != 0),
                    ]
                    m.d.sync += self.codes.escape_mask.eq(
                        Cat(length > n for n in reversed(range(LIMIT)))
                    )
                with m.Case(7):
                    m.d.sync += self.codes.escape[4:].eq(self.byte)
        with m.Elif(taken):
            m.d.sync += half.eq(self.byte)
            with m.If(~in_runs):
                if self._entry == 2:
                    m.d.sync += second.eq(~second)
                with m.If(second):
                    m.d.comb += self.write.value_enable.eq(1)
                    m.d.sync += index.eq(index + 1)
                    with m.If(index + 1 == count):
                        m.d.sync += [index.eq(0), in_runs.eq(1)]
            with m.Else():
                m.d.comb += self.write.run_enable.eq(1)
                m.d.sync += [index.eq(index + 1), self.complete.eq(index + 1 == runs)]
        self._codes(m, taken, place, first)
        return m

    def _codes(self, m: Module, taken: Signal, place: Signal, first: int) -> None:
        """Limits and offsets from how many codewords there are of each length."""
        limit, before = Signal(LIMIT + 1), Signal(INDEX_BITS)  # below this length
        with m.Switch(place):
            for kind in range(2):
                codes = self.codes.runs if kind else self.codes.values
                for length in range(1, LIMIT + 1):
                    with m.Case(first + kind * LIMIT + length - 1):
                        shift = LIMIT - length
                        start = 0 if length == 1 else limit
                        base = 0 if length == 1 else before
                        above = Signal(LIMIT + 1, name=f"above_{kind}_{length}")
                        m.d.comb += above.eq(start + (self.byte << shift))
                        with m.If(taken):
                            m.d.sync += [
                                limit.eq(above),
                                before.eq(base + self.byte),
                                codes[f"limit_{length}"].eq(above >> shift),
                                codes[f"offset_{length}"].eq(base - (start >> shift)),
                            ]
