"""Random quantized layers, targets and inputs for property tests, each from one seed."""

from __future__ import annotations

import numpy as np

from tilewright.compiler.target import Target
from tilewright.errors import TilewrightError
from tilewright.graph.ir import (
    Activation,
    ActivationKind,
    Conv,
    Graph,
    Input,
    Layer,
    Op,
    Output,
    Pool,
    Shape,
)
from tilewright.quant.accumulator import accumulator_bound, average_fraction
from tilewright.quant.fixed import FixedGraph, FixedLayer, IntArray, Leaky
from tilewright.quant.formats import QFormat

__all__ = [
    "fix_randomly",
    "random_depthwise",
    "random_inputs",
    "random_layer",
    "random_network",
    "random_target",
]

Rng = np.random.Generator

_OPS = (*[Op.CONV] * 6, Op.ADD, Op.CONCAT, Op.MAX_POOL, Op.AVG_POOL, Op.IDENTITY)
"""Operators, as often as they shall come up."""


def random_inputs(fixed: FixedGraph, seed: int) -> dict[str, IntArray]:
    """Integers [C, H, W] of every graph input over its whole range, extremes favoured."""
    rng = np.random.default_rng(seed)
    result = {}
    for item in fixed.graph.inputs:
        fmt = fixed.formats[item.name]
        values = rng.integers(fmt.min, fmt.max, item.shape, endpoint=True)
        extreme = np.where(rng.random(item.shape) < 0.5, fmt.min, fmt.max)
        result[item.name] = np.where(rng.random(item.shape) < 0.1, extreme, values)
    return result


def random_target(seed: int) -> Target:
    """A small target: any R, C in 1..8, tiny buffers, any bus width."""
    rng = np.random.default_rng(seed)
    act_bits, weight_bits = int(rng.integers(4, 17)), int(rng.integers(2, 17))
    rows = int(rng.integers(1, 9))
    least = act_bits + weight_bits + (rows - 1).bit_length()
    return Target(
        rows=rows,
        cols=int(rng.integers(1, 9)),
        act_bits=act_bits,
        weight_bits=weight_bits,
        acc_bits=48 if least > 28 else int(rng.integers(32, 49)),
        act_depth=int(rng.choice([96, 200, 333, 1024])),
        acc_depth=int(rng.choice([16, 40, 64, 200])),
        bus_bytes=int(rng.choice([1, 2, 4, 8, 16])),
        burst_beats=int(rng.choice([4, 16, 64])),
    )


def random_layer(seed: int, target: Target) -> FixedGraph:
    """A network of one random layer that is within the target's widths."""
    rng = np.random.default_rng(seed)
    for _ in range(1000):
        graph = _random_graph(rng)
        if graph is not None:
            fixed = fix_randomly(graph, target, rng)
            if fixed is not None:
                return fixed
    raise TilewrightError(f"Seed {seed}: no random layer fits target {target.name!r}")


def random_depthwise(seed: int, target: Target) -> FixedGraph:
    """A network of one random depthwise convolution that is within the target's widths."""
    rng = np.random.default_rng(seed)
    for _ in range(1000):
        shape = (int(rng.integers(1, 20)), int(rng.integers(1, 22)), int(rng.integers(1, 22)))
        conv = _random_depthwise(rng, shape[0])
        if min(conv.output_shape(shape)) < 1:
            continue
        layer = Layer(
            name="y", op=Op.CONV, inputs=("x0",), conv=conv, activation=_random_activation(rng)
        )
        graph = Graph(
            name="depthwise",
            inputs=(Input(name="x0", shape=shape),),
            layers=(layer,),
            outputs=(Output(name="y", tensor="y", shape=()),),
        )
        fixed = fix_randomly(graph, target, rng)
        if fixed is not None:
            return fixed
    raise TilewrightError(f"Seed {seed}: no random layer fits target {target.name!r}")


def random_network(seed: int, target: Target) -> FixedGraph:
    """A random network of several layers: chains, branches, residuals, concats, two outputs."""
    rng = np.random.default_rng(seed)
    for _ in range(1000):
        try:
            fixed = fix_randomly(_random_layers(rng), target, rng)
        except ValueError:
            continue
        if fixed is not None:
            return fixed
    raise TilewrightError(f"Seed {seed}: no random network fits target {target.name!r}")


def _random_layers(rng: Rng) -> Graph:
    count = int(rng.integers(2, 7))
    inputs = tuple(
        Input(name=f"x{i}", shape=tuple(int(v) for v in rng.integers(1, 12, 3)))  # type: ignore
        for i in range(int(rng.integers(1, 3)))
    )
    layers: list[Layer] = []
    shapes = {item.name: item.shape for item in inputs}
    for i in range(count):
        layer = _next_layer(rng, f"l{i}", shapes, {layer.name for layer in layers})
        layers.append(layer)
        shapes = Graph(name="", inputs=inputs, layers=tuple(layers), outputs=()).shapes
    used = {name for layer in layers for name in layer.all_inputs}
    ends = [layer.name for layer in layers if layer.name not in used]
    ends += [layer.name for layer in layers if layer.name in used and rng.random() < 0.2]
    outputs = tuple(Output(name=name, tensor=name, shape=shapes[name]) for name in ends)
    return Graph(name="random", inputs=inputs, layers=tuple(layers), outputs=outputs)


