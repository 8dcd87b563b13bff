"""How far the fixed network is from the float one: per layer, and in accuracy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tilewright.errors import TilewrightError
from tilewright.graph.execute import run_float
from tilewright.graph.ir import Graph
from tilewright.quant.data import check_data, normalize
from tilewright.quant.emulate import exact_in_float32, run_emulated
from tilewright.quant.fixed import FixedGraph
from tilewright.quant.floats import walk_float
from tilewright.quant.reference import quantize_inputs, run_fixed, walk_fixed

__all__ = ["Accuracy", "LayerError", "accuracy", "compare", "right_share", "sqnr_db"]

Array = npt.NDArray[np.generic]
Progress = Callable[[int, int, str], None]

_BATCH_VALUES = 1 << 23


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerError:
    """Difference of one layer's output between float and fixed network.

    Attributes
    ----------
    name : the layer
    sqnr_db : 10 log10(sum float**2 / sum (float - fixed)**2); inf if nothing differs
    max_error : largest |float - fixed|
    saturated : values that the output format's range cut off (not those that the activation limits)
    values : how many values were compared
    """

    name: str
    sqnr_db: float
    max_error: float
    saturated: int
    values: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Top-1 results: how many of `images` each network got right, and where they agree."""

    images: int
    float_correct: int
    fixed_correct: int
    agreeing: int

    @property
    def float_share(self) -> float:
        """Share that the float network gets right."""
        return self.float_correct / self.images

    @property
    def fixed_share(self) -> float:
        """Share that the fixed network gets right."""
        return self.fixed_correct / self.images


def sqnr_db(signal: float, noise: float) -> float:
    """Signal-to-quantization-noise ratio of two sums of squares; inf without noise."""
    if noise == 0.0:
        return math.inf
    return 10.0 * math.log10(signal / noise) if signal > 0.0 else -math.inf


class _Tally:
    def __init__(self) -> None:
        self.signal = self.noise = self.largest = 0.0
        self.saturated = self.values = 0

    def add(
        self, wanted: npt.NDArray[np.float32], got: npt.NDArray[np.float64], saturated: int
    ) -> None:
        difference = np.abs(wanted - got)
        self.signal += float(np.square(wanted, dtype=np.float64).sum())
        self.noise += float(np.square(difference).sum())
        self.largest = max(self.largest, float(difference.max()))
        self.saturated += saturated
        self.values += wanted.size


def compare(
    graph: Graph,
    fixed: FixedGraph,
    inputs: Mapping[str, Array],
    *,
    progress: Progress | None = None,
) -> list[LayerError]:
    """Run both networks on the same images and compare the output of every layer.

    Parameters
    ----------
    graph : the float network (its layers have the names of those of `fixed`)
    fixed : the quantized network
    inputs : raw values [N, C, H, W] of every graph input, before mean and scale
    progress : called as progress(images done, images in all, text)

    Raises
    ------
    TilewrightError
        If the inputs do not fit the network.
    """
    count = check_data(graph, inputs, what="Images")
    tallies = {layer.name: _Tally() for layer in graph.layers}
    size = _batch_size(graph)
    for start in range(0, count, size):
        raw = {name: array[start : start + size] for name, array in inputs.items()}
        wanted = walk_float(graph, {i.name: normalize(i, raw[i.name]) for i in graph.inputs})
        runs = walk_fixed(fixed, quantize_inputs(fixed, raw))
        for (layer, real), run in zip(wanted, runs, strict=True):
            assert layer.name == run.layer.name
            got = run.layer.output.dequantize(run.values)
            tallies[layer.name].add(real, got, run.saturated)
        if progress is not None:
            progress(min(start + size, count), count, "compare float and fixed")
    return [
        LayerError(
            name=name,
            sqnr_db=sqnr_db(t.signal, t.noise),
            max_error=t.largest,
            saturated=t.saturated,
            values=t.values,
        )
        for name, t in tallies.items()
    ]


