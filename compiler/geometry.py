"""One-dimensional geometry of a layer: pooling windows, and which input pixels outputs need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tilewright.graph.ir import Pool

__all__ = ["PLAIN", "Axis", "Packing", "Piece", "Windows", "ranges"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """How accumulators read a source along one axis: accumulator i reads i * stride - pad + tap.

    `taps` stand `dilation` apart; `size` is the source's extent. Inside the map, what is loaded
    starts at multiples of `align`.
    """

    size: int
    taps: int = 1
    stride: int = 1
    dilation: int = 1
    pad: int = 0
    align: int = 1

    def needs(self, first: int, last: int) -> tuple[int, int]:
        """Input range [start, stop) that accumulators [first, last) read; may leave the map."""
        start = first * self.stride - self.pad
        return start, start + (last - first - 1) * self.stride + self.dilation * (self.taps - 1) + 1


@dataclass(frozen=True, slots=True)
class Packing:
    """Words that hold blocks of `rows` x `cols` pixels."""

    rows: int
    cols: int

    @property
    def pixels(self) -> int:
        """Pixels of a word, P."""
        return self.rows * self.cols

    @property
    def code(self) -> int:
        """The instructions' `pack` field."""
        return self.pixels.bit_length() - 1

    def size(self, axis: int) -> int:
        """Pixels of a block along axis 0 (rows) or 1 (columns)."""
        return (self.rows, self.cols)[axis]

    def whole(self, first: int, last: int, axis: int) -> tuple[int, int]:
        """[first, last) of one axis, extended to whole blocks."""
        size = self.size(axis)
        return first, first + -(-(last - first) // size) * size

    def needs(self, axis: Axis, first: int, last: int, number: int, align: int) -> tuple[int, int]:
        """Input range for accumulators [first, last) of axis `number`, in whole blocks.

        The range starts at a multiple of `align`, which divides `first`, always equally far before
        the first pixel needed, since weight tiles depend on that distance.
        """
        start, stop = axis.needs(*self.whole(first, last, number))
        return self.whole(start - self.lead(axis, align), stop, number)

    def lead(self, axis: Axis, align: int) -> int:
        """Pixels of a range before the first one needed."""
        return -axis.pad % align


PLAIN = Packing(1, 1)
"""Words of one pixel."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive outputs [first, last) whose windows are equally long and equally spaced.

    Output i reads accumulators [start + (i - first) * step, ... + length).
    """

    first: int
    last: int
    start: int
    length: int
    step: int
    counted: int


@dataclass(frozen=True, slots=True)
class Windows:
    """The pooling windows of one axis: for each output the accumulators [start, stop) it reads."""

    starts: tuple[int, ...]
    stops: tuple[int, ...]
    counted: tuple[int, ...]
    step: int

    @classmethod
    def of(cls, pool: Pool | None, axis: int, size: int) -> Windows:
        """Windows of `pool` over `size` accumulators (None: each output is one accumulator)."""
        if pool is None:
            return cls(tuple(range(size)), tuple(range(1, size + 1)), (1,) * size, 1)
        starts, stops, counted = zip(*pool.windows(axis, size), strict=True)
        return cls(starts, stops, counted, pool.stride[axis])

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def plain(self) -> bool:
        """Whether each output is one accumulator."""
        return self.step == 1 and all(
            (a, b) == (i, i + 1)
            for i, (a, b) in enumerate(zip(self.starts, self.stops, strict=True))
        )

    def region(self, first: int, last: int) -> tuple[int, int]:
        """Accumulators [start, stop) that outputs [first, last) read."""
        return min(self.starts[first:last]), max(self.stops[first:last])

    def pieces(self, first: int, last: int) -> list[Piece]:
        """Outputs [first, last) cut into pieces of equal windows."""
        result: list[Piece] = []
        for i in range(first, last):
            length, counted = self.stops[i] - self.starts[i], self.counted[i]
            if result and i > first:
                old = result[-1]
                expected = old.start + (i - old.first) * self.step
                if (old.length, old.counted, expected) == (length, counted, self.starts[i]):
                    result[-1] = Piece(old.first, i + 1, old.start, length, self.step, counted)
                    continue
            result.append(Piece(i, i + 1, self.starts[i], length, self.step, counted))
        return result


def ranges(first: int, last: int, size: int, align: int = 1) -> Iterator[tuple[int, int]]:
    """[first, last) cut at multiples of `size` after `first` rounded down to `align`."""
    start = first - first % align
    while start < last:
        yield max(start, first), min(start + size, last)
        start += size
