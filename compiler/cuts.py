"""How one axis of an area is cut into macro tiles and fills."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilewright.compiler.geometry import PLAIN, Axis, Packing, Windows, ranges

__all__ = ["Cut", "cut_axis", "input_extent"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """One axis cut into macro tiles and fills.

    Attributes
    ----------
    outputs : outputs of each fill
    accumulators : accumulators of each fill
    macro_fills : fills of each macro tile
    words : for each source, bank words of each macro tile
    real : for each source, words of each macro tile that are read from memory
    """

    outputs: FloatArray
    accumulators: FloatArray
    macro_fills: FloatArray
    words: tuple[FloatArray, ...]
    real: tuple[FloatArray, ...]


def cut_axis(
    windows: Windows,
    extent: tuple[int, int],
    macro: int,
    fill: int,
    sources: tuple[Axis, ...],
    number: int,
    align: int,
    packing: Packing = PLAIN,
) -> Cut:
    """Cut outputs `extent` of axis `number` at multiples of `align` pixels."""
    unit = max(align, packing.size(number))
    outputs, accumulators, fills = [], [], []
    words: list[list[int]] = [[] for _ in sources]
    real: list[list[int]] = [[] for _ in sources]
    for first, last in ranges(*extent, macro, unit):
        count = 0
        for a, b in ranges(first, last, fill, unit):
            start, stop = packing.whole(*windows.region(a, b), number)
            outputs.append(b - a)
            accumulators.append(stop - start)
            count += 1
        fills.append(count)
        region = windows.region(first, last)
        for s, axis in enumerate(sources):
            start, stop = input_extent(axis, *region, number, align, packing)
            words[s].append(stop - start)
            real[s].append(max(min(stop, axis.size) - max(start, 0), 0))
    return Cut(
        outputs=np.array(outputs, np.float64),
        accumulators=np.array(accumulators, np.float64),
        macro_fills=np.array(fills, np.float64),
        words=tuple(np.array(w, np.float64) for w in words),
        real=tuple(np.array(r, np.float64) for r in real),
    )


def input_extent(
    axis: Axis, first: int, last: int, number: int, align: int, packing: Packing
) -> tuple[int, int]:
    """Input range [start, stop) of accumulators [first, last) along axis `number`.

    In the map it starts at a multiple of `axis.align`, and of `align` if words are packed.
    """
    if packing is not PLAIN:
        return packing.needs(axis, first, last, number, align)
    start, stop = axis.needs(first, last)
    return start - (start % axis.align if start > 0 else 0), stop
