"""Biases as parameter records hold them: with what unsigned feature maps have less in memory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tilewright.compiler.isa import BIAS_BITS
from tilewright.compiler.layout import stored_offset
from tilewright.compiler.matrices import diagonal_values
from tilewright.compiler.work import Area, LayerWork
from tilewright.errors import TilewrightError

__all__ = ["stored_bias"]

IntArray = npt.NDArray[np.int64]


def stored_bias(work: LayerWork, area: Area, j: int) -> IntArray:
    """Bias of each column of tile `j` as its parameter record holds it: int64 [C].

    It is the layer's, plus what the sources' offsets (`TensorLayout.offset`) took from the sums, less
    the output's offset at the accumulator's fraction.

    Raises
    ------
    TilewrightError
        If it does not fit its field, or the accumulator is too coarse for the output's offset.
    """
    fixed, columns = work.fixed, work.columns[j]
    used = np.maximum(columns, 0)
    bias = fixed.bias[used]
    for s, source in enumerate(area.sources):
        if source.layout.offset:
            bias = bias + source.layout.offset * _gains(work, area, s, j)
    offset, shift = stored_offset(fixed.output, work.target), fixed.shift[used]
    if offset:
        if (shift < 1 - offset.bit_length()).any():
            raise TilewrightError(
                f"Layer {work.name!r}: its unsigned output has a fractional length of "
                f"{fixed.output.frac}, more than {offset.bit_length() - 1} finer than its "
                f"accumulators' of {int(fixed.acc_frac.min())}; choose a smaller one, or a sign"
            )
        # Limited so that it cannot wrap round: what is limited does not fit anyway.
        bias = bias - ((offset << np.clip(shift, 0, BIAS_BITS)) >> np.maximum(-shift, 0))
    bias = np.where(columns >= 0, bias, 0)
    largest = int(np.abs(bias).max())
    bits = min(work.target.acc_bits, BIAS_BITS)
    if largest >= 1 << (bits - 1):
        raise TilewrightError(
            f"Layer {work.name!r}: bias {largest}, which includes the offsets of unsigned feature "
            f"maps, exceeds {bits} bits; use a larger acc_bits or a smaller fractional length of "
            "its weights"
        )
    return bias


def _gains(work: LayerWork, area: Area, s: int, j: int) -> IntArray:
    """What a constant 1 all over source `s`, padding included, adds to each column's result."""
    source = area.sources[s]
    if source.dense:
        weight = work.fixed.weight
        assert weight is not None
        channels = np.maximum(work.columns[j], 0)
        sums: IntArray = weight[channels].sum(axis=(1, 2, 3)) << work.main_shift[channels]
        return sums
    count = source.rows.taps * source.cols.taps
    if work.pool_sum:
        for windows, (first, _) in ((area.row_windows, area.rows), (area.col_windows, area.cols)):
            count *= windows.stops[first] - windows.starts[first]
    return diagonal_values(work, area, s, j) * count
