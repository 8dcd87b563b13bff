"""From a layer and the formats around it to its integer constants."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tilewright.graph.ir import Activation, ActivationKind, Layer, Op, Shape
from tilewright.quant.accumulator import average_fraction
from tilewright.quant.fixed import FixedLayer, IntArray, Leaky
from tilewright.quant.formats import QFormat

__all__ = ["clip_range", "fix_layer", "fix_slope", "quantize_weights"]

_MAX_MULTIPLIER = 255
_MAX_SHIFT = 31
_BIAS_LIMIT = float(1 << 62)
_MAX_FRAC = 1 << 10
_BLOCK = 1 << 16
"""Weights quantized at once: their temporaries stay in the cache."""


def fix_slope(activation: Activation) -> Leaky | None:
    """LeakyReLU's slope as the nearest multiplier * 2**-shift, or None if none is needed.

    None is returned for other activations, for slope 1 (no activation) and for a slope that is
    nearest to 0 (a clip at 0, which `clip_range` makes of it). Of equally near pairs the one with
    the smallest shift is taken.
    """
    if activation.kind is not ActivationKind.LEAKY or activation.slope == 1.0:
        return None
    best: tuple[float, Leaky] | None = None
    for shift in range(1, _MAX_SHIFT + 1):
        multiplier = int(np.floor(np.ldexp(activation.slope, shift) + 0.5))
        if multiplier > _MAX_MULTIPLIER:
            break
        error = abs(float(np.ldexp(float(multiplier), -shift)) - activation.slope)
        if best is None or error < best[0]:
            best = (error, Leaky(multiplier=multiplier, shift=shift))
    assert best is not None
    return best[1] if best[1].multiplier else None


def clip_range(activation: Activation, output: QFormat) -> tuple[int, int]:
    """Integers to which the stored value is limited: the activation's levels in its format."""
    if activation.kind is ActivationKind.CLIP:
        return int(output.quantize(activation.lo)), int(output.quantize(activation.hi))
    rectified = activation.kind is ActivationKind.LEAKY and activation.slope != 1.0
    if rectified and fix_slope(activation) is None:
        return 0, output.max
    return output.min, output.max


def quantize_weights(layer: Layer, bits: int, frac: int | IntArray) -> IntArray | None:
    """Integer weights [O, I/groups, kh, kw] of a layer, None if it has none.

    `frac` is one fractional length, or one an output channel: int64 [O].
    """
    if layer.conv is None:
        return None
    weight, form = layer.conv.weight, QFormat(bits, 0)
    scale = np.ldexp(1.0, np.broadcast_to(frac, len(weight)))
    result = np.empty(weight.shape, np.int64)
    rows = max(1, _BLOCK * len(weight) // weight.size)
    for start in range(0, len(weight), rows):
        part = np.s_[start : start + rows]
        result[part] = form.quantize(weight[part] * scale[part].reshape(-1, 1, 1, 1))
    return result


def fix_layer(
    layer: Layer,
    formats: Mapping[str, QFormat],
    output: QFormat,
    *,
    shape: Shape,
    channels: int,
    weight_bits: int = 8,
    weight_frac: int | IntArray = 0,
    weight: IntArray | None = None,
    bias: npt.NDArray[np.float64] | None = None,
) -> FixedLayer:
    """Fixed-point form of `layer`.

    Parameters
    ----------
    layer : the layer
    formats : format of every tensor that it reads
    output : format of the tensor that it produces
    shape : shape of its first input
    channels : channels of its output
    weight_bits, weight_frac : format of its weights, `weight_frac` one for all or int64 [O] for each
        output channel; without effect on layers that have none
    weight : the quantized weights, where the caller has them already
    bias : real bias [O] instead of the layer's own

    A bias too large for any accumulator is limited to 2**62; `accumulator_bound` shows it.
    """
    fracs = [formats[name].frac for name in layer.all_inputs]
    weight_fracs = np.zeros(channels, np.int64)
    integer_bias = np.zeros(channels, np.int64)
    acc_frac = np.full(channels, max(fracs), np.int64)
    if layer.conv is not None:
        weight_fracs += weight_frac
        acc_frac = np.maximum(weight_fracs + fracs[0], max(fracs[1:], default=-_MAX_FRAC))
        real = layer.conv.bias.astype(np.float64) if bias is None else bias
        scaled = np.floor(np.ldexp(real, acc_frac) + 0.5)
        integer_bias = np.clip(scaled, -_BIAS_LIMIT, _BIAS_LIMIT).astype(np.int64)
        weight = quantize_weights(layer, weight_bits, weight_frac) if weight is None else weight
    elif layer.op is Op.AVG_POOL:
        assert layer.pool is not None
        acc_frac += average_fraction(layer.pool, shape[1], shape[2])
    lo, hi = clip_range(layer.activation, output)
    return FixedLayer(
        layer=layer,
        weight=weight,
        weight_bits=weight_bits,
        weight_frac=weight_fracs,
        acc_frac=acc_frac,
        bias=integer_bias,
        output=output,
        lo=lo,
        hi=hi,
        leaky=fix_slope(layer.activation),
    )