def accuracy(
    fixed: FixedGraph,
    inputs: Mapping[str, Array],
    labels: Array,
    *,
    output: str | None = None,
    progress: Progress | None = None,
) -> Accuracy:
    """Top-1 accuracy of the float and the fixed network on labelled images.

    Parameters
    ----------
    fixed : the quantized network; its `graph` is the float one
    inputs : raw values [N, C, H, W] of every graph input, before mean and scale
    labels : integers [N]
    output : the graph output whose largest value is the answer (of equal ones, the first); may be
        left out if there is one output
    progress : called as progress(images done, images in all, text)

    Raises
    ------
    TilewrightError
        If inputs or labels do not fit the network, or `output` is no output of it.
    """
    graph = fixed.graph
    count = check_data(graph, inputs, what="Test images")
    tensor = output_tensor(graph, output)
    check_labels(labels, count, math.prod(graph.shapes[tensor]))
    size = _batch_size(graph)
    float_correct = fixed_correct = agreeing = 0
    for start in range(0, count, size):
        part = slice(start, start + size)
        raw = {name: array[part] for name, array in inputs.items()}
        network_sees = {i.name: normalize(i, raw[i.name]) for i in graph.inputs}
        wanted = _answers(run_float(graph, network_sees, keep=[tensor])[tensor])
        got = _answers(run_fixed(fixed, quantize_inputs(fixed, raw), keep=[tensor])[tensor])
        float_correct += int(np.count_nonzero(wanted == labels[part]))
        fixed_correct += int(np.count_nonzero(got == labels[part]))
        agreeing += int(np.count_nonzero(got == wanted))
        if progress is not None:
            progress(min(start + size, count), count, "accuracy of float and fixed")
    return Accuracy(
        images=count,
        float_correct=float_correct,
        fixed_correct=fixed_correct,
        agreeing=agreeing,
    )


def right_share(network: Graph | FixedGraph, inputs: Mapping[str, Array], labels: Array) -> float:
    """Share of the labelled images that a float or a fixed network with one output gets right.

    Parameters
    ----------
    inputs, labels : as for `accuracy`

    Raises
    ------
    TilewrightError
        If inputs or labels do not fit the network.
    """
    graph = network.graph if isinstance(network, FixedGraph) else network
    count = check_data(graph, inputs, what="Test images")
    tensor = output_tensor(graph, None)
    check_labels(labels, count, math.prod(graph.shapes[tensor]))
    size, right = _batch_size(graph), 0
    fast = isinstance(network, FixedGraph) and exact_in_float32(network)
    for start in range(0, count, size):
        raw = {name: array[start : start + size] for name, array in inputs.items()}
        scores: Mapping[str, Array]
        if isinstance(network, FixedGraph):
            scores = _fixed_scores(network, raw, tensor, fast=fast)
        else:
            seen = {i.name: normalize(i, raw[i.name]) for i in graph.inputs}
            scores = run_float(graph, seen, keep=[tensor])
        answers = _answers(scores[tensor])
        right += int(np.count_nonzero(answers == labels[start : start + size]))
    return right / count


def _fixed_scores(
    fixed: FixedGraph, raw: Mapping[str, Array], tensor: str, *, fast: bool
) -> dict[str, Array]:
    """Values of `tensor`: integers, or if `fast` the same as real numbers in a third of the time."""
    integers = quantize_inputs(fixed, raw)
    if not fast:
        return dict(run_fixed(fixed, integers, keep=[tensor]))
    real = {name: fixed.formats[name].dequantize(q) for name, q in integers.items()}
    with torch.inference_mode():
        seen = {name: torch.from_numpy(x.astype(np.float32)) for name, x in real.items()}
        return {tensor: run_emulated(fixed, seen)[tensor].numpy()}


def _answers(scores: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    answers: npt.NDArray[np.int64] = scores.reshape(len(scores), -1).argmax(axis=1)
    return answers


def _batch_size(graph: Graph) -> int:
    largest = max(math.prod(shape) for shape in graph.shapes.values())
    return max(1, min(256, _BATCH_VALUES // largest))


def output_tensor(graph: Graph, name: str | None) -> str:
    """Tensor of the graph output called `name`, or of the only one if None; else TilewrightError."""
    known = {o.name: o.tensor for o in graph.outputs}
    if name is None and len(known) == 1:
        return next(iter(known.values()))
    if name not in known:
        found = "none was named" if name is None else f"{name!r} is none of them"
        raise TilewrightError(
            f"Accuracy needs one of the network's outputs, {', '.join(known)}; {found}"
        )
    return known[name]


def check_labels(labels: Array, count: int, classes: int) -> None:
    """Raise TilewrightError unless there is an integer in 0..classes - 1 for each of `count` images."""
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
        raise TilewrightError(
            f"Labels must be {count} integers, one per image, not {labels.dtype} of shape "
            f"{list(labels.shape)}"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise TilewrightError(
            f"Labels must be in 0..{classes - 1}, one per class that the network tells apart, not "
            f"in {labels.min()}..{labels.max()}"
        )
