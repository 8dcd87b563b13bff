"""Static precision, the baseline: one fractional length for all weights, one for all features.

"Going Deeper with Embedded FPGA Platform for CNN" (FPGA 2016), section 5, compares its dynamic
precision with this. To be a fair baseline the pair is searched, not guessed: the three best
fractional lengths of the weights, and of the float network's feature maps, by the error relative to
each tensor's magnitude summed over all tensors; then the pair of them with which the fixed network
has the least error at its outputs, on at most 8 calibration images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from tilewright.errors import TilewrightError
from tilewright.graph.ir import Graph
from tilewright.quant.candidates import Candidate, Step, initial_frac, neighbourhood
from tilewright.quant.config import QuantConfig
from tilewright.quant.floats import walk_float
from tilewright.quant.search import Progress, Search, SearchResult
from tilewright.quant.weights import rounding_errors

__all__ = ["search_static"]

_SHORTLIST = 3
_IMAGES = 8

FloatArray = npt.NDArray[np.float32]


def search_static(
    graph: Graph,
    data: Mapping[str, FloatArray],
    config: QuantConfig,
    progress: Progress | None = None,
) -> SearchResult:
    """Best static pair, and the network quantized with it; raises TilewrightError if none fits."""
    few = {name: values[:_IMAGES] for name, values in data.items()}
    weights = _shortlist(lambda: _weight_tensors(graph, config), config)
    features = _shortlist(lambda: _feature_tensors(graph, few, config), config)
    errors: dict[tuple[int, int], float] = {}
    refusal: TilewrightError | None = None
    for w in weights:
        for x in features:
            search = Search(graph, few, config, weight_frac=w, feature_frac=x)
            try:
                errors[w, x] = search.run().output_error
            except TilewrightError as error:
                refusal = error
    if not errors:
        assert refusal is not None
        raise refusal
    w, x = min(errors, key=lambda pair: (errors[pair], pair))
    result = Search(graph, data, config, weight_frac=w, feature_frac=x, progress=progress).run()
    head = (_step("weights", 0, errors, w), _step("features", 1, errors, x))
    return SearchResult(result.fixed, head + result.log, result.output_error)


def _step(kind: str, side: int, errors: Mapping[tuple[int, int], float], frac: int) -> Step:
    """Log entry: each frac with the least output error among the pairs that have it."""
    best: dict[int, float] = {}
    for pair, error in errors.items():
        best[pair[side]] = min(error, best.get(pair[side], float("inf")))
    candidates = tuple(Candidate(f, best[f]) for f in sorted(best))
    note = "relative error of the network's outputs"
    return Step(
        tensor="all",
        kind=kind,
        bits=0,
        initial=frac,
        candidates=candidates,
        frac=frac,
        note=note,
    )


def _weight_tensors(graph: Graph, config: QuantConfig) -> list[tuple[FloatArray, int]]:
    return [
        (layer.conv.weight, config.weights(layer))
        for layer in graph.layers
        if layer.conv is not None
    ]


def _feature_tensors(
    graph: Graph, data: Mapping[str, FloatArray], config: QuantConfig
) -> Iterator[tuple[FloatArray, int]]:
    for name, values in data.items():
        yield values, config.features(name)
    for layer, values in walk_float(graph, data):
        yield values, config.features(layer.name, layer)


def _shortlist(
    tensors: Callable[[], Iterable[tuple[FloatArray, int]]], config: QuantConfig
) -> list[int]:
    """Fractional lengths of least summed relative error; `tensors` gives the tensors anew."""
    initial = [initial_frac(float(v.min()), float(v.max()), bits) for v, bits in tensors()]
    if not initial:
        return [0]
    first = neighbourhood(min(initial), config)[0]
    last = neighbourhood(max(initial), config)[-1]
    fracs = range(first, last + 1)
    total = np.zeros(len(fracs))
    for values, bits in tensors():
        magnitude = float(np.abs(values).sum(dtype=np.float64))
        if magnitude > 0.0:
            total += rounding_errors(values, bits, fracs) / magnitude
    return [fracs[i] for i in np.argsort(total, kind="stable")[:_SHORTLIST]]
