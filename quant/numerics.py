"""The arithmetic behind the array, defined once: reference on integers, traced into hardware.

Every function here is plain Python over fixed-point values. Called with NumPy int64 arrays (or
Python integers) it is the reference; called with the symbolic values of `tilewright.hw.hls` it
describes the datapath that the hardware gets. docs/numerics.md states the rules in words.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = [
    "LEAKY_BITS",
    "SHIFT_BIAS",
    "SHIFT_MAX",
    "clip",
    "leaky_relu",
    "maximum",
    "minimum",
    "pool_step",
    "postprocess",
    "requantize",
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


def saturate(value: Any, bits: int) -> Any:
    """`value` limited to `bits` bits, two's complement."""
    return clip(value, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def store_shift(shift: Any) -> Any:
    """The requantizing shift as a parameter record holds it, in 0..63.

    The clamp changes nothing without LeakyReLU: a left shift by 15 already saturates 16 bits, and a
    right shift by 48 already rounds every 48-bit accumulator to 0.
    """
    return np.clip(shift, -SHIFT_BIAS, SHIFT_MAX) + SHIFT_BIAS


def requantize(value: Any, biased_shift: Any, shift_bias: int) -> Any:
    """Divide by 2**(biased_shift - shift_bias), rounding half up, without saturating.

    The shift may be negative (to the left) down to -shift_bias. One right shift serves both
    directions: the value first goes shift_bias + 1 to the left, and the bit shifted out last rounds.
    """
    return (((value << (shift_bias + 1)) >> biased_shift) + 1) >> 1


def leaky_relu(value: Any, multiplier: Any, shift: Any) -> Any:
    """`value` where not negative, else value * multiplier / 2**shift rounded half up.

    `shift` is 1..31; the value is saturated to LEAKY_BITS first.
    """
    value = saturate(value, LEAKY_BITS)
    scaled = (((value * multiplier) >> (shift - 1)) + 1) >> 1
    return where(value < 0, scaled, value)


def pool_step(running: Any, value: Any, is_sum: Any) -> Any:
    """One step of a pooling window over accumulators: their sum, or their maximum."""
    return where(is_sum, running + value, maximum(running, value))


def postprocess(
    acc: Any,
    bias: Any,
    biased_shift: Any,
    lo: Any,
    hi: Any,
    leaky: Any,
    slope_multiplier: Any,
    slope_shift: Any,
    *,
    shift_bias: int,
) -> Any:
    """From a (pooled) accumulator to the stored value: bias, requantize, activation, saturation."""
    value = requantize(acc + bias, biased_shift, shift_bias)
    value = where(leaky, leaky_relu(value, slope_multiplier, slope_shift), value)
    return clip(value, lo, hi)
