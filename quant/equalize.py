"""Equalization: rewriting the float network so that its feature maps suit fixed point better.

Both rewrites keep what the network computes (up to float rounding) and cost nothing in hardware:

- *offsets*: values that an activation limits from below use half of a signed format only. Half of
  their range is subtracted where everything that reads them can add it back to its bias: convolutions
  without padding, directly or behind an average. One more bit for such feature maps. (After "bias
  absorption", Nagel et al., "Data-Free Quantization", ICCV 2019, section 4.1.3.)
- *scales*: each channel that only depthwise convolutions read is multiplied by the power of two that
  makes its range the largest channel's, and divided by it in the next weights. Both weights have a
  fractional length for each channel, hence the same integers as before. ("Cross-layer equalization",
  same paper, section 4.1.1.) The scaled channels of a clipped layer are then clipped at or above the
  largest value that the calibration images gave them, instead of where all channels are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tilewright.graph.ir import ActivationKind, Conv, Graph, Layer, Op
from tilewright.quant.floats import walk_float

__all__ = ["ChannelRange", "channel_ranges", "equalize"]

_LARGEST_SCALE = 6
"""Channels are scaled by 2**6 at most: with 8 bits, what is smaller hardly shows in the others."""

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ChannelRange:
    """Least and greatest value of each channel of a tensor, float64 [C]."""

    low: DoubleArray
    high: DoubleArray


def channel_ranges(graph: Graph, data: Mapping[str, FloatArray]) -> dict[str, ChannelRange]:
    """Ranges of every layer's output on normalized images, float32 [N, C, H, W] by input."""
    axes = (0, 2, 3)
    return {
        layer.name: ChannelRange(
            values.min(axis=axes).astype(np.float64), values.max(axis=axes).astype(np.float64)
        )
        for layer, values in walk_float(graph, data)
    }


def equalize(
    graph: Graph, ranges: Mapping[str, ChannelRange], *, offsets: bool = True
) -> tuple[Graph, dict[str, str]]:
    """The rewritten network, and for every changed tensor what was done to it.

    Parameters
    ----------
    graph : the float network
    ranges : of `channel_ranges`
    offsets : whether to subtract offsets. What is added back to the next layer's bias belongs to its
        exact weights: only with biases corrected on data do offsets do more good than harm
    """
    notes: dict[str, str] = {}
    layers = {layer.name: layer for layer in graph.layers}
    kept = {output.tensor for output in graph.outputs}
    for name in [layer.name for layer in graph.layers]:
        readers = [other for other in layers.values() if name in other.all_inputs]
        if name in kept or not readers:
            continue
        offset = _offset(layers, kept, name, ranges[name]) if offsets else 0.0
        if offset:
            _subtract(layers, name, offset)
            notes[name] = f"offset {offset:g}"
            continue
        exponents = _exponents(layers[name], readers, ranges[name])
        if exponents.any():
            _scale(layers, name, readers, exponents)
            notes[name] = f"{np.count_nonzero(exponents)} channels scaled"
    return replace(graph, layers=tuple(layers.values())), notes


# ---- offsets -----------------------------------------------------------------------------------


def _offset(layers: Mapping[str, Layer], kept: set[str], name: str, found: ChannelRange) -> float:
    """What to subtract from tensor `name`: half of its range, or 0.0 if nothing can be."""
    layer = layers[name]
    activation = layer.activation
    low, high = activation.lo, min(activation.hi, float(found.high.max()))
    if activation.kind is not ActivationKind.CLIP or not math.isfinite(low) or high <= low:
        return 0.0
    if low < 0.0 or layer.conv is None or not _absorbs(layers, kept, name):
        return 0.0
    half = (high + low) / 2
    # On a grid that any format which holds the tensor has: the lower level is then exact.
    step = 2.0 ** (math.floor(math.log2(half)) - 2)
    return math.floor(half / step + 0.5) * step


