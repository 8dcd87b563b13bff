"""Loss of accuracy layer by layer: how far the network comes with its first layers in fixed point."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from tilewright.quant.data import normalize
from tilewright.quant.emulate import emulate_layer, quantize_real
from tilewright.quant.fixed import FixedGraph
from tilewright.quant.floats import float_layer, walk_float
from tilewright.quant.metrics import check_labels, output_tensor, sqnr_db

__all__ = ["LayerLoss", "images_within", "layer_losses"]

Array = npt.NDArray[np.generic]
Progress = Callable[[int, int, str], None]

_MACS = 4e11
"""Multiply-accumulates that are spent unasked: half a minute of a core."""
_IMAGES = 256
_BATCH_VALUES = 1 << 23


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerLoss:
    """The network with all layers up to this one in fixed point, and the rest in float.

    Attributes
    ----------
    name : the last fixed layer
    images : how many were run
    correct : how many of them it labels rightly
    float_correct : how many the float network labels rightly
    sqnr_db : of the output, against the float network's
    """

    name: str
    images: int
    correct: int
    float_correct: int
    sqnr_db: float

    @property
    def loss(self) -> float:
        """Share of the images that it loses against float; negative where it wins."""
        return (self.float_correct - self.correct) / self.images


def images_within(fixed: FixedGraph) -> int:
    """How many images `layer_losses` can run in half a minute, 256 at most; 0 if it cannot run one."""
    graph = fixed.graph
    macs = sum(graph.macs(layer) for layer in graph.layers)
    return min(_IMAGES, int(_MACS / max(1, macs * len(graph.layers) / 2)))


def layer_losses(
    fixed: FixedGraph,
    inputs: Mapping[str, Array],
    labels: Array,
    *,
    output: str | None = None,
    progress: Progress | None = None,
) -> list[LayerLoss]:
    """Accuracy with the first 1, 2, ... layers in fixed point.

    Parameters
    ----------
    fixed : the quantized network; its `graph` is the float one
    inputs : raw values [N, C, H, W] of every graph input, before mean and scale
    labels : integers [N]
    output : the graph output that answers; may be left out if there is one
    progress : called as progress(images done, images in all, text)

    Raises
    ------
    TilewrightError
        If inputs or labels do not fit the network, or `output` is no output of it.
    """
    graph = fixed.graph
    tensor = output_tensor(graph, output)
    count = len(next(iter(inputs.values())))
    check_labels(labels, count, math.prod(graph.shapes[tensor]))
    right = np.zeros(len(fixed.layers), np.int64)
    noise = np.zeros(len(fixed.layers))
    float_right, signal = 0, 0.0
    largest = max(math.prod(shape) for shape in graph.shapes.values())
    size = max(1, min(64, _BATCH_VALUES // largest))
    for start in range(0, count, size):
        part = slice(start, start + size)
        seen = {i.name: normalize(i, inputs[i.name][part]) for i in graph.inputs}
        wanted = {layer.name: value for layer, value in walk_float(graph, seen)}[tensor]
        float_right += _right(wanted, labels[part])
        signal += float(np.square(wanted, dtype=np.float64).sum())
        for index, scores in enumerate(_outputs(fixed, seen, tensor)):
            right[index] += _right(scores, labels[part])
            noise[index] += float(np.square(scores - wanted, dtype=np.float64).sum())
        if progress is not None:
            progress(min(start + size, count), count, "loss layer by layer")
    return [
        LayerLoss(
            name=layer.name,
            images=count,
            correct=int(right[index]),
            float_correct=float_right,
            sqnr_db=sqnr_db(signal, float(noise[index])),
        )
        for index, layer in enumerate(fixed.layers)
    ]


def _outputs(
    fixed: FixedGraph, seen: Mapping[str, npt.NDArray[np.float32]], tensor: str
) -> list[npt.NDArray[np.float32]]:
    """Output `tensor` with the first 1, 2, ... layers in fixed point, the rest in float."""
    values = {}
    for name, x in seen.items():
        form = fixed.formats[name]
        values[name] = quantize_real(torch.from_numpy(x), 2.0**form.frac, form.min, form.max)
    results = []
    with torch.inference_mode():
        for index, layer in enumerate(fixed.layers):
            xs = [values[name] for name in layer.layer.all_inputs]
            _, height, width = fixed.graph.shapes[layer.layer.inputs[0]]
            values[layer.name] = emulate_layer(layer, xs, fixed.formats, shape=(height, width))
            mixed = {name: value.numpy() for name, value in values.items()}
            for later in fixed.graph.layers[index + 1 :]:
                mixed[later.name] = float_layer(later, [mixed[n] for n in later.all_inputs])
            results.append(mixed[tensor])
    return results


def _right(scores: npt.NDArray[np.float32], labels: Array) -> int:
    return int(np.count_nonzero(scores.reshape(len(scores), -1).argmax(axis=1) == labels))