def _next_layer(rng: Rng, name: str, shapes: dict[str, Shape], made: set[str]) -> Layer:
    names = list(shapes)
    first = names[-1] if rng.random() < 0.7 else str(rng.choice(names))
    shape = shapes[first]
    op = _OPS[int(rng.integers(0, len(_OPS)))]
    conv = pool = max_pool = residual = None
    inputs = [first]
    if op is Op.CONV:
        conv = _random_conv(rng, shape)
        inner = conv.output_shape(shape)
        if min(inner) >= 1:
            max_pool = _random_pool(rng, inner) if rng.random() < 0.3 else None
            same = [n for n in names if shapes[n] == inner]
            residual = str(rng.choice(same)) if same and rng.random() < 0.7 else None
    elif op is Op.ADD:
        inputs.append(str(rng.choice([n for n in names if shapes[n] == shape])))
    elif op is Op.CONCAT:
        inputs.append(str(rng.choice([n for n in names if shapes[n][1:] == shape[1:]])))
    elif op is not Op.IDENTITY:
        pool = _random_pool(rng, shape)
        op = op if pool is not None else Op.IDENTITY
    return Layer(
        name=name,
        op=op,
        inputs=tuple(inputs),
        conv=conv,
        pool=pool,
        residual=residual,
        activation=_random_activation(rng),
        max_pool=max_pool,
    )


def _random_graph(rng: Rng) -> Graph | None:
    op = _OPS[int(rng.integers(0, len(_OPS)))]
    shape = (int(rng.integers(1, 20)), int(rng.integers(1, 14)), int(rng.integers(1, 14)))
    inputs = [Input(name="x0", shape=shape)]
    names = ["x0"]
    activation = _random_activation(rng)
    conv = pool = max_pool = residual = None
    if op is Op.CONV:
        conv = _random_conv(rng, shape)
        inner = conv.output_shape(shape)
        if min(inner) < 1:
            return None
        if rng.random() < 0.3:
            max_pool = _random_pool(rng, inner)
        if rng.random() < 0.3:
            residual = "x1"
            inputs.append(Input(name="x1", shape=inner))
    elif op in (Op.ADD, Op.CONCAT):
        names = _more_inputs(rng, op, shape, inputs)
    elif op is not Op.IDENTITY:
        pool = _random_pool(rng, shape)
        if pool is None:
            return None
    layer = Layer(
        name="y",
        op=op,
        inputs=tuple(names),
        conv=conv,
        pool=pool,
        residual=residual,
        activation=activation,
        max_pool=max_pool,
    )
    try:
        return Graph(
            name="random",
            inputs=tuple(inputs),
            layers=(layer,),
            outputs=(Output(name="y", tensor="y", shape=()),),
        )
    except ValueError:
        return None


def _more_inputs(rng: Rng, op: Op, shape: Shape, inputs: list[Input]) -> list[str]:
    names = ["x0"]
    for i in range(1, int(rng.integers(2, 4))):
        if rng.random() < 0.2:
            names.append("x0")
            continue
        channels = shape[0] if op is Op.ADD else int(rng.integers(1, 12))
        inputs.append(Input(name=f"x{i}", shape=(channels, *shape[1:])))
        names.append(f"x{i}")
    return names


