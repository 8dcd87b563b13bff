"""Width converter between a bus and words of another, run-time chosen, width."""

from __future__ import annotations

import math
from typing import Any

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Gearbox"]


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
        buffer = Signal(room * unit)  # bits at and above `fill` units are zero
        fill = Signal(range(room + 1))
        ending = Signal()  # the segment's last beat is in the buffer

        width = Signal(range(max(self._out) // unit + 1))
        behind = Signal.like(buffer)  # the buffer once a word has left
        with m.Switch(self.mode):
            for mode, out in enumerate(self._out):
                with m.Case(mode) if mode < len(self._out) - 1 else m.Default():
                    m.d.comb += [width.eq(out // unit), behind.eq(buffer >> out)]

        emit = self.o.valid & self.o.ready
        accept = self.i.valid & self.i.ready
        one_left = Signal()  # the buffer holds no whole word besides the one at the output
        final = Signal()  # the word at the output is the segment's last one
        m.d.comb += [
            one_left.eq(fill < 2 * width),
            final.eq(ending & ((fill <= width) if self._pad else (one_left | self.stop))),
            self.o.valid.eq((fill >= width) | (ending if self._pad else 0)),
            self.o.p.data.eq(buffer),
            self.o.p.last.eq(final if self._pad else 0),
            self.i.ready.eq(Mux(ending, emit & final, (fill < width) | (emit & one_left))),
        ]

        kept = Signal.like(buffer)
        base = Signal.like(fill)  # where a beat lands
        with m.If(emit & final):
            m.d.comb += [kept.eq(0), base.eq(0)]
        with m.Elif(emit):
            m.d.comb += [kept.eq(behind), base.eq(fill - width)]
        with m.Else():
            m.d.comb += [kept.eq(buffer), base.eq(fill)]

        landed = Signal.like(buffer)
        with m.Switch(base):
            for position in self._positions():
                with m.Case(position // unit):
                    m.d.comb += landed.eq(self.i.p.data << position)

        m.d.sync += [buffer.eq(kept), fill.eq(base), ending.eq(ending & ~(emit & final))]
        with m.If(accept):
            m.d.sync += [
                buffer.eq(kept | landed),
                fill.eq(base + beat),
                ending.eq(self.i.p.last),
            ]
            if not self._pad:
                # A last beat that completes no word leaves nothing to wait for.
                with m.If(self.i.p.last & (base + beat < width)):
                    m.d.sync += [buffer.eq(0), fill.eq(0), ending.eq(0)]
        return m

    def _positions(self) -> list[int]:
        """Bit positions at which a beat can land, over all modes."""
        return sorted(
            {
                position
                for width in self._out
                for position in range(0, width, math.gcd(self._in, width))
            }
        )
