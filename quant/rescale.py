"""Rescaling: multiplying feature maps so that powers of two fit them, and the weights that make them.

A format whose step is a power of two fits what it holds within a factor of two; on average half of
that, 3 dB, is lost against a step that may be anything. Yet the unit of a channel is nobody's business
but its makers' and readers': multiplying the weights of one and dividing those of the other keeps what
the network computes ("Data-Free Quantization", Nagel et al., ICCV 2019, section 4.1.1). So every map
gets the factor with which its values fill its format, and then every channel one of its own, close to
1, with which the weights that make it fill theirs, as long as each channel's weights have a fractional
length of their own. The hardware sees nothing of all this.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilewright.graph.ir import ActivationKind, Conv, Graph, Layer
from tilewright.quant.columns import fit_columns
from tilewright.quant.config import QuantConfig
from tilewright.quant.floats import walk_float
from tilewright.quant.formats import MIN_BITS
from tilewright.quant.samples import draw_windows
from tilewright.quant.scales import groups, multiply_channels, multiply_tensors

__all__ = ["rescale"]

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]

_STEPS = 16
"""Factors in an octave."""
_DEPTH = 5
"""Octaves of formats tried, from the one that holds the largest value on."""
_SAMPLES = 1 << 18
"""Values of a map that are looked at."""
_WEIGHTS = 1 << 11
"""Weights of a channel that are looked at."""
_HEADROOM = 8.0
"""How far below an upper limit a channel must stay on the calibration images, scaled or not, to be
scaled: other images reach further, and would be cut off elsewhere than in the given network."""
_CUT = 4.0
"""Weight of what is cut off against what is rounded: it has the same sign each time, adds up in what is
computed from it, and is more on images that were not calibrated on."""
_LOWEST = 0.5
"""Least factor of a channel that is chosen for the weights that read it; the largest is 1 over it."""
_OCTAVE = 2.0 ** (np.arange(_STEPS) / _STEPS)
_AROUND = 2.0 ** (np.arange(-_STEPS // 2, _STEPS // 2) / _STEPS)


@dataclass(frozen=True, slots=True, eq=False)
class _Map:
    """What is known of a map.

    Attributes
    ----------
    values : of some pixels [C, n]
    high : the largest of each channel, of all pixels [C]
    bits : of a value without its sign
    """

    values: DoubleArray
    high: DoubleArray
    bits: int

    def __mul__(self, factor: float) -> _Map:
        return _Map(self.values * factor, self.high * factor, self.bits)


def rescale(
    graph: Graph, data: Mapping[str, FloatArray], config: QuantConfig
) -> tuple[Graph, dict[str, str]]:
    """The rewritten network, and for every changed tensor in words what was done to it.

    Parameters
    ----------
    graph : the float network
    data : normalized images, float32 [N, C, H, W] by input
    config : bits of feature maps and weights, whether maps may be unsigned, and whether channels'
        weights have fractional lengths of their own: only then do channels get factors
    """
    maps: dict[str, _Map] = {}
    by_channel = list(groups(graph)) if config.per_channel else []
    others = {layer.name for layer in graph.layers}.difference(*by_channel)
    coarser = [_coarser(graph, group, others, config) for group in by_channel]
    windows: dict[str, DoubleArray] = {}
    for layer, values in walk_float(graph, data):
        for reader in (x for x in coarser if x is not None and x.inputs[0] == layer.name):
            windows[reader.name] = draw_windows(reader, values)
        few = _sample(values)
        signed = not config.unsigned or bool(values.min() < 0.0)
        high = values.max(axis=(0, 2, 3)).astype(np.float64)
        maps[layer.name] = _Map(few, high, config.features(layer.name, layer) - signed)
    notes: dict[str, str] = {}
    limits: dict[str, float] = {}
    multiplied: dict[str, float] = {}
    for group in groups(graph, each_channel=False):
        factor = _fit_maps(graph, group, maps, others, config)
        graph = multiply_tensors(graph, group, factor)
        for name in group:
            maps[name] *= factor
            limits[name], multiplied[name] = _limit(maps[name]), factor
            if factor != 1.0:
                notes[name] = f"multiplied by {factor:.3f}"
    pairs = list(zip(by_channel, coarser, strict=True))
    # Rows of a hidden reader get their factors before its columns do.
    pairs.sort(key=lambda pair: pair[1] is not None and pair[1].name not in others)
    for group, read_by in pairs:
        if read_by is None:
            factors = _fit_channels(graph, group, maps, limits, config)
        else:
            factors = fit_columns(
                graph.layer(read_by.name),
                config.weights(read_by),
                multiplied[read_by.inputs[0]] * windows[read_by.name],
                _bounds(graph, group, maps, limits),
                importance=_importance(graph, read_by.name),
                learned=config.rounding == "learned",
            )
        graph = multiply_channels(graph, group, factors)
        for name in group if (factors != 1.0).any() else ():
            channels = f"channels by {factors.min():.2f} to {factors.max():.2f}"
            notes[name] = f"{notes[name]}, {channels}" if name in notes else channels
    return graph, notes


def _sample(values: FloatArray) -> DoubleArray:
    """Values [C, n] of at most `_SAMPLES / C` pixels, the same ones in every run.

    Each channel's largest magnitude over all pixels comes last: it says how far the format must reach
    not to cut anything off, and a sample of pixels seldom holds it.
    """
    images, channels, height, width = values.shape
    pixels = images * height * width
    count = min(pixels, max(1, _SAMPLES // channels))
    chosen = np.random.default_rng(0).choice(pixels, count, replace=False, shuffle=False)
    image, pixel = np.divmod(chosen, height * width)
    few = values.reshape(images, channels, -1)[image, :, pixel].T
    largest = np.abs(values).max(axis=(0, 2, 3))[:, None]
    sample: DoubleArray = np.append(few, largest, axis=1).astype(np.float64)
    return sample


def _fit_maps(
    graph: Graph,
    group: list[str],
    maps: Mapping[str, _Map],
    others: Collection[str],
    config: QuantConfig,
) -> float:
    """Factor in [1, 2) of least summed error, each relative to its map's energy.

    The weights of layers in `others`, which make or read a map of the group and whose channels get no
    factors of their own, count too.
    """
    total = np.zeros(_STEPS)
    for name in group:
        values, bits = maps[name].values, maps[name].bits
        total += _errors(values, _octaves(values)[:, None] / _OCTAVE, bits).min(axis=0)
    for layer in graph.layers:
        if layer.conv is not None and layer.name in others:
            for near, factors in ((layer.name, _OCTAVE), (layer.inputs[0], 1.0 / _OCTAVE)):
                if near in group:
                    bits = config.weights(layer)
                    total += _weight_errors(layer.conv, bits, factors, config.per_channel).mean(0)
    return float(_OCTAVE[total.argmin()])


def _coarser(
    graph: Graph, group: Collection[str], others: Collection[str], config: QuantConfig
) -> Layer | None:
    """A last layer (of `others`) or fully connected one that reads the group by fewer bits than make it.

    Its weights are dense, and have fewer bits than those of all layers that make the group.
    """
    layers = [layer for layer in graph.layers if layer.conv is not None]
    made = min((config.weights(x) for x in layers if x.name in group), default=MIN_BITS)
    for layer in layers:
        last = layer.name in others or layer.kind == "fc"
        if last and layer.inputs[0] in group and config.weights(layer) < made:
            assert layer.conv is not None
            if layer.conv.groups == 1:
                return layer
    return None


def _importance(graph: Graph, name: str) -> DoubleArray:
    """What a squared error in each channel of a map adds to that of the dense layers that read it, [C].

    1 for all channels where no such layer does.
    """
    found = np.zeros(graph.shapes[name][0])
    for reader in graph.layers:
        if reader.conv is not None and reader.inputs[0] == name and reader.conv.groups == 1:
            found += np.square(reader.conv.weight, dtype=np.float64).sum(axis=(0, 2, 3))
    return found if found.any() else np.ones(len(found))


def _bounds(
    graph: Graph, group: Collection[str], maps: Mapping[str, _Map], limits: Mapping[str, float]
) -> tuple[DoubleArray, DoubleArray]:
    """Least and largest factor of each channel [C] with which the group's maps stay in their formats.

    1 for channels that come near to the upper limit of a layer.
    """
    channels = graph.shapes[next(iter(group))][0]
    lowest, highest = np.full(channels, _LOWEST), np.full(channels, 1.0 / _LOWEST)
    for name in group:
        largest = np.maximum(np.abs(maps[name].values).max(axis=1), 1e-30)
        highest = np.minimum(highest, np.maximum(limits[name] / largest, 1.0))
        fixed = ~_allowed(graph.layer(name), maps[name].high, 1.0 / _LOWEST)
        lowest[fixed] = highest[fixed] = 1.0
    return lowest, highest


def _limit(each: _Map) -> float:
    """Power of two at which the map's format of least error ends."""
    limits = _octaves(each.values)
    return float(limits[_errors(each.values, limits, each.bits).argmin()])