def _random_conv(rng: Rng, shape: Shape) -> Conv:
    channels = shape[0]
    groups = 1
    if rng.random() < 0.3:
        groups = int(rng.choice([g for g in range(1, channels + 1) if channels % g == 0]))
    outputs = groups * int(rng.integers(1, max(2, 20 // groups + 1)))
    linear = rng.random() < 0.15 and groups == 1
    if linear:
        kernel = shape[1:]
        stride, dilation, pads = (1, 1), (1, 1), (0, 0, 0, 0)
    else:
        kernel = (int(rng.integers(1, 5)), int(rng.integers(1, 5)))
        stride = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
        dilation = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
        pads = tuple(int(p) for p in rng.integers(0, 4, 4))  # type: ignore[assignment]
    weight = np.zeros((outputs, channels // groups, *kernel), np.float32)
    return Conv(
        weight=weight,
        bias=np.zeros(outputs, np.float32),
        stride=stride,
        dilation=dilation,
        pads=pads,
        groups=groups,
        linear=bool(linear),
    )


def _random_depthwise(rng: Rng, channels: int) -> Conv:
    kernel = (int(rng.integers(1, 6)), int(rng.integers(1, 6)))
    pads = tuple(int(p) for p in rng.integers(0, 4, 4))
    return Conv(
        weight=np.zeros((channels, 1, *kernel), np.float32),
        bias=np.zeros(channels, np.float32),
        stride=(int(rng.integers(1, 4)), int(rng.integers(1, 4))),
        dilation=(int(rng.integers(1, 3)), int(rng.integers(1, 3))),
        pads=pads,  # type: ignore[arg-type]
        groups=channels,
    )


def _random_pool(rng: Rng, shape: Shape) -> Pool | None:
    kernel = (int(rng.integers(1, 5)), int(rng.integers(1, 5)))
    if rng.random() < 0.15:
        kernel = shape[1:]
    stride = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    pads = tuple(int(rng.integers(0, kernel[i // 2] // 2 + 1)) for i in range(4))
    if any(kernel[a] > shape[1 + a] + pads[2 * a] + pads[2 * a + 1] for a in (0, 1)):
        return None
    pool = Pool(
        kernel=kernel,
        stride=stride,
        pads=pads,  # type: ignore[arg-type]
        count_pads=bool(rng.random() < 0.5),
    )
    real = [pool.windows(axis, shape[1 + axis]) for axis in (0, 1)]
    return pool if all(a < b for axis in real for a, b, _ in axis) else None


def _random_activation(rng: Rng) -> Activation:
    kind = rng.integers(0, 4)
    if kind == 0:
        return Activation(kind=ActivationKind.CLIP, lo=0.0)
    if kind == 1:
        return Activation(kind=ActivationKind.LEAKY, slope=0.125)
    return Activation()


def fix_randomly(graph: Graph, target: Target, rng: Rng) -> FixedGraph | None:
    """Random formats, weights, biases and fractional lengths for a graph.

    None if an accumulator could exceed the target's.
    """
    top = min(16, target.act_bits)
    formats = {
        item.name: QFormat(
            int(rng.integers(2, top + 1)), int(rng.integers(-3, 10)), bool(rng.random() < 0.6)
        )
        for item in graph.inputs
    }
    layers = []
    for layer in graph.layers:
        fixed = _fix_layer(graph, layer, formats, target, rng)
        formats[layer.name] = fixed.output
        limit = 1 << (min(target.acc_bits, 48) - 1)
        if accumulator_bound(fixed, formats) >= limit:
            return None
        layers.append(fixed)
    return FixedGraph(graph=graph, formats=formats, layers=tuple(layers))


def _three_values(weight: IntArray, rng: Rng) -> IntArray:
    """At most one positive and one negative number in each output channel."""
    flat = weight.reshape(len(weight), -1)
    positive = np.maximum(flat.max(axis=1, keepdims=True), 1)
    negative = np.maximum(-flat.min(axis=1, keepdims=True), 1)
    if flat.min() == -2:
        negative = np.ones_like(negative)
    signs = rng.integers(-1, 1, flat.shape, endpoint=True)
    values: IntArray = np.where(signs > 0, positive, np.where(signs < 0, -negative, 0))
    return values.reshape(weight.shape)


def _fix_layer(
    graph: Graph, layer: Layer, formats: dict[str, QFormat], target: Target, rng: Rng
) -> FixedLayer:
    channels = graph.shapes[layer.name][0]
    fracs = [formats[name].frac for name in layer.all_inputs]
    weight: IntArray | None = None
    bits = int(rng.integers(2, target.weight_bits + 1))
    weight_frac = np.zeros(channels, np.int64)
    acc_frac = np.full(channels, max(fracs), np.int64)
    bias = np.zeros(channels, np.int64)
    if layer.conv is not None:
        fmt = QFormat(bits, 0)
        weight = rng.integers(fmt.min, fmt.max, layer.conv.weight.shape, endpoint=True)
        if target.ternary and (target.weight_bits == 2 or rng.random() < 0.7):
            weight = _three_values(weight, rng)
        weight_frac = rng.integers(3, 6, channels) if rng.random() < 0.3 else weight_frac + 4
        acc_frac = weight_frac + fracs[0]
        acc_frac = np.maximum(acc_frac, fracs[1]) if layer.residual else acc_frac
        span = 1 << int(rng.integers(1, 16))
        bias = rng.integers(-span, span, channels)
    elif layer.op is Op.AVG_POOL:
        assert layer.pool is not None
        acc_frac += average_fraction(layer.pool, *graph.shapes[layer.inputs[0]][1:])
    output_bits, shift = int(rng.integers(2, target.act_bits + 1)), int(rng.integers(-2, 12))
    # Half of an unsigned format's range is subtracted in the accumulator, and must fit there.
    room = -output_bits < shift and output_bits + shift + np.ptp(acc_frac) < target.acc_bits - 2
    signed = layer.activation.kind is ActivationKind.LEAKY or rng.random() < 0.6 or not room
    output = QFormat(output_bits, int(acc_frac.min()) - shift, bool(signed))
    leaky = None
    lo = output.min
    if layer.activation.kind is ActivationKind.LEAKY and target.leaky:
        shift = int(rng.integers(1, 12))
        leaky = Leaky(multiplier=int(rng.integers(0, min(256, (1 << shift) + 1))), shift=shift)
    elif layer.activation.kind is ActivationKind.CLIP:
        lo = 0
    return FixedLayer(
        layer=layer,
        weight=weight,
        weight_bits=bits,
        weight_frac=weight_frac,
        acc_frac=acc_frac,
        bias=bias,
        output=output,
        lo=lo,
        hi=output.max,
        leaky=leaky,
    )
