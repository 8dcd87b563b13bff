"""Taking an AXI4 burst apart into the words of a memory."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Member, Out
from amaranth.utils import ceil_log2, exact_log2

from tilewright.errors import TilewrightError

__all__ = ["DECERR", "OKAY", "PAGE", "BurstBeats", "SingleBeats", "check_size"]

OKAY, DECERR = 0, 3
"""AXI4 responses."""

PAGE = 4096
"""Bytes that no AXI4 burst crosses, so that it lies wholly inside or outside of a memory."""


def check_size(name: str, size: int, data_bytes: int) -> None:
    """Refuse a memory that bursts could leave half-way, or a beat that is no power of two.

    Raises
    ------
    TilewrightError
        With the parameter, what was found and what is allowed.
    """
    if size < PAGE or size % PAGE:
        raise TilewrightError(f"{name}: size must be a multiple of {PAGE} bytes, not {size!r}")
    if data_bytes not in (1, 2, 4, 8, 16):
        raise TilewrightError(f"{name}: data_bytes must be 1, 2, 4, 8 or 16, not {data_bytes!r}")


def _members(size: int, data_bytes: int) -> dict[str, Member]:
    burst = data.StructLayout({"address": 32, "length": 8})
    beat = data.StructLayout({"word": ceil_log2(size // data_bytes), "last": 1, "outside": 1})
    return {"i": In(stream.Signature(burst)), "o": Out(stream.Signature(beat))}


class BurstBeats(wiring.Component):
    """The words that INCR bursts of the full bus width touch, one a cycle without a gap.

    `i.ready` depends on `o.ready` in the same cycle: the next burst enters with the last beat of the
    one before it.

    Parameters
    ----------
    size : bytes of the memory, from address 0
    data_bytes : of a beat

    Members
    -------
    i : ``In(stream of {address: 32, length: 8})``
        A burst of length + 1 beats.
    o : ``Out(stream of {word, last: 1, outside: 1})``
        Number of a word, whether it is the burst's last one, and whether it lies beyond the memory.
    """

    def __init__(self, size: int, data_bytes: int) -> None:
        check_size("Memory", size, data_bytes)
        self._size, self._data_bytes = size, data_bytes
        super().__init__(_members(size, data_bytes))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        left = Signal(8)
        m.d.comb += [
            self.o.p.last.eq(left == 0),
            self.i.ready.eq(~self.o.valid | (self.o.ready & self.o.p.last)),
        ]
        with m.If(self.o.ready):
            m.d.sync += [self.o.p.word.eq(self.o.p.word + 1), left.eq(left - 1)]
        with m.If(self.i.ready):
            m.d.sync += [
                self.o.valid.eq(self.i.valid),
                self.o.p.word.eq(self.i.p.address >> exact_log2(self._data_bytes)),
                self.o.p.outside.eq(self.i.p.address[12:] >= self._size // PAGE),
                left.eq(self.i.p.length),
            ]
        return m


class SingleBeats(wiring.Component):
    """The same where bursts have one beat: nothing but wires.

    Parameters
    ----------
    size, data_bytes
        As of BurstBeats.

    Members
    -------
    i, o
        As of BurstBeats; `length` is not looked at.
    """

    def __init__(self, size: int, data_bytes: int) -> None:
        check_size("Memory", size, data_bytes)
        self._size, self._data_bytes = size, data_bytes
        super().__init__(_members(size, data_bytes))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += [
            self.o.valid.eq(self.i.valid),
            self.i.ready.eq(self.o.ready),
            self.o.p.word.eq(self.i.p.address >> exact_log2(self._data_bytes)),
            self.o.p.last.eq(1),
            self.o.p.outside.eq(self.i.p.address[12:] >= self._size // PAGE),
        ]
        return m