def _octaves(values: DoubleArray) -> DoubleArray:
    """Powers of two at which formats may end: [_DEPTH], the first twice what holds everything."""
    largest = float(np.abs(values).max(initial=0.0)) or 1.0
    return np.ldexp(2.0, math.ceil(math.log2(largest)) - np.arange(_DEPTH))


def _fit_channels(
    graph: Graph,
    group: list[str],
    maps: Mapping[str, _Map],
    limits: Mapping[str, float],
    config: QuantConfig,
) -> DoubleArray:
    """Factor of least error for each channel of a group, float64 [C].

    What counts is the error of the channel's values and of the weights behind them, each relative to
    its energy; also of a depthwise convolution's weights that read the channel, which are divided.
    """
    total = np.zeros((graph.shapes[group[0]][0], len(_AROUND)))
    for name in group:
        layer, each = graph.layer(name), maps[name]
        total += np.stack([_errors(x, limits[name] / _AROUND, each.bits) for x in each.values])
        total[~_allowed(layer, each.high[:, None], _AROUND)] = np.inf
        if layer.conv is not None:
            total += _weight_errors(layer.conv, config.weights(layer), _AROUND)
    for reader in graph.layers:
        if reader.kind == "depthwise" and reader.inputs[0] in group and reader.conv is not None:
            total += _weight_errors(reader.conv, config.weights(reader), 1.0 / _AROUND)
    factors: DoubleArray = _AROUND[total.argmin(axis=1)]
    return factors


