"""The fixed network in floating point, differentiable: what searches and fine-tuning run.

Every tensor holds real numbers, integer times 2**-frac. Values are those of the integer reference up
to the float type's rounding of sums (none while accumulators stay below 2**24 in float32, 2**53 in
float64). Rounding passes gradients straight through, saturation and activations pass none where they
limit ("straight-through estimator": Bengio et al. 2013, arXiv 1308.3432).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from tilewright.graph.functions import Function
from tilewright.graph.ir import Conv, Op, Pool
from tilewright.quant.accumulator import (
    accumulator_bound,
    average_fraction,
    average_multipliers,
)
from tilewright.quant.fixed import FixedGraph, FixedLayer
from tilewright.quant.formats import QFormat
from tilewright.quant.numerics import LEAKY_BITS

__all__ = [
    "Constants",
    "convolve",
    "emulate_layer",
    "exact_in_float32",
    "layer_constants",
    "quantize_real",
    "run_emulated",
]

Constants = tuple[torch.Tensor, torch.Tensor]
"""Real weights [O, I/groups, kh, kw] and bias [O] of a layer."""


def exact_in_float32(fixed: FixedGraph) -> bool:
    """Whether `run_emulated` in float32 gives exactly what the integer reference does.

    So it does where no accumulator reaches 2**24. LeakyReLU and tables multiply further, and are left out.
    """
    return all(
        layer.leaky is None
        and layer.function is None
        and accumulator_bound(layer, fixed.formats) < 1 << 24
        for layer in fixed.layers
    )


def layer_constants(layer: FixedLayer, dtype: torch.dtype = torch.float32) -> Constants:
    """The real values of a layer's integer weights and bias."""
    assert layer.weight is not None
    weight = np.ldexp(layer.weight.astype(np.float64), -layer.weight_frac.reshape(-1, 1, 1, 1))
    bias = np.ldexp(layer.bias.astype(np.float64), -layer.acc_frac)
    return torch.from_numpy(weight).to(dtype), torch.from_numpy(bias).to(dtype)


def quantize_real(
    value: torch.Tensor, scale: torch.Tensor | float, low: float, high: float
) -> torch.Tensor:
    """`value` on the grid of step 1/scale, rounded half up and limited to low..high steps."""
    return _Round.apply(value * scale).clamp(low, high) / scale


class _Round(torch.autograd.Function):  # type: ignore[misc]
    """Round half up; the gradient passes straight through."""

    @staticmethod
    def forward(ctx: object, value: torch.Tensor) -> torch.Tensor:
        return torch.floor(value + 0.5)

    @staticmethod
    def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


def emulate_layer(
    layer: FixedLayer,
    xs: Sequence[torch.Tensor],
    formats: Mapping[str, QFormat],
    constants: Constants | None = None,
    shape: tuple[int, int] = (0, 0),
) -> torch.Tensor:
    """What the layer stores, as real numbers [N, C, H, W].

    Parameters
    ----------
    layer : the quantized layer
    xs : real values [N, C, H, W] of its `all_inputs`
    formats : format of every tensor that it reads
    constants : weights and bias instead of the layer's own
    shape : height and width of its first input; needed for averages only
    """
    ir = layer.layer
    if ir.conv is not None:
        weight, bias = layer_constants(layer, xs[0].dtype) if constants is None else constants
        value = convolve(xs[0], weight, bias, ir.conv)
        value = value + xs[1] if ir.residual is not None else value
        value = value if ir.max_pool is None else _maximum(value, ir.max_pool)
    elif ir.op is Op.AVG_POOL:
        assert ir.pool is not None
        value = _average(xs[0], ir.pool, shape)
    elif ir.op is Op.CONCAT:
        value = torch.cat(list(xs), dim=1)
    else:
        value = xs[0]
        for other in xs[1:]:
            value = value + other
        value = value if ir.pool is None else _maximum(value, ir.pool)
    scale = 2.0**layer.output.frac
    if layer.leaky is not None:
        limit = float(1 << (LEAKY_BITS - 1))
        value = quantize_real(value, scale, -limit, limit - 1)
        slope = layer.leaky.multiplier * 2.0**-layer.leaky.shift
        value = torch.where(value < 0, value * slope, value)
    if layer.function is not None:
        value = _apply(layer.function, value)
    return quantize_real(value, scale, layer.lo, layer.hi)


def _apply(function: Function, value: torch.Tensor) -> torch.Tensor:
    """What the fixed-point function gives, with the gradient of the float one."""
    scale = 2.0**function.frac
    least, table = 1 << (function.bits - 1), torch.from_numpy(function.table)
    value = quantize_real(value, scale, -least, least - 1)
    stored = table[(value.detach() * scale).to(torch.int64) + least].to(value.dtype) / scale
    smooth = function.reference(value)
    return smooth + (stored - smooth).detach()


def convolve(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, conv: Conv
) -> torch.Tensor:
    """Weighted sums of `x` [N, C, H, W], with the geometry of `conv`."""
    top, bottom, left, right = conv.pads
    if (top, left) != (bottom, right):
        x, top, left = F.pad(x, (left, right, top, bottom)), 0, 0
    return F.conv2d(x, weight, bias, conv.stride, (top, left), conv.dilation, conv.groups)


def _padded(x: torch.Tensor, pool: Pool, value: float) -> torch.Tensor:
    top, bottom, left, right = pool.pads
    border = (left, right + pool.extra[1], top, bottom + pool.extra[0])
    return F.pad(x, border, value=value) if any(border) else x


def _maximum(x: torch.Tensor, pool: Pool) -> torch.Tensor:
    return F.max_pool2d(_padded(x, pool, float("-inf")), pool.kernel, pool.stride)


def _average(x: torch.Tensor, pool: Pool, shape: tuple[int, int]) -> torch.Tensor:
    sums = F.avg_pool2d(_padded(x, pool, 0.0), pool.kernel, pool.stride, divisor_override=1)
    multipliers = average_multipliers(pool, *shape)
    factor = np.ldexp(multipliers.astype(np.float64), -average_fraction(pool, *shape))
    return sums * torch.from_numpy(factor).to(x.dtype)


def run_emulated(
    fixed: FixedGraph,
    inputs: Mapping[str, torch.Tensor],
    constants: Mapping[str, Constants] | None = None,
) -> dict[str, torch.Tensor]:
    """Real values of every tensor.

    Parameters
    ----------
    fixed : the network
    inputs : normalized real values [N, C, H, W] of every graph input; they are quantized here
    constants : weights and bias by layer name, instead of the network's own
    """
    values = {}
    for name, x in inputs.items():
        form = fixed.formats[name]
        values[name] = quantize_real(x, 2.0**form.frac, form.min, form.max)
    for layer in fixed.layers:
        xs = [values[n] for n in layer.layer.all_inputs]
        own = None if constants is None else constants.get(layer.name)
        _, height, width = fixed.graph.shapes[layer.layer.inputs[0]]
        values[layer.name] = emulate_layer(layer, xs, fixed.formats, own, (height, width))
    return values
