"""The ONNX nodes of one fixed layer, computing on real numbers what the hardware does on integers.

Every tensor holds integer * 2**-frac. Such numbers are exact in float32 up to 24 bits and in float64
up to 53; a layer whose accumulator bound is below 2**24 is written in float32, as a plain Conv, any
other one in float64, where ONNX Runtime has no Conv: pixels are gathered and summed by an Einsum.

QONNX's HALF_UP rounds halves away from zero (negative halves down), the hardware rounds them up. So
half a unit is added first and the Quant node rounds by FLOOR, which is the hardware's rule exactly.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import TensorProto

from tilewright.graph.functions import Function
from tilewright.graph.ir import Conv, Op, Pool
from tilewright.quant.accumulator import accumulator_bound, average_fraction, average_multipliers
from tilewright.quant.fixed import FixedLayer, IntArray
from tilewright.quant.formats import QFormat
from tilewright.quant.numerics import LEAKY_BITS, SHIFT_BIAS
from tilewright.quant.qonnx_builder import GraphBuilder, Value

__all__ = ["FLOAT_BIAS", "FLOAT_WEIGHT", "WEIGHT", "add_layer", "add_requantize"]

WEIGHT = "/weight"
FLOAT_WEIGHT = "/float_weight"
FLOAT_BIAS = "/float_bias"

_FLOAT32_EXACT = 1 << 24


def add_layer(
    graph: GraphBuilder,
    layer: FixedLayer,
    tensors: Mapping[str, Value],
    formats: Mapping[str, QFormat],
) -> Value:
    """Add the nodes of `layer`; returns its output tensor, which has its name."""
    wide = accumulator_bound(layer, formats) >= _FLOAT32_EXACT
    xs = [tensors[name] for name in layer.layer.all_inputs]
    if layer.layer.op is Op.CONCAT:
        acc = _concat(graph, layer, xs)
    else:
        acc = _accumulate(graph, layer, [graph.widen(x) if wide else x for x in xs])
    return _postprocess(graph, layer, acc)


def _concat(graph: GraphBuilder, layer: FixedLayer, xs: list[Value]) -> Value:
    shape = (1, sum(x.shape[1] for x in xs), *xs[0].shape[2:])
    result = Value(graph.unique(f"{layer.name}/acc"), shape)
    return graph.node("Concat", [x.name for x in xs], result, axis=1)


def _accumulate(graph: GraphBuilder, layer: FixedLayer, xs: list[Value]) -> Value:
    ir, name = layer.layer, layer.name
    if ir.conv is not None:
        acc = _convolution(graph, layer, xs[0])
        if ir.residual is not None:
            acc = graph.apply("Add", f"{name}/residual", acc, xs[1].name)
        return acc if ir.max_pool is None else _max_pool(graph, name, acc, ir.max_pool)
    if ir.op is Op.MAX_POOL:
        assert ir.pool is not None
        return _max_pool(graph, name, xs[0], ir.pool)
    if ir.op is Op.AVG_POOL:
        return _average(graph, layer, xs[0])
    if ir.op is Op.ADD:
        return graph.apply("Sum", f"{name}/acc", xs[0], *(x.name for x in xs[1:]))
    return xs[0]


def _convolution(graph: GraphBuilder, layer: FixedLayer, x: Value) -> Value:
    conv, name = layer.layer.conv, layer.name
    assert conv is not None and layer.weight is not None
    exponent = -layer.weight_frac.reshape(-1, 1, 1, 1)
    scale = np.ldexp(1.0, exponent if len(set(layer.weight_frac.tolist())) > 1 else exponent[:1])
    # At most 16 bits times a power of two: exact in float32, half the memory of float64.
    real = np.ldexp(layer.weight.astype(np.float32), exponent)
    stored = graph.keep(name + WEIGHT, real)
    weight = graph.quant(
        Value(stored, real.shape),
        graph.unique(f"{name}/weight_quant"),
        layer.weight_bits,
        scale,
        "ROUND",
    )
    graph.keep(name + FLOAT_WEIGHT, conv.weight)
    graph.keep(name + FLOAT_BIAS, conv.bias)
    bias = graph.real(f"{name}/bias", np.ldexp(layer.bias.astype(np.float64), -layer.acc_frac), x)
    return _sum_of_products(graph, f"{name}/acc", x, weight, conv, bias)


def _sum_of_products(
    graph: GraphBuilder, wish: str, x: Value, weight: Value, conv: Conv, bias: str | None
) -> Value:
    """Convolution by `weight` in the geometry of `conv`, plus `bias` [O]."""
    assert len(x.shape) == 4
    channels, height, width = conv.output_shape((x.shape[1], x.shape[2], x.shape[3]))
    shape = (1, channels, height, width)
    if x.wide:
        acc = _gathered(graph, wish, x, weight, conv, shape)
        if bias is None:
            return acc
        column = graph.reshape(f"{wish}/bias", Value(bias, (channels,), x.type), (channels, 1, 1))
        return graph.apply("Add", f"{wish}/biased", acc, column.name)
    top, bottom, left, right = conv.pads
    return graph.node(
        "Conv",
        [x.name, weight.name] + ([] if bias is None else [bias]),
        Value(graph.unique(wish), shape),
        kernel_shape=list(conv.kernel),
        strides=list(conv.stride),
        dilations=list(conv.dilation),
        pads=[top, left, bottom, right],
        group=conv.groups,
    )


def _gathered(
    graph: GraphBuilder, wish: str, x: Value, weight: Value, conv: Conv, shape: tuple[int, ...]
) -> Value:
    """Convolution in double precision: pad, gather every window's pixels, Einsum."""
    top, bottom, left, right = conv.pads
    _, channels, height, width = x.shape
    rows, cols = height + top + bottom, width + left + right
    pads = graph.constant(
        f"{wish}/pads", np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
    )
    padded = Value(graph.unique(f"{wish}/padded"), (1, channels, rows, cols), x.type)
    graph.node("Pad", [x.name, pads], padded)
    flat = graph.reshape(f"{wish}/flat", padded, (1, channels, rows * cols))
    index = _window_indices(conv, cols, shape[2], shape[3])
    gathered = Value(graph.unique(f"{wish}/gathered"), (1, channels, index.size), x.type)
    graph.node(
        "Gather", [flat.name, graph.constant(f"{wish}/index", index.ravel())], gathered, axis=2
    )
    groups, (pixels, taps) = conv.groups, index.shape
    per_group = channels // groups
    windows = graph.reshape(f"{wish}/windows", gathered, (1, groups, per_group, pixels, taps))
    grouped = (groups, shape[1] // groups, per_group, taps)
    kernel = graph.reshape(f"{wish}/kernel", graph.widen(weight), grouped)
    sums = Value(graph.unique(f"{wish}/sums"), (1, *grouped[:2], pixels), x.type)
    graph.node("Einsum", [windows.name, kernel.name], sums, equation="ngipk,goik->ngop")
    return graph.reshape(wish, sums, shape)


def _window_indices(conv: Conv, row_length: int, height: int, width: int) -> IntArray:
    """Index of every tap of every window in a flattened, padded map: int64 [pixels, taps]."""
    rows = np.arange(height)[:, None] * conv.stride[0]
    cols = np.arange(width)[:, None] * conv.stride[1]
    y = rows + np.arange(conv.kernel[0]) * conv.dilation[0]
    x = cols + np.arange(conv.kernel[1]) * conv.dilation[1]
    index = y[:, None, :, None] * row_length + x[None, :, None, :]
    return index.reshape(height * width, -1).astype(np.int64)


def _padding(pool: Pool) -> tuple[int, int, int, int]:
    top, bottom, left, right = pool.pads
    return top, bottom + pool.extra[0], left, right + pool.extra[1]


def _max_pool(graph: GraphBuilder, name: str, x: Value, pool: Pool) -> Value:
    top, bottom, left, right = _padding(pool)
    shape = (*x.shape[:2], *pool.output_size(x.shape[2], x.shape[3]))
    return graph.node(
        "MaxPool",
        [x.name],
        Value(graph.unique(f"{name}/max"), shape, x.type),
        kernel_shape=list(pool.kernel),
        strides=list(pool.stride),
        pads=[top, left, bottom, right],
    )


def _average(graph: GraphBuilder, layer: FixedLayer, x: Value) -> Value:
    pool, name = layer.layer.pool, layer.name
    assert pool is not None
    _, channels, height, width = x.shape
    ones = np.ones((channels, 1, *pool.kernel), np.float32)
    conv = Conv(
        weight=ones,
        bias=np.zeros(channels, np.float32),
        stride=pool.stride,
        pads=_padding(pool),
        groups=channels,
    )
    weight = Value(graph.constant(f"{name}/ones", ones), ones.shape)
    sums = _sum_of_products(graph, f"{name}/sum", x, weight, conv, None)
    multipliers = average_multipliers(pool, height, width).astype(np.float64)
    reciprocals = np.ldexp(multipliers, -average_fraction(pool, height, width))
    factor = graph.real(f"{name}/reciprocal", reciprocals[None, None], sums)
    return graph.apply("Mul", f"{name}/acc", sums, factor)


def _postprocess(graph: GraphBuilder, layer: FixedLayer, acc: Value) -> Value:
    output, name = layer.output, layer.name
    clipped = (layer.lo, layer.hi) != (output.min, output.max)
    target = graph.unique(f"{name}/quant") if clipped else name
    if layer.leaky is not None:
        acc = _leaky(graph, layer, acc)
    if layer.function is not None:
        acc = _function(graph, layer, layer.function, acc)
    stored = add_requantize(graph, acc, target, output)
    if not clipped:
        return stored
    result = Value(name, stored.shape)
    if (layer.lo, layer.hi) == (0, output.max):
        return graph.node("Relu", [stored.name], result)
    levels = [
        graph.real(f"{name}/{which}", output.dequantize(level), stored)
        for which, level in (("lo", layer.lo), ("hi", layer.hi))
    ]
    return graph.node("Clip", [stored.name, *levels], result)


def add_requantize(graph: GraphBuilder, value: Value, name: str, output: QFormat) -> Value:
    """Add a rounding half up to `output`: plus half a unit, then Quant rounding by FLOOR."""
    half = graph.real(f"{name}/half", np.ldexp(0.5, -output.frac), value)
    raised = graph.apply("Add", f"{name}/raised", value, half)
    scale = np.ldexp(1.0, -output.frac)
    return graph.quant(raised, name, output.bits, scale, "FLOOR", signed=output.signed)


def _leaky(graph: GraphBuilder, layer: FixedLayer, acc: Value) -> Value:
    """LeakyReLU on the integer that was rounded and saturated to LEAKY_BITS, not yet rounded."""
    assert layer.leaky is not None
    name, frac = layer.name, layer.output.frac
    rounded = _rounded(graph, layer, acc, LEAKY_BITS, frac)
    zero = graph.real(f"{name}/zero", 0.0, rounded)
    slope = graph.real(
        f"{name}/slope", np.ldexp(float(layer.leaky.multiplier), -layer.leaky.shift), rounded
    )
    positive = graph.apply("Max", f"{name}/positive", rounded, zero)
    negative = graph.apply("Min", f"{name}/negative", rounded, zero)
    scaled = graph.apply("Mul", f"{name}/scaled", negative, slope)
    return graph.apply("Add", f"{name}/leaky", positive, scaled.name)


def _function(graph: GraphBuilder, layer: FixedLayer, function: Function, acc: Value) -> Value:
    """A registered function: the entry of its table for the argument's integer."""
    name = layer.name
    rounded = _rounded(graph, layer, acc, function.bits, function.frac)
    scale = graph.real(f"{name}/argument/scale", np.ldexp(1.0, function.frac), rounded)
    integer = graph.apply("Mul", f"{name}/argument", rounded, scale)
    least = graph.real(f"{name}/argument/least", float(1 << (function.bits - 1)), integer)
    place = graph.apply("Add", f"{name}/place", integer, least)
    index = Value(graph.unique(f"{name}/index"), place.shape, TensorProto.INT64)
    graph.node("Cast", [place.name], index, to=TensorProto.INT64)
    real = np.ldexp(function.table.astype(np.float64), -function.frac)
    table = graph.constant(f"{name}/{function.name}/table", real)
    result = Value(graph.unique(f"{name}/{function.name}"), acc.shape, TensorProto.DOUBLE)
    return graph.node("Gather", [table, index.name], result, axis=0)


def _rounded(graph: GraphBuilder, layer: FixedLayer, acc: Value, bits: int, frac: int) -> Value:
    """The accumulator rounded at `frac` and saturated to `bits`, in double precision."""
    name, acc = layer.name, graph.widen(acc)
    if (layer.shift < -SHIFT_BIAS).any():
        # The hardware shifts no further left, and the value is then read at the output's frac.
        gain = np.ldexp(1.0, np.minimum(0, layer.shift + SHIFT_BIAS)).reshape(-1, 1, 1)
        acc = graph.apply("Mul", f"{name}/limited", acc, graph.real(f"{name}/gain", gain, acc))
    half = graph.real(f"{name}/rounded/half", np.ldexp(0.5, -frac), acc)
    raised = graph.apply("Add", f"{name}/rounded/raised", acc, half)
    rounded = graph.quant(
        raised, graph.unique(f"{name}/rounded"), bits, np.ldexp(1.0, -frac), "FLOOR"
    )
    return graph.widen(rounded)
