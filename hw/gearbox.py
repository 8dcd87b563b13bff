"""Width converter between a bus and words of another, run-time chosen, width."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tilewright.hw.choice import choose

__all__ = ["Gearbox"]


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Bits [first, end) of the buffer, which are always written together."""

    first: int
    end: int
    below: int
    """How many of the places where a beat can begin are not above it."""
    modes: frozenset[int]
    """Those in which something moves down to it when a word leaves."""

    def joins(self, other: _Chunk) -> bool:
        """Whether both are written alike."""
        return (self.below, self.modes) == (other.below, other.modes)


@dataclass(frozen=True, slots=True)
class _Landing:
    """Where the next beat lands, in units.

    `enters` says that a beat does, `last` that it is its segment's last one; otherwise the beat
    behind it lands on `left`.
    """

    place: Value
    enters: Value
    last: Value
    left: Value


class Gearbox(wiring.Component):
    """Cut a little-endian bit stream into words whose width is one of several.

    Beats are concatenated, the first one in the lowest bits, and cut into words of
    ``out_widths[mode]`` bits. A beat with `last` ends a segment; what then remains and is no whole
    word is dropped (``flush="drop"``, for readers that know how many words they want) or emitted
    as a word of its own (``flush="pad"``, for writers). The next segment starts afresh.

    Throughput is that of the narrower side, without bubbles, also from one segment to the next:
    in a cycle a word may leave and a beat may enter. Output comes from registers; ``i.ready``
    depends combinationally on ``o.ready``.

    A beat enters only when no whole word remains behind it. So it lands behind what is left of the
    beat before, in one of few places, and a word that leaves moves less than a beat down. Each bit
    of the buffer chooses among those few sources only, which is what keeps it small.

    Parameters
    ----------
    in_width : bits of a beat
    out_widths : bits of a word, for each mode
    flush : "drop" or "pad"
    short : what follows from where the next beat lands is found when the one before enters, and stands
        in registers; `mode` must stand a cycle before a segment's first beat

    Members
    -------
    i : ``In(stream {data: in_width, last: 1})``
    o : ``Out(stream {data: max(out_widths), last: 1})``
        Bits of `data` above the chosen width are not meaningful. With "pad", `last` marks a
        segment's last word; with "drop" it is always 0, because the last whole word may leave
        before it is known that only remains follow.
    filled : ``Out``
        With "pad" and `last`: how much of the word beats have filled, in `unit` bits; 0 if all of
        it. The others are not meaningful.
    stop : with "drop", the word now at the output is the last one wanted of its segment: what
        else the segment's last beat holds is dropped, whole words too
    mode : index into `out_widths`; constant from a segment's first beat until its last beat has
        entered and its last word has left

    Attributes
    ----------
    unit : greatest common divisor of all widths

    Raises
    ------
    ValueError
        If a width is not a positive integer or `flush` is unknown.
    """

    i: Any
    o: Any
    stop: Any
    mode: Any
    filled: Any

    def __init__(
        self,
        in_width: int,
        out_widths: tuple[int, ...],
        *,
        flush: str = "drop",
        short: bool = False,
    ) -> None:
        if in_width < 1 or not out_widths or min(out_widths) < 1:
            raise ValueError(f"Widths must be positive, not {in_width!r} and {out_widths!r}")
        if flush not in ("drop", "pad"):
            raise ValueError(f"flush must be 'drop' or 'pad', not {flush!r}")
        self._in = in_width
        self._out = tuple(out_widths)
        self._pad = flush == "pad"
        self._short = short
        self.unit = math.gcd(in_width, *out_widths)
        super().__init__(
            {
                "i": In(stream.Signature(data.StructLayout({"data": in_width, "last": 1}))),
                "o": Out(stream.Signature(data.StructLayout({"data": max(out_widths), "last": 1}))),
                "filled": Out(range(max(out_widths) // self.unit)),
                "stop": In(1),
                "mode": In(range(len(out_widths))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        one, room = Signal(), Signal()  # a whole word is there; none is when this one has left
        landing = self._control(m, one, room)
        turned = self._turned(m, landing)
        chunks = self._chunks()
        parts = [
            Signal(chunk.end - chunk.first, name=f"buffer_{chunk.first}", reset_less=True)
            for chunk in chunks
        ]
        buffer = Cat(parts)
        falls = self._falls(m)
        for chunk, part in zip(chunks, parts, strict=True):
            # Where the next beat will land, whatever is taken until it comes does no harm.
            free = self._free(m, chunk, landing)
            lands = self._lands(chunk, turned)
            if not chunk.modes:
                with m.If((~one | self.o.ready) & free):
                    m.d.sync += part.eq(lands)
                continue
            with m.If(Mux(one, self.o.ready, free)):
                m.d.sync += part.eq(Mux(free & room, lands, self._falling(chunk, buffer, falls)))
        m.d.comb += self.o.p.data.eq(buffer)
        return m

    def _free(self, m: Module, chunk: _Chunk, landing: _Landing) -> Signal:
        """Whether the next beat lands on a chunk or below it."""
        free = Signal(name=f"free_{chunk.first}", init=self._short)
        places = [at // self.unit for at in self._places()[: chunk.below]]
        if self._short:
            behind = Cat(landing.left == at for at in places).any()
            with m.If(landing.enters):
                m.d.sync += free.eq(landing.last | behind)
        else:
            m.d.comb += free.eq(Cat(landing.place == at for at in places).any())
        return free

    def _lands(self, chunk: _Chunk, turned: list[Value]) -> Value:
        """What a chunk takes of a beat."""
        units = range(chunk.first // self.unit, chunk.end // self.unit)
        return Cat(turned[unit % len(turned)] for unit in units)

    def _falls(self, m: Module) -> dict[int, Signal]:
        """With short stages a register for each width by which words can leave; it follows the mode."""
        falls: dict[int, Signal] = {}
        for out in sorted(set(self._out)) if self._short else ():
            falls[out] = Signal(name=f"falls_{out}")
            modes = [mode for mode, width in enumerate(self._out) if width == out]
            m.d.sync += falls[out].eq(Cat(self.mode == mode for mode in modes).any())
        return falls

    def _falling(self, chunk: _Chunk, buffer: Value, falls: dict[int, Signal]) -> Value:
        """What moves down to a chunk when a word leaves."""
        width = chunk.end - chunk.first
        if falls:
            outs = sorted({self._out[mode] for mode in chunk.modes})
            ways = (Mux(falls[out], buffer[chunk.first + out :][:width], 0) for out in outs)
            return reduce(or_, ways)
        widths = {mode: self._out[mode] for mode in chunk.modes}
        return choose(self.mode, widths, lambda out: buffer[chunk.first + out :][:width])

    def _control(self, m: Module, one: Signal, room: Signal) -> _Landing:
        """Count whole words and what is left behind them; returns where the next beat lands."""
        unit = self.unit
        words = Signal(range(self._most_words() + 1))
        two = Signal()
        ending = Signal(init=1)  # the last beat that entered was a segment's last one
        place = Signal(range(max(self._places()) // unit + 1))
        whole, left = Signal.like(words), Signal.like(place)  # once a beat has landed there
        enters = self.i.valid & self.i.ready
        if self._short:
            found = [
                (Signal.like(words, name=f"whole_{name}"), Signal.like(place, name=f"left_{name}"))
                for name in ("fresh", "behind", "here")
            ]
            for at, counts in zip((Const(0, len(place)), left, place), found, strict=True):
                self._count(m, at, *counts)
            for count, ways in zip((whole, left), zip(*found, strict=True), strict=True):
                fresh, behind, here = ways
                m.d.sync += count.eq(Mux(enters, Mux(self.i.p.last, fresh, behind), here))
        else:
            self._count(m, place, whole, left)

        entering = Signal.like(words)
        m.d.comb += entering.eq(whole)
        if self._pad:
            with m.If(self.i.p.last & (left != 0)):
                m.d.comb += entering.eq(whole + 1)
        final = ending & self.stop  # the word at the output is the segment's last one
        m.d.comb += [
            self.o.valid.eq(one),
            self.o.p.last.eq(ending & ~two if self._pad else 0),
            room.eq(~two if self._pad else ~two | final),
            self.i.ready.eq((~one | self.o.ready) & room),
        ]
        with m.If(enters):
            m.d.sync += [
                words.eq(entering),
                one.eq(entering != 0),
                two.eq(entering >= 2),
                ending.eq(self.i.p.last),
                place.eq(Mux(self.i.p.last, 0, left)),
                self.filled.eq(left),
            ]
        with m.Elif(one & self.o.ready):
            m.d.sync += [words.eq(words - 1), one.eq(two), two.eq(words >= 3)]
            if not self._pad:
                with m.If(final):
                    m.d.sync += [one.eq(0), two.eq(0)]
        return _Landing(place, enters, self.i.p.last, left)

    def _count(self, m: Module, place: Value, whole: Signal, left: Signal) -> None:
        """Whole words, and what is left behind them, once a beat has landed on `place`."""
        with m.Switch(self.mode):
            for mode, out in enumerate(self._out):
                rests = self._rests(mode)
                with m.Case(mode) if mode < len(self._out) - 1 else m.Default(), m.Switch(place):
                    for rest in rests:
                        count, more = divmod(rest + self._in, out)
                        with m.Case(rest // self.unit) if rest < rests[-1] else m.Default():
                            m.d.comb += [whole.eq(count), left.eq(more // self.unit)]

    def _turned(self, m: Module, landing: _Landing) -> list[Value]:
        """The beat's units, turned to where they land modulo the beat."""
        beat = self._in // self.unit
        turns = {at // self.unit: at // self.unit % beat for at in self._places()}
        units = [self.i.p.data.word_select(n, self.unit) for n in range(beat)]
        for level in range(max(turns.values()).bit_length()):
            codes = {at: turn >> level & 1 for at, turn in turns.items()}
            step = choose(landing.place, codes, lambda bit: Const(bit, 1))
            if self._short:
                step = Signal(name=f"turns_{level}")
                behind = choose(landing.left, codes, lambda bit: Const(bit, 1))
                with m.If(landing.enters):
                    m.d.sync += step.eq(~landing.last & behind)
            units = [
                Mux(step, units[(n - (1 << level)) % beat], unit) for n, unit in enumerate(units)
            ]
        return units

    def _rests(self, mode: int) -> range:
        """How many bits of a beat can be left behind the last whole word."""
        return range(0, self._out[mode], math.gcd(self._in, self._out[mode]))

    def _places(self) -> list[int]:
        """Bits of the buffer on which a beat can begin."""
        return sorted({rest for mode in range(len(self._out)) for rest in self._rests(mode)})

    def _most_words(self) -> int:
        """Whole words that the buffer can hold."""
        most = ((max(self._rests(mode)) + self._in, out) for mode, out in enumerate(self._out))
        return max(-(-bits // out) if self._pad else bits // out for bits, out in most)

    def _chunks(self) -> list[_Chunk]:
        """The buffer, cut where its bits' sources change."""
        unit, beat = self.unit, self._in // self.unit
        chunks: list[_Chunk] = []
        for first in range(0, max(self._places()) + self._in, unit):
            below = sum(at <= first for at in self._places())
            modes = frozenset(
                mode
                for mode, out in enumerate(self._out)
                if first + out < max(self._rests(mode)) + self._in
            )
            chunk = _Chunk(first, first + unit, below, modes)
            if chunks and chunks[-1].joins(chunk) and first // unit % beat:
                chunks[-1] = replace(chunks[-1], end=chunk.end)
            else:
                chunks.append(chunk)
        return chunks
