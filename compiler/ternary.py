"""Weights of three values and their scales, for arrays of ternary cells.

A cell adds an activation to its column's sum of positive weights, of negative weights, or to none.
Below the array, the two sums are multiplied by the column's two scales: so each column of a run may
have one positive and one negative number. Any other weights are split into the bits of their
magnitudes, a run for each, whose scales are the power of two. Parts have the number's sign, so that no
partial sum exceeds the bound that `quant/accumulator.py` proves.

Scales come to their columns as sums: the first tile of a stream has in row r bit r of each column's
scales, and its only pixel has the activation 2**r there.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tilewright.compiler.target import Target

__all__ = ["digit_of", "digits", "equal_parts", "least_repeats", "ternary_codes"]

IntArray = npt.NDArray[np.int64]


def digits(values: IntArray) -> tuple[int | None, ...]:
    """Runs that numbers [channels, terms] take: (None,) for one of whole numbers, or one a bit."""
    positive, negative = np.maximum(values, 0), np.maximum(-values, 0)
    simple = all(
        ((side == 0) | (side == side.max(axis=1, keepdims=True))).all()
        for side in (positive, negative)
    )
    if simple:
        return (None,)
    used = int(np.bitwise_or.reduce((positive | negative).ravel()))
    return tuple(bit for bit in range(used.bit_length()) if used >> bit & 1)


def digit_of(values: IntArray, digit: int | None) -> IntArray:
    """What of each number is in a run's digit."""
    if digit is None:
        return values
    parts: IntArray = np.sign(values) * (np.abs(values) & (1 << digit))
    return parts


def least_repeats(values: IntArray, target: Target) -> int | None:
    """Equal tiles, a power of two, that hold numbers beyond the scales; None if none can."""
    limit, largest = (1 << target.weight_bits) - 1, int(np.abs(values).max())
    repeats = 1
    while largest > repeats * limit:
        repeats *= 2
    beyond = values[np.abs(values) > limit]
    return None if (beyond % repeats).any() else repeats


def equal_parts(values: IntArray, repeats: int) -> IntArray:
    """Each number as `repeats` equal ones, or all in the first: int64 [repeats, ...]."""
    whole = values % repeats == 0
    first = np.where(whole, values // repeats, values)
    others = np.where(whole, values // repeats, 0)
    return np.stack([first] + [others] * (repeats - 1))


def ternary_codes(tiles: IntArray, target: Target) -> IntArray:
    """Tiles [n, R, C] as the array takes them, behind the one with their scales if it has any.

    Bit 0 of a code says that the weight is positive, bit 1 that it is negative.
    """
    codes = (tiles > 0) | (tiles < 0).astype(np.int64) << 1
    if not target.scaled:
        return codes
    scales = [side.max(axis=(0, 1)) for side in (np.maximum(tiles, 0), np.maximum(-tiles, 0))]
    exact = np.where(tiles > 0, scales[0], np.where(tiles < 0, -scales[1], 0))
    assert (exact == tiles).all(), "a column with several positive or negative weights"
    row = np.arange(target.rows)[:, None]
    first = (scales[0] >> row & 1) | (scales[1] >> row & 1) << 1
    return np.concatenate([first[None], codes])
