"""The arithmetic behind the array, defined once: reference on integers, traced into hardware.

Every function here is plain Python over fixed-point values. Called with NumPy int64 arrays (or
Python integers) it is the reference; called with the symbolic values of `tilewright.hw.hls` it
describes the datapath that the hardware gets. docs/numerics.md states the rules in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = [
    "LEAKY_BITS",
    "SHIFT_BIAS",
    "SHIFT_MAX",
    "WIDEST",
    "apply_functions",
    "clip",
    "finish",
    "leaky_relu",
    "lookup",
    "maximum",
    "minimum",
    "pool_step",
    "pool_takes",
    "pool_value",
    "postprocess",
    "prepare",
    "requantize",
    "rounding",
    "saturate",
    "store_shift",
    "where",
]

SHIFT_BIAS = 15
"""A stored requantizing shift is the shift plus this, so that it is not negative."""
SHIFT_MAX = 48
"""Largest right shift that is stored."""
LEAKY_BITS = 18
"""Width to which a value is saturated before LeakyReLU's multiplication (one 18x18 multiplier)."""


WIDEST = {"left": SHIFT_BIAS, "right": SHIFT_MAX}
"""Limits of `prepare` that hold for every target."""


def where(condition: Any, then: Any, otherwise: Any) -> Any:
    """`then` where `condition` holds, else `otherwise`."""
    for value in (condition, then, otherwise):
        if hasattr(value, "__fx_where__"):
            return value.__fx_where__(condition, then, otherwise)
    return np.where(condition, then, otherwise)


def minimum(a: Any, b: Any) -> Any:
    """The smaller of two values."""
    return where(a < b, a, b)


def maximum(a: Any, b: Any) -> Any:
    """The larger of two values."""
    return where(a < b, b, a)


def clip(value: Any, lo: Any, hi: Any) -> Any:
    """`value` limited to [lo, hi]."""
    return minimum(maximum(value, lo), hi)


def lookup(table: Any, index: Any) -> Any:
    """Entry of a table of constants; in hardware the index's range must lie within the table."""
    if hasattr(index, "__fx_lookup__"):
        return index.__fx_lookup__(table)
    return np.asarray(table, np.int64)[index]


def saturate(value: Any, bits: int) -> Any:
    """`value` limited to `bits` bits, two's complement."""
    return clip(value, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def store_shift(shift: Any) -> Any:
    """The requantizing shift as a parameter record holds it, in 0..63.

    The clamp changes nothing without LeakyReLU: a left shift by 15 already saturates 16 bits, and a
    right shift by 48 already rounds every 48-bit accumulator to 0.
    """
    return np.clip(shift, -SHIFT_BIAS, SHIFT_MAX) + SHIFT_BIAS


def prepare(bias: Any, biased_shift: Any, *, left: int, right: int) -> tuple[Any, Any]:
    """The parameters of `requantize`, from a bias and a biased shift.

    To the bias is added half of what the shift drops, so that dropping it rounds half up. The shift
    is limited to -left..right and made relative to -left. That changes nothing if `left` bits to
    the left saturate every value but 0, and `right` bits to the right round every one to 0.
    """
    half, shift = rounding(biased_shift, left=left, right=right)
    return bias + half, shift


def rounding(biased_shift: Any, *, left: int, right: int) -> tuple[Any, Any]:
    """Half of what a biased shift drops, and that shift as `prepare` gives it."""
    least = SHIFT_BIAS - left
    shift = clip(biased_shift, least, SHIFT_BIAS + right) - least
    return where(shift > left, 1 << maximum(shift - (left + 1), 0), 0), shift


def requantize(acc: Any, rounded_bias: Any, shift: Any, left: int) -> Any:
    """(acc + bias) / 2**(shift - left), rounded half up, without saturating; see `prepare`.

    One right shift serves both directions: the value first goes `left` to the left.
    """
    return ((acc + rounded_bias) << left) >> shift


def leaky_relu(value: Any, multiplier: Any, shift: Any) -> Any:
    """`value` where not negative, else value * multiplier / 2**shift rounded half up.

    `shift` is 1..31; the value is saturated to LEAKY_BITS first.
    """
    value = saturate(value, LEAKY_BITS)
    scaled = (((value * multiplier) >> (shift - 1)) + 1) >> 1
    return where(value < 0, scaled, value)


def pool_takes(running: Any, value: Any, is_sum: Any) -> Any:
    """Whether a step of a pooling window gives it another value than `running`'s."""
    return where(is_sum, True, running < value)


def pool_value(running: Any, value: Any, is_sum: Any) -> Any:
    """The value that it then gives it."""
    return where(is_sum, running + value, value)


def pool_step(running: Any, value: Any, is_sum: Any) -> Any:
    """One step of a pooling window over accumulators: their sum, or their maximum."""
    given = (running, value, is_sum)
    return where(pool_takes(*given), pool_value(*given), running)


def apply_functions(
    value: Any, chosen: Any, biased_shift: Any, functions: Sequence[Any], limits: Mapping[str, int]
) -> Any:
    """What function number `chosen` (from 1) gives, requantized; `value` itself if it is 0.

    Parameters
    ----------
    value : at the function's own fractional length; it is saturated to the function's bits
    biased_shift : from there to the output's fractional length, as `store_shift` gives it
    functions : `graph.functions.Function` each
    limits : `left` and `right` of `prepare` for the second shift
    """
    result = value
    for number, function in enumerate(functions, 1):
        given = function.compute(saturate(value, function.bits))
        result = where(chosen == number, given, result)
    half, shift = prepare(0, biased_shift, **limits)
    return where(chosen == 0, value, requantize(result, half, shift, limits["left"]))


def finish(
    acc: Any,
    rounded_bias: Any,
    shift: Any,
    lo: Any,
    hi: Any,
    leaky: Any,
    slope_multiplier: Any,
    slope_shift: Any,
    function: Any = 0,
    function_shift: Any = SHIFT_BIAS,
    *,
    left: int,
    functions: Sequence[Any] = (),
    limits: Mapping[str, int] = WIDEST,
) -> Any:
    """From a (pooled) accumulator to the stored value, with what `prepare` gives.

    A target's `functions` are numbered from 1; `limits` are those of `apply_functions`.
    """
    value = requantize(acc, rounded_bias, shift, left)
    value = where(leaky, leaky_relu(value, slope_multiplier, slope_shift), value)
    if functions:
        value = apply_functions(value, function, function_shift, functions, limits)
    return clip(value, lo, hi)


def postprocess(
    acc: Any,
    bias: Any,
    biased_shift: Any,
    lo: Any,
    hi: Any,
    leaky: Any,
    slope_multiplier: Any,
    slope_shift: Any,
    function: Any = 0,
    function_shift: Any = SHIFT_BIAS,
    functions: Any = (),
) -> Any:
    """From a (pooled) accumulator to the stored value: bias, requantize, activation, saturation."""
    rounded_bias, shift = prepare(bias, biased_shift, left=SHIFT_BIAS, right=SHIFT_MAX)
    slope = (leaky, slope_multiplier, slope_shift)
    chosen = (function, function_shift)
    return finish(
        acc, rounded_bias, shift, lo, hi, *slope, *chosen, left=SHIFT_BIAS, functions=functions
    )
