"""Scales: powers of two by which channels of feature maps are multiplied, and their readers divide.

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

__all__ = ["ChannelRange", "changed", "scale_channels"]

_LARGEST = 6
"""Channels are scaled by 2**6 at most: with 8 bits, what is smaller hardly shows in the others."""

_HEADROOM = 1
"""Bits of the largest channel's range that a scaled channel's leaves free: other images than those
of the calibration reach further, and what a channel may not exceed has been scaled with it."""

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

    Channels that only depthwise convolutions read are scaled to half the range of the group's largest
    (the other half is for images that reach further):
    with a fractional length for each channel of the weights on both sides, the integer weights stay
    the same. Dense convolutions would lose in the weights of a channel what the channel wins.
    """
    layers = {layer.name: layer for layer in graph.layers}
    notes: dict[str, str] = {}
    for group in _groups(graph):
        readers = [x for x in layers.values() if x.conv is not None and x.inputs[0] in group]
        if not readers or any(reader.kind != "depthwise" for reader in readers):
            continue
        exponents = _exponents([ranges[name] for name in group])
        if not exponents.any():
            continue
        for name in group:
            _multiply(layers, name, exponents)
            notes[name] = f"{np.count_nonzero(exponents)} channels scaled"
        for reader in readers:
            _divide(layers, reader.name, exponents)
    return replace(graph, layers=tuple(layers.values())), notes


def _groups(graph: Graph) -> Iterator[list[str]]:
    """Sets of tensors that can be scaled, each alike."""
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
        if layer.op is Op.CONCAT or not _scalable(layer):
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


def _exponents(found: Collection[ChannelRange]) -> IntArray:
    """Power of two for each channel, int64 [C], that takes its range close to the largest channel's."""
    largest = np.max([np.maximum(np.abs(r.low), np.abs(r.high)) for r in found], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.floor(np.log2(largest.max() / largest))
    exponents = np.where(np.isfinite(room), np.clip(room - _HEADROOM, 0, _LARGEST), 0)
    return exponents.astype(np.int64)


def _multiply(layers: dict[str, Layer], name: str, exponents: IntArray) -> None:
    """Multiply the constants of the convolution that makes tensor `name`, if one does, in place."""
    layer, scale = layers[name], np.ldexp(1.0, exponents)
    if layer.conv is not None:
        weight = layer.conv.weight * scale.reshape(-1, 1, 1, 1)
        conv = changed(layer.conv, weight=weight, bias=layer.conv.bias * scale)
        layers[name] = replace(layer, conv=conv)


def _divide(layers: dict[str, Layer], name: str, exponents: IntArray) -> None:
    """Divide the weights of convolution `name` by its input channels' factors, in place."""
    layer = layers[name]
    conv = layer.conv
    assert conv is not None
    outputs = len(conv.weight) // conv.groups
    scale = np.repeat(np.ldexp(1.0, exponents).reshape(conv.groups, -1), outputs, axis=0)
    layers[name] = replace(layer, conv=changed(conv, weight=conv.weight / scale[:, :, None, None]))
