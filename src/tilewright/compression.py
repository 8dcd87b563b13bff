"""The road of `tilewright compress`: a module is compressed, quantized, compiled, its weights coded."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tilewright import api
from tilewright.analysis import predict_cycles
from tilewright.compiler.layout import lane_map
from tilewright.compiler.lower import compile_network
from tilewright.compiler.program import Program
from tilewright.compiler.rows import weight_streams
from tilewright.compiler.target import Target
from tilewright.compiler.tiling import choose_plan
from tilewright.compress.coded_layer import Encoded, Rows, encode_layer
from tilewright.compress.layers import Layer, weight_layers
from tilewright.compress.pipeline import Cycles
from tilewright.compress.steps import Step
from tilewright.compress.vectors import Array
from tilewright.errors import TilewrightError
from tilewright.graph.ir import Conv, Graph, Input, Op, Output
from tilewright.graph.ir import Layer as GraphLayer
from tilewright.quant.config import QuantConfig
from tilewright.quant.fixed import FixedGraph
from tilewright.simulation import LATENCY

__all__ = [
    "Batches",
    "compile_for_streams",
    "encode_program",
    "layer_cycles",
    "quant_config",
    "vector_arrays",
    "write_streams",
]

SPAN_TERMS = 36
"""Terms of a bank that are balanced among themselves: so few blocks need be in the banks together."""


@dataclass(frozen=True, slots=True, eq=False)
class Batches:
    """Images and labels in batches, in a new random order each time if `shuffle`.

    A last image by itself joins the batch before it: BatchNorm cannot be trained on one.
    """

    images: torch.Tensor
    labels: torch.Tensor
    size: int = 64
    shuffle: bool = False

    def __len__(self) -> int:
        return len(self._sizes())

    def _sizes(self) -> list[int]:
        whole, rest = divmod(len(self.images), self.size)
        if rest == 1 and whole and self.size > 1:
            return [self.size] * (whole - 1) + [self.size + 1]
        return [self.size] * whole + [rest] * (rest > 0)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        count = len(self.images)
        order = torch.randperm(count) if self.shuffle else torch.arange(count)
        for batch in order.split(self._sizes()):
            yield self.images[batch], self.labels[batch]


def vector_arrays(target: Target) -> Callable[[nn.Module], Mapping[str, Array]]:
    """Gives the convolutions of a module that may lose vectors, as the target's array meets them."""

    def find(model: nn.Module) -> dict[str, Array]:
        found = {}
        for name, layer in weight_layers(model).items():
            if not isinstance(layer, nn.Conv2d) or layer.groups != 1:
                continue
            taps = layer.kernel_size[0] * layer.kernel_size[1]
            lanes = lane_map(layer.in_channels, target).reshape(-1, target.rows)
            if layer.in_channels * taps < 2 * target.rows:
                continue  # One tile holds all of its terms.
            span = max(SPAN_TERMS // taps, 1)
            found[name] = Array(cols=target.cols, lanes=lanes, span=span)
        return found

    return find


def layer_cycles(images: torch.Tensor, target: Target) -> Callable[[nn.Module], Cycles]:
    """Gives the cycles of a module's layers, and of their factors at ranks that fill whole lanes.

    Each layer is compiled alone and timed by the cycle model.
    """

    def find(model: nn.Module) -> Cycles:
        dense, costs = {}, {}
        for name, layer in weight_layers(model).items():
            shape = _input_shape(model, layer, images[:1])
            dense[name] = _cycles(_convs(layer, None), shape, target)
            step = max(target.rows, target.cols)
            most = min(layer.weight.shape[0], layer.weight[0].numel())
            if isinstance(layer, nn.Conv2d) and layer.groups != 1:
                continue
            costs[name] = {
                rank: _cycles(_convs(layer, rank), shape, target)
                for rank in range(step, most, step)
            }
        return Cycles(dense=dense, costs={name: table for name, table in costs.items() if table})

    return find


def _input_shape(model: nn.Module, layer: Layer, image: torch.Tensor) -> tuple[int, int, int]:
    shapes: list[tuple[int, ...]] = []
    handle = layer.register_forward_pre_hook(lambda _, given: shapes.append(given[0].shape))
    with torch.inference_mode():
        model(image)
    handle.remove()
    channels, *sizes = shapes[0][1:]
    height, width = sizes or (1, 1)
    return channels, height, width


@dataclass(frozen=True, slots=True)
class _Sizes:
    """A convolution but for its numbers."""

    weight: tuple[int, int, int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1

    def conv(self) -> Conv:
        """The convolution with ones for weights."""
        return Conv(
            weight=np.ones(self.weight, np.float32),
            bias=np.zeros(self.weight[0], np.float32),
            stride=self.stride,
            dilation=self.dilation,
            pads=self.pads,
            groups=self.groups,
        )


def _convs(layer: Layer, rank: int | None) -> tuple[_Sizes, ...]:
    """Convolutions of the layer's sizes, or of its two factors' at a rank, as the array runs them."""
    outputs, inputs = (int(size) for size in layer.weight.shape[:2])
    whole = _Sizes((outputs, inputs, 1, 1))
    if isinstance(layer, nn.Conv2d):
        left, right, top, bottom = layer._reversed_padding_repeated_twice
        whole = _Sizes(
            weight=(outputs, inputs, layer.kernel_size[0], layer.kernel_size[1]),
            stride=(layer.stride[0], layer.stride[1]),
            dilation=(layer.dilation[0], layer.dilation[1]),
            pads=(top, bottom, left, right),
            groups=layer.groups,
        )
    if rank is None:
        return (whole,)
    first = dataclasses.replace(whole, weight=(rank, *whole.weight[1:]))
    return first, _Sizes((outputs, rank, 1, 1))


@functools.lru_cache(maxsize=4096)
def _cycles(convs: tuple[_Sizes, ...], shape: tuple[int, int, int], target: Target) -> float:
    layers, before = [], "x"
    for number, sizes in enumerate(convs):
        name = f"y{number}"
        layers.append(GraphLayer(name=name, op=Op.CONV, inputs=(before,), conv=sizes.conv()))
        before = name
    graph = Graph(
        name="layer",
        inputs=(Input(name="x", shape=shape),),
        layers=tuple(layers),
        outputs=(Output(name="y", tensor=before, shape=()),),
    )
    config = QuantConfig.paper(acc_bits=target.acc_bits, weight_bits=min(8, target.weight_bits))
    data = np.linspace(-1, 1, math.prod(shape), dtype=np.float32).reshape(1, *shape)
    fixed = api.quantize(graph, data, config=config).fixed
    program = api.compile(fixed, target, keep=False).program
    return float(predict_cycles(program, LATENCY).cycles)


def quant_config(
    config: QuantConfig, steps: tuple[Step, ...], ternary: tuple[str, ...]
) -> QuantConfig:
    """How to quantize a compressed network without undoing it.

    Zeros stay zeros anyway. One fractional length a layer and rounding to nearest keep a codebook.
    Ternary layers keep their integers if each channel has a fractional length of its own; those with
    powers of two as scales take 2 bits.

    Parameters
    ----------
    config : as configured
    ternary : graph layers whose weights are ternary with shifts
    """
    kinds = {step.kind for step in steps}
    if kinds & {"share", "ternary"}:
        config = dataclasses.replace(
            config,
            rounding="nearest",
            per_channel="share" not in kinds,
            equalize=False,
            rescale=False,
        )
    if ternary:
        bits = dict.fromkeys(ternary, 2)
        config = dataclasses.replace(config, per_channel=True, layer_weight_bits=bits)
    return config


def compile_for_streams(
    fixed: FixedGraph, steps: tuple[Step, ...], target: Target, *, keep: bool = False
) -> Program:
    """The program whose weight streams are compressed.

    Zeros that are not in vectors cost a compressed stream less than the offsets of joint tiles, so
    only vector pruning packs its terms.
    """
    vectors = any(step.kind == "vectors" for step in steps)
    planner = functools.partial(choose_plan, joint=vectors)
    return compile_network(fixed, target, keep=keep, planner=planner)


def encode_program(
    program: Program, *, lanes: int, huffman: bool
) -> dict[str, tuple[Encoded | None, int]]:
    """The compressed weight streams of each layer, and the bytes of the plain ones.

    None where a layer stays plain: it would not become smaller, has more different weights than a
    codebook holds, or none but zero.
    """
    by_layer: dict[str, list[Any]] = {}
    for stream in weight_streams(program):
        by_layer.setdefault(stream.layer, []).append(stream)
    found: dict[str, tuple[Encoded | None, int]] = {}
    for name, streams in by_layer.items():
        parts = [Rows(weights=s.weights, offsets=s.offsets) for s in streams]
        plain = sum(s.size for s in streams)
        try:
            encoded: Encoded | None = encode_layer(parts, lanes=lanes, huffman=huffman)
        except TilewrightError:
            encoded = None
        smaller = encoded is not None and encoded.size() < plain
        found[name] = encoded if smaller else None, plain
    return found


def write_streams(encoded: Mapping[str, tuple[Encoded | None, int]], folder: Path) -> None:
    """One file a layer: its blocks and its streams, each padded to 8 bytes."""
    for name, (layer, _) in encoded.items():
        if layer is not None:
            data = b"".join(part + bytes(-len(part) % 8) for part in layer.parts())
            (folder / f"{name}.tws").write_bytes(data)