def _allowed(
    layer: Layer, high: DoubleArray, factors: DoubleArray | float
) -> npt.NDArray[np.bool_]:
    """Which factors keep channels, the largest value of each given, off the layer's upper limit."""
    reach = high * np.maximum(factors, 1.0) * _HEADROOM
    limit = layer.activation.hi if layer.activation.kind is ActivationKind.CLIP else math.inf
    allowed: npt.NDArray[np.bool_] = (reach <= limit) | (np.asarray(factors) == 1.0)
    return allowed


def _weight_errors(
    conv: Conv, bits: int, factors: DoubleArray, per_channel: bool = True
) -> DoubleArray:
    """Relative error of each output channel's weights times each factor: [O, len(factors)].

    Where channels share one fractional length, it is that of all weights: [1, len(factors)].
    """
    rows = conv.weight.reshape(len(conv.weight) if per_channel else 1, -1).astype(np.float64)
    if rows.shape[1] > _WEIGHTS:
        chosen = np.random.default_rng(0).choice(rows.shape[1], _WEIGHTS, replace=False)
        rows = rows[:, chosen]
    return np.stack(
        [_errors(row, _octaves(row)[:, None] / factors, bits - 1).min(axis=0) for row in rows]
    )


def _errors(values: DoubleArray, limits: DoubleArray, bits: int) -> DoubleArray:
    """Squared error over energy in formats of `bits` bits that end at `limits`; of their shape.

    A value within is off by a twelfth of the squared step on average, and by nothing if it is zero;
    one beyond by what is cut off.
    """
    sizes = np.sort(np.abs(values[values != 0.0]))
    if not sizes.size:
        return np.zeros(limits.shape)
    inside = np.searchsorted(sizes, limits, side="right")
    sums, squares = (np.append(np.cumsum(sizes[::-1] ** n)[::-1], 0.0) for n in (1, 2))
    cut = squares[inside] - 2.0 * limits * sums[inside] + (len(sizes) - inside) * limits**2
    rounded = inside * (limits / 2.0**bits) ** 2 / 12.0
    error: DoubleArray = (rounded + _CUT * cut) / squares[0]
    return error
