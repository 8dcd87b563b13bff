"""Quantized networks whose weights have three values, for tests of ternary arrays."""

from __future__ import annotations

import numpy as np

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
)
from tilewright.quant.constants import fix_layer
from tilewright.quant.fixed import FixedGraph
from tilewright.quant.formats import QFormat

__all__ = ["convolution", "residual_network"]

RELU = Activation(kind=ActivationKind.CLIP, lo=0.0)


def _conv(rng: np.random.Generator, outputs: int, inputs: int, kernel: int = 3) -> Conv:
    shape = (outputs, inputs, kernel, kernel)
    bias = rng.standard_normal(outputs).astype(np.float32)
    pads = (kernel // 2,) * 4
    return Conv(weight=np.zeros(shape, np.float32), bias=bias, pads=pads)


def _fixed(graph: Graph, scales: tuple[int, int] | None, bits: int, seed: int) -> FixedGraph:
    """Fix a graph: random signs times the channel's two scales, or random weights without any."""
    rng = np.random.default_rng(seed)
    formats = {item.name: QFormat(8, 6) for item in graph.inputs}
    layers = []
    for number, layer in enumerate(graph.layers):
        weight = None
        if layer.conv is not None:
            shape = layer.conv.weight.shape
            if scales is None:
                weight = rng.integers(-127, 127, shape, endpoint=True)
            else:
                # Every channel has its own, as a BatchNorm that was folded leaves them.
                own = np.maximum(
                    np.array(scales)[:, None] - rng.integers(0, 4, shape[0]) * (bits > 2), 1
                )
                signs = rng.integers(-1, 1, shape, endpoint=True)
                positive, negative = (side.reshape(-1, 1, 1, 1) for side in own)
                weight = np.where(signs > 0, positive, np.where(signs < 0, -negative, 0))
        output = QFormat(8, 3 - number % 2, signed=layer.activation is not RELU)
        frac = 7 if bits > 2 else 1
        fixed = fix_layer(
            layer,
            formats,
            output,
            shape=graph.shapes[layer.inputs[0]],
            channels=graph.shapes[layer.name][0],
            weight_bits=bits,
            weight_frac=frac,
            weight=weight,
        )
        formats[layer.name] = output
        layers.append(fixed)
    return FixedGraph(graph=graph, formats=formats, layers=tuple(layers))


def convolution(*, scales: tuple[int, int] | None, bits: int = 8) -> FixedGraph:
    """3x3, 16 to 16 channels on 8x8; its channels' scales are at most the given ones."""
    rng = np.random.default_rng(0)
    graph = Graph(
        name="conv",
        inputs=(Input(name="x", shape=(16, 8, 8)),),
        layers=(Layer(name="conv", op=Op.CONV, inputs=("x",), conv=_conv(rng, 16, 16)),),
        outputs=(Output(name="y", tensor="conv", shape=(16, 8, 8)),),
    )
    return _fixed(graph, scales, bits, 1)


def residual_network(weight_bits: int) -> FixedGraph:
    """A small residual network, all of its weights of three values: ends in an average and a layer of 10."""
    rng = np.random.default_rng(0)
    layers = (
        Layer(name="a", op=Op.CONV, inputs=("x",), conv=_conv(rng, 12, 3), activation=RELU),
        Layer(name="b", op=Op.CONV, inputs=("a",), conv=_conv(rng, 12, 12), activation=RELU),
        Layer(
            name="c",
            op=Op.CONV,
            inputs=("b",),
            conv=_conv(rng, 12, 12),
            residual="a",
            activation=RELU,
            max_pool=Pool(kernel=(2, 2), stride=(2, 2)),
        ),
        Layer(name="d", op=Op.AVG_POOL, inputs=("c",), pool=Pool(kernel=(4, 4), stride=(4, 4))),
        Layer(name="e", op=Op.CONV, inputs=("d",), conv=_conv(rng, 10, 12, 1)),
    )
    graph = Graph(
        name="residual",
        inputs=(Input(name="x", shape=(3, 8, 8)),),
        layers=layers,
        outputs=(Output(name="y", tensor="e", shape=(10, 1, 1)),),
    )
    most = (1 << (weight_bits - 1)) - 1
    return _fixed(graph, (most, max(most * 2 // 3, 1)), weight_bits, 2)
