"""Width converter between a bus and words of another, run-time chosen, width."""

from __future__ import annotations

import math
from typing import Any

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Gearbox"]


class _Fill:
    """How full the buffer is: in units, and in words; and where the next beat lands."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.units = Signal(range(most + 1))
        self.place = Signal(range(most + 1))  # behind what remains when a word has left
        self.at_most_one, self.one, self.two = Signal(init=1), Signal(), Signal()

    def set(self, units: int, width: int) -> list[Any]:
        """Assign what `units` mean for words of `width` units."""
        return [
            self.units.eq(units),
            self.place.eq(units - width if units >= width else units),
            self.at_most_one.eq(units <= width),
            self.one.eq(units >= width),
            self.two.eq(units >= 2 * width),
        ]

    def eq(self, other: _Fill) -> list[Any]:
        """Take over another fill."""
        return [
            self.units.eq(other.units),
            self.place.eq(other.place),
            self.at_most_one.eq(other.at_most_one),
            self.one.eq(other.one),
            self.two.eq(other.two),
        ]

    def clear(self) -> list[Any]:
        """Become empty."""
        empty = [self.units.eq(0), self.place.eq(0), self.at_most_one.eq(1)]
        return [*empty, self.one.eq(0), self.two.eq(0)]


class Gearbox(wiring.Component):
    """Cut a little-endian bit stream into words whose width is one of several.

    Beats are concatenated, the first one in the lowest bits, and cut into words of
    ``out_widths[mode]`` bits. A beat with `last` ends a segment; what then remains and is no whole
    word is dropped (``flush="drop"``, for readers that know how many words they want) or emitted
    with zeros above it (``flush="pad"``, for writers). The next segment starts afresh.

    Throughput is that of the narrower side, without bubbles, also from one segment to the next:
    in a cycle a word may leave and a beat may enter. A beat enters only when no whole word remains
    behind it, so it can land in few places only: multiples of gcd(in_width, out width) below the
    out width. Output comes from registers; ``i.ready`` depends combinationally on ``o.ready``.

    Parameters
    ----------
    in_width : bits of a beat
    out_widths : bits of a word, for each mode
    flush : "drop" or "pad"

    Members
    -------
    i : ``In(stream {data: in_width, last: 1})``
    o : ``Out(stream {data: max(out_widths), last: 1})``; bits of `data` above the chosen width are
        not meaningful. With "pad", `last` marks a segment's last word; with "drop" it is always 0,
        because the last whole word may leave before it is known that only remains follow.
    stop : with "drop", the word now at the output is the last one wanted of its segment: what
        else the segment's last beat holds is dropped, whole words too
    mode : index into `out_widths`; constant from a segment's first beat until its last beat has
        entered and its last word has left

    Raises
    ------
    ValueError
        If a width is not a positive integer or `flush` is unknown.
    """

    i: Any
    o: Any
    stop: Any
    mode: Any

    def __init__(self, in_width: int, out_widths: tuple[int, ...], *, flush: str = "drop") -> None:
        if in_width < 1 or not out_widths or min(out_widths) < 1:
            raise ValueError(f"Widths must be positive, not {in_width!r} and {out_widths!r}")
        if flush not in ("drop", "pad"):
            raise ValueError(f"flush must be 'drop' or 'pad', not {flush!r}")
        self._in = in_width
        self._out = tuple(out_widths)
        self._pad = flush == "pad"
        self._unit = math.gcd(in_width, *out_widths)
        super().__init__(
            {
                "i": In(stream.Signature(data.StructLayout({"data": in_width, "last": 1}))),
                "o": Out(stream.Signature(data.StructLayout({"data": max(out_widths), "last": 1}))),
                "stop": In(1),
                "mode": In(range(len(out_widths))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        unit = self._unit
        beat = self._in // unit
        room = beat + max(width - math.gcd(self._in, width) for width in self._out) // unit
        buffer = Signal(room * unit)  # bits at and above the fill are zero
        state = _Fill(room)
        ending = Signal()  # the segment's last beat is in the buffer
        behind = Signal.like(buffer)  # the buffer once a word has left
        left, landed = _Fill(room), _Fill(room)  # once a word has left, once a beat has come

        # What follows from the fill is found while the fill itself is: few inputs, no carry.
        with m.Switch(self.mode):
            for mode, out in enumerate(self._out):
                with m.Case(mode) if mode < len(self._out) - 1 else m.Default():
                    m.d.comb += behind.eq(buffer >> out)
                    self._follow(m, state.units, left, landed, ending, out // unit)

        emit, accept = self.o.valid & self.o.ready, self.i.valid & self.i.ready
        final = Signal()  # the word at the output is the segment's last one
        m.d.comb += [
            final.eq(ending & (state.at_most_one if self._pad else ~state.two | self.stop)),
            self.o.valid.eq(state.one | (ending if self._pad else 0)),
            self.o.p.data.eq(buffer),
            self.o.p.last.eq(final if self._pad else 0),
            self.i.ready.eq(Mux(ending, emit & final, ~state.one | (emit & ~state.two))),
        ]

        # A beat comes only when no whole word remains: where it lands is known before the cycle.
        position = Signal(range(room + 1))
        m.d.comb += position.eq(Mux(ending, 0, state.place))
        moved = Signal.like(buffer)
        with m.Switch(position):
            for place in self._positions():
                with m.Case(place // unit):
                    m.d.comb += moved.eq(self.i.p.data << place)

        kept = Mux(emit, Mux(final, 0, behind), buffer)
        m.d.sync += buffer.eq(kept | Mux(accept, moved, 0))
        with m.If(accept):
            m.d.sync += [*state.eq(landed), ending.eq(self.i.p.last)]
            if not self._pad:
                # A last beat that completes no word leaves nothing to wait for.
                with m.If(self.i.p.last & ~landed.one):
                    m.d.sync += [buffer.eq(0), *state.clear(), ending.eq(0)]
        with m.Elif(emit):
            m.d.sync += [*state.eq(left), ending.eq(ending & ~final)]
            with m.If(final):
                m.d.sync += state.clear()
        return m

    def _follow(
        self, m: Module, units: Signal, left: _Fill, landed: _Fill, ending: Signal, width: int
    ) -> None:
        """Fills that can follow the present one of `units`, for words of `width` units."""
        beat = self._in // self._unit
        with m.Switch(units):
            for now in range(left.most + 1):
                with m.Case(now):
                    after = max(now - width, 0)
                    m.d.comb += left.set(after, width)
                    into = after if now >= width else now
                    with m.If(ending):
                        m.d.comb += landed.set(beat, width)
                    with m.Else():
                        m.d.comb += landed.set(min(into + beat, left.most), width)

    def _positions(self) -> list[int]:
        """Bit positions at which a beat can land, over all modes."""
        return sorted(
            {
                position
                for width in self._out
                for position in range(0, width, math.gcd(self._in, width))
            }
        )
