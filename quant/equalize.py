"""Equalization: rewriting the float network so that its feature maps suit fixed point better.

Both rewrites keep what the network computes (up to float rounding) and cost nothing in hardware:

- *offsets*: values that an activation limits from below use half of a signed format only. Half of
  their range is subtracted where everything that reads them can add it back to its bias: convolutions
  without padding, directly or behind an average. One more bit for such feature maps. (After "bias
  absorption", Nagel et al., "Data-Free Quantization", ICCV 2019, section 4.1.3.)
- *scales*: channels of small range are multiplied by a power of two, and the next weights divided by
  it, see `tilewright.quant.scales`. ("Cross-layer equalization", same paper, section 4.1.1.) The
  scaled channels of a clipped layer are then clipped at or above the largest value that the
  calibration images gave them, instead of where all channels are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tilewright.graph.ir import ActivationKind, Graph, Layer, Op
from tilewright.quant.floats import walk_float
from tilewright.quant.scales import ChannelRange, changed, scale_channels

__all__ = ["ChannelRange", "channel_ranges", "equalize"]

FloatArray = npt.NDArray[np.float32]


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
    if offsets:
        layers = {layer.name: layer for layer in graph.layers}
        kept = {output.tensor for output in graph.outputs}
        for name in layers:
            offset = 0.0 if name in kept else _offset(layers, kept, name, ranges[name])
            if offset:
                _subtract(layers, name, offset)
                notes[name] = f"offset {offset:g}"
        graph = replace(graph, layers=tuple(layers.values()))
    graph, scaled = scale_channels(graph, ranges)
    return graph, notes | scaled


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
    conv = changed(layer.conv, bias=layer.conv.bias.astype(np.float64) - offset)
    layers[name] = replace(layer, conv=conv, activation=activation)
    _add_back(layers, name, offset)


def _add_back(layers: dict[str, Layer], name: str, offset: float) -> None:
    for reader in [layer for layer in layers.values() if name in layer.all_inputs]:
        if reader.conv is None:
            _add_back(layers, reader.name, offset)
            continue
        sums = reader.conv.weight.sum(axis=(1, 2, 3), dtype=np.float64)
        conv = changed(reader.conv, bias=reader.conv.bias + sums * offset)
        layers[reader.name] = replace(reader, conv=conv)
