"""Scales: factors by which channels of feature maps are multiplied, and their readers divide.

Tensors that are added to each other must be scaled alike, hence groups. Every tensor of a group is
made by a convolution, whose weights and bias are multiplied, or from tensors of the group; everything
that reads one is a convolution, whose weights are divided, or makes a tensor of the group.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tilewright.graph.ir import ActivationKind, Conv, Graph, Layer, Op

__all__ = [
    "ChannelRange",
    "changed",
    "groups",
    "multiply_channels",
    "multiply_tensors",
    "scale_channels",
]

_LARGEST = 6
"""Channels are scaled by 2**6 at most: with 8 bits, what is smaller hardly shows in the others."""

_HEADROOM = 1
"""Bits of the largest channel's range that a scaled channel's leaves free: other images than those
of the calibration reach further."""
_BELOW_LIMIT = 3
"""The same where an activation has an upper limit, which is not scaled with the channels: beyond it
the network would not be the given one."""

DoubleArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class ChannelRange:
    """Least and greatest value of each channel of a tensor, float64 [C]."""

    low: DoubleArray
    high: DoubleArray


def changed(
    conv: Conv,
    *,
    weight: npt.NDArray[np.floating[Any]] | None = None,
    bias: npt.NDArray[np.floating[Any]] | None = None,
) -> Conv:
    """`conv` with other constants, in float32."""
    return replace(
        conv,
        weight=conv.weight if weight is None else weight.astype(np.float32),
        bias=conv.bias if bias is None else bias.astype(np.float32),
    )


def scale_channels(
    graph: Graph, ranges: Mapping[str, ChannelRange]
) -> tuple[Graph, dict[str, str]]:
    """`graph` with scaled channels, and for every changed tensor how many of them.

    Channels that only depthwise convolutions read are scaled to a part of the range of the group's
    largest:
    with a fractional length for each channel of the weights on both sides, the integer weights stay
    the same. Dense convolutions would lose in the weights of a channel what the channel wins.
    """
    notes: dict[str, str] = {}
    for group in groups(graph):
        readers = [x for x in graph.layers if x.conv is not None and x.inputs[0] in group]
        if not readers or any(reader.kind != "depthwise" for reader in readers):
            continue
        limited = any(math.isfinite(graph.layer(name).activation.hi) for name in group)
        free = _BELOW_LIMIT if limited else _HEADROOM
        exponents = _exponents([ranges[name] for name in group], free)
        if not exponents.any():
            continue
        graph = multiply_channels(graph, group, np.ldexp(1.0, exponents))
        notes.update((name, f"{np.count_nonzero(exponents)} channels scaled") for name in group)
    return graph, notes


def multiply_tensors(graph: Graph, group: Collection[str], factor: float) -> Graph:
    """`graph` with tensors of one of `groups` multiplied by `factor`, activations' limits too.

    It computes what it did, up to rounding in floating point.
    """
    channels = {name: np.full(shape[0], factor) for name, shape in graph.shapes.items()}
    return _multiplied(graph, group, channels, factor)


def multiply_channels(graph: Graph, group: Collection[str], factors: DoubleArray) -> Graph:
    """`graph` with each channel of tensors of one of `groups` multiplied by its factor, [C].

    Activations' limits stay: a channel that reaches them must have the factor 1.
    """
    return _multiplied(graph, group, dict.fromkeys(graph.shapes, factors), 1.0)


def _multiplied(
    graph: Graph, group: Collection[str], factors: Mapping[str, DoubleArray], limit: float
) -> Graph:
    layers = {layer.name: layer for layer in graph.layers}
    for name in group:
        _multiply(layers, name, factors[name])
        activation = layers[name].activation
        if activation.kind is ActivationKind.CLIP and limit != 1.0:
            activation = replace(activation, hi=activation.hi * limit)
            layers[name] = replace(layers[name], activation=activation)
    for reader in graph.layers:
        if reader.conv is not None and reader.inputs[0] in group:
            _divide(layers, reader.name, factors[reader.inputs[0]])
    return replace(graph, layers=tuple(layers.values()))


def groups(graph: Graph, *, each_channel: bool = True) -> Iterator[list[str]]:
    """Sets of tensors that can be scaled, each alike: every channel by its own factor, or all by one."""
    root = {name: name for name in graph.shapes}

    def find(name: str) -> str:
        while root[name] != name:
            name = root[name]
        return name

    blocked = {i.name for i in graph.inputs} | {o.tensor for o in graph.outputs}
    for layer in graph.layers:
        tied = layer.all_inputs if layer.conv is None else layer.all_inputs[1:]
        for name in tied:
            root[find(name)] = find(layer.name)
        if (each_channel and layer.op is Op.CONCAT) or not _scalable(layer):
            blocked.add(layer.name)
    stopped = {find(name) for name in blocked}
    members: dict[str, list[str]] = {}
    for layer in graph.layers:
        if find(layer.name) not in stopped:
            members.setdefault(find(layer.name), []).append(layer.name)
    yield from members.values()


def _scalable(layer: Layer) -> bool:
    """Whether the layer's activation lets a positive factor through, but for an upper limit."""
    activation = layer.activation
    if activation.kind is not ActivationKind.CLIP:
        return activation.kind is not ActivationKind.FUNCTION
    return activation.lo in (0.0, -math.inf) and activation.hi > 0.0


def _exponents(found: Collection[ChannelRange], free: int) -> IntArray:
    """Power of two for each channel, int64 [C], that takes its range close to the largest channel's.

    `free` bits of the largest channel's range stay free.
    """
    largest = np.max([np.maximum(np.abs(r.low), np.abs(r.high)) for r in found], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.floor(np.log2(largest.max() / largest))
    exponents = np.where(np.isfinite(room), np.clip(room - free, 0, _LARGEST), 0)
    return exponents.astype(np.int64)


def _multiply(layers: dict[str, Layer], name: str, scale: DoubleArray) -> None:
    """Multiply the constants of the convolution that makes tensor `name`, if one does, in place."""
    layer = layers[name]
    if layer.conv is not None:
        weight = layer.conv.weight * scale[:, None, None, None]
        conv = changed(layer.conv, weight=weight, bias=layer.conv.bias * scale)
        layers[name] = replace(layer, conv=conv)


def _divide(layers: dict[str, Layer], name: str, scale: DoubleArray) -> None:
    """Divide the weights of convolution `name` by its input channels' factors, in place."""
    layer = layers[name]
    conv = layer.conv
    assert conv is not None
    outputs = len(conv.weight) // conv.groups
    by_input = np.repeat(scale.reshape(conv.groups, -1), outputs, axis=0)[:, :, None, None]
    layers[name] = replace(layer, conv=changed(conv, weight=conv.weight / by_input))