def _absorbs(layers: Mapping[str, Layer], kept: set[str], name: str) -> bool:
    """Whether every reader of tensor `name` can make up for a constant subtracted from it."""
    readers = [layer for layer in layers.values() if name in layer.all_inputs]
    return bool(readers) and all(_reader_absorbs(layers, kept, name, r) for r in readers)


def _reader_absorbs(layers: Mapping[str, Layer], kept: set[str], name: str, reader: Layer) -> bool:
    if reader.residual == name:
        return False
    if reader.conv is not None:
        return not any(reader.conv.pads)
    if not _averages(reader) or reader.name in kept:
        return False
    return _absorbs(layers, kept, reader.name)


def _averages(layer: Layer) -> bool:
    """Whether the layer is a plain average of real pixels, which keeps constants."""
    plain = layer.activation.kind is ActivationKind.NONE
    return (
        layer.op is Op.AVG_POOL
        and layer.pool is not None
        and plain
        and not (layer.pool.count_pads and any(layer.pool.pads))
    )


def _subtract(layers: dict[str, Layer], name: str, offset: float) -> None:
    """Subtract `offset` from tensor `name` and make up for it in its readers, in place."""
    layer = layers[name]
    assert layer.conv is not None
    activation = replace(
        layer.activation, lo=layer.activation.lo - offset, hi=layer.activation.hi - offset
    )
    conv = _with(layer.conv, bias=layer.conv.bias.astype(np.float64) - offset)
    layers[name] = replace(layer, conv=conv, activation=activation)
    _add_back(layers, name, offset)


def _add_back(layers: dict[str, Layer], name: str, offset: float) -> None:
    for reader in [layer for layer in layers.values() if name in layer.all_inputs]:
        if reader.conv is None:
            _add_back(layers, reader.name, offset)
            continue
        sums = reader.conv.weight.sum(axis=(1, 2, 3), dtype=np.float64)
        conv = _with(reader.conv, bias=reader.conv.bias + sums * offset)
        layers[reader.name] = replace(reader, conv=conv)


def _with(
    conv: Conv,
    *,
    weight: npt.NDArray[np.floating[Any]] | None = None,
    bias: npt.NDArray[np.floating[Any]] | None = None,
) -> Conv:
    """`conv` with other constants."""
    return replace(
        conv,
        weight=conv.weight if weight is None else weight.astype(np.float32),
        bias=conv.bias if bias is None else bias.astype(np.float32),
    )


# ---- scales ------------------------------------------------------------------------------------


def _exponents(
    layer: Layer, readers: Sequence[Layer], found: ChannelRange
) -> npt.NDArray[np.int64]:
    """Power of two by which to multiply each channel of the layer's output, int64 [C]."""
    none = np.zeros(len(found.high), np.int64)
    activation = layer.activation
    clips = activation.kind is ActivationKind.CLIP
    if layer.conv is None or layer.residual is not None:
        return none
    if clips and (activation.lo not in (0.0, -math.inf) or activation.hi < 0.0):
        return none
    if any(r.kind != "depthwise" or r.residual == layer.name for r in readers):
        return none
    largest = np.maximum(np.abs(found.low), np.abs(found.high))
    with np.errstate(divide="ignore"):
        room = np.floor(np.log2(largest.max() / largest))
    return np.where(np.isfinite(room), np.minimum(room, _LARGEST_SCALE), 0).astype(np.int64)


def _scale(
    layers: dict[str, Layer],
    name: str,
    readers: Sequence[Layer],
    exponents: npt.NDArray[np.int64],
) -> None:
    """Multiply each channel of tensor `name` by 2**exponent, and divide in its readers, in place."""
    layer = layers[name]
    assert layer.conv is not None
    scale = np.exp2(exponents)
    layers[name] = replace(
        layer,
        conv=_with(
            layer.conv,
            weight=layer.conv.weight * scale.reshape(-1, 1, 1, 1),
            bias=layer.conv.bias * scale,
        ),
    )
    for reader in readers:
        assert reader.conv is not None
        weight = reader.conv.weight / scale.reshape(-1, 1, 1, 1)
        layers[reader.name] = replace(reader, conv=_with(reader.conv, weight=weight))
