"""Finding every fractional length: dynamic precision, and the core that static precision shares.

The method is that of "Going Deeper with Embedded FPGA Platform for CNN" (FPGA 2016), section 5.2:
a weight phase, then a data phase that goes greedily from layer to layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from tilewright.graph.ir import ActivationKind, Graph, Layer, Op
from tilewright.quant.accumulator import Accumulator, accumulator_bound, as_tensor
from tilewright.quant.adapt import adapt
from tilewright.quant.candidates import Step, choose, initial_frac, neighbourhood
from tilewright.quant.config import QuantConfig
from tilewright.quant.constants import clip_range, fix_layer
from tilewright.quant.features import (
    absolute,
    can_be_negative,
    class_scores,
    divergence,
    feature_step,
    noted,
    requantizing_errors,
    squared,
)
from tilewright.quant.fit import fit_weights, refusal
from tilewright.quant.fixed import FixedGraph, FixedLayer
from tilewright.quant.floats import float_layer
from tilewright.quant.formats import QFormat
from tilewright.quant.reference import postprocess
from tilewright.quant.resume import Keeper, SearchState
from tilewright.quant.trial import Chunks, FloatArray, Trial, output_error, stored_map
from tilewright.quant.weights import rounding_errors, weight_step

__all__ = ["Progress", "Search", "SearchResult"]

Progress = Callable[[int, int, str], None]
"""Called with (steps done, steps in all, what was done last)."""

_CHUNK_VALUES = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class SearchResult:
    """A quantized network, the log, and its relative error on the calibration data.

    `output_error` is sum |y_float - y_fixed| / sum |y_float|, added up over the graph outputs.
    """

    fixed: FixedGraph
    log: tuple[Step, ...]
    output_error: float


class Search:
    """One run of the search over checked, normalized calibration data.

    Parameters
    ----------
    graph : the float network
    data : float32 [N, C, H, W] of every graph input
    config : bits and neighbourhood
    weight_frac, feature_frac : the one candidate of all weights and of all feature maps, for static
        precision; None searches each tensor's own neighbourhood
    progress : called after each step
    keeper : keeps the state after each layer, and may have one to go on from; None: neither
    """

    def __init__(
        self,
        graph: Graph,
        data: Mapping[str, FloatArray],
        config: QuantConfig,
        *,
        weight_frac: int | None = None,
        feature_frac: int | None = None,
        progress: Progress | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        self._graph = graph
        self._keeper = keeper
        self._config = config
        self._weight_frac = weight_frac
        self._feature_frac = feature_frac
        self._progress = progress
        self._log: list[Step] = []
        movable = weight_frac is None and not config.static
        self._squared = movable and config.squared
        self._adapts = movable and config.corrects
        self._unsigned = movable and config.unsigned
        self._joint = movable and config.joint
        self._scores = class_scores(graph, config) if movable else frozenset[str]()
        bits = [config.weights(x) for x in graph.layers if x.conv is not None]
        self._most_bits = max(bits, default=0)
        self._steps = len(graph.inputs) + len(graph.layers) + len(bits) * (1 + self._adapts)
        self._formats: dict[str, QFormat] = {}
        self._floats: dict[str, list[FloatArray]] = {}
        self._fixed: dict[str, Chunks] = {}
        self._data = data
        self._last = {n: i for i, x in enumerate(graph.layers) for n in x.all_inputs}
        self._last.update({o.tensor: len(graph.layers) for o in graph.outputs})

    def run(self) -> SearchResult:
        """Run the weight phase, then the data phase."""
        with torch.inference_mode():
            return self._run()

    def _run(self) -> SearchResult:
        weights = {x.name: self._weights(x) for x in self._graph.layers if x.conv is not None}
        for name in self._data:
            self._input(name)
        layers = self._resume()
        for layer in self._graph.layers[len(layers) :]:
            layers.append(self._layer(layer, weights.get(layer.name)))
            self._forget(len(layers))
            if self._keeper is not None:
                self._keeper.keep(SearchState(layers=tuple(layers), log=tuple(self._log)))
        fixed = FixedGraph(graph=self._graph, formats=self._formats, layers=tuple(layers))
        names = {o.tensor for o in self._graph.outputs}
        error = output_error(
            [self._floats[n] for n in names],
            [self._fixed[n] for n in names],
            [2.0 ** -self._formats[n].frac for n in names],
        )
        return SearchResult(fixed, tuple(self._log), error)

    def _resume(self) -> list[FixedLayer]:
        """Layers that an interrupted search had done, after running them once more."""
        state = None if self._keeper is None else self._keeper.load()
        if state is None:
            return []
        for done, fixed in enumerate(state.layers, 1):
            accs, wanted = self._compute(fixed)
            self._formats[fixed.name] = fixed.output
            self._store(fixed, accs, wanted)
            self._forget(done)
        self._log = list(state.log)
        return list(state.layers)

    def _forget(self, done: int) -> None:
        """Drop the maps that nothing after the first `done` layers reads."""
        for name in [n for n in self._fixed if self._last.get(n, -1) < done]:
            del self._fixed[name], self._floats[name]

    def _record(self, step: Step) -> None:
        self._log.append(step)
        if self._progress is not None:
            self._progress(min(len(self._log), self._steps), self._steps, str(step))

    def _weights(self, layer: Layer) -> Step:
        fracs = None if self._weight_frac is None else (self._weight_frac,)
        step = weight_step(layer, self._config, fracs)
        self._record(step)
        return step

    def _candidates(self, initial: int) -> tuple[int, ...]:
        if self._feature_frac is not None:
            return (self._feature_frac,)
        return neighbourhood(initial, self._config)

    def _input(self, name: str) -> None:
        values, bits = self._data[name], self._config.features(name)
        low, high = float(values.min()), float(values.max())
        signed = low < 0.0 or not self._unsigned
        initial = initial_frac(low, high, bits, signed=signed)
        fracs = self._candidates(initial)
        errors = rounding_errors(values, bits, fracs, squared=self._squared, signed=signed)
        frac, candidates = choose(fracs, errors.tolist())
        form = self._formats[name] = QFormat(bits, frac, signed)
        size = self._chunk_images()
        parts = [values[start : start + size] for start in range(0, len(values), size)]
        self._floats[name] = parts
        self._fixed[name] = [stored_map(form, form.quantize(p)) for p in parts]
        self._record(feature_step(name, bits, initial, frac, candidates))

    def _chunk_images(self) -> int:
        largest = max(int(np.prod(shape)) for shape in self._graph.shapes.values())
        return max(1, _CHUNK_VALUES // largest)

    def _layer(self, layer: Layer, weights: Step | None) -> FixedLayer:
        bits = self._config.features(layer.name, layer)
        signed = not self._unsigned or can_be_negative(layer, self._formats)
        blank, best = QFormat(bits, 0, signed), None
        for offered in self._offers(weights):
            found = self._try(layer, blank, offered)
            if best is None or found.error < best.error:
                best = found
        assert best is not None
        fixed, accs, wanted, step = best.fixed, best.accs, best.wanted, best.step
        for taken in best.log:
            self._record(taken)
        output = QFormat(bits, step.frac, signed)
        lo, hi = clip_range(layer.activation, output)
        fixed = replace(fixed, output=output, lo=lo, hi=hi)
        self._formats[layer.name] = output
        self._record(noted(step, wanted, self._store(fixed, accs, wanted)))
        return fixed

    def _offers(self, weights: Step | None) -> Iterator[Step | None]:
        """Fractional lengths of a layer's weights to try: what the weight phase chose, and around it."""
        yield weights
        if weights is not None and self._joint:
            for change in (-1, 1):
                channels = tuple(frac + change for frac in weights.channels)
                note = "chosen together with the output's"
                yield replace(weights, frac=weights.frac + change, channels=channels, note=note)

    def _try(self, layer: Layer, output: QFormat, weights: Step | None) -> Trial:
        """A layer with these weights' fractional lengths and the best format for what it stores."""
        log: list[Step] = []
        fixed = self._fit(layer, output, weights, log)
        accs, wanted = self._compute(fixed)
        step = self._choose(fixed, accs, wanted)
        return Trial(fixed, accs, wanted, step, log)

    def _compute(self, fixed: FixedLayer) -> tuple[Chunks, list[FloatArray]]:
        """A layer's exact accumulators, and its results in the float network."""
        layer = fixed.layer
        inputs = [self._floats[n] for n in layer.all_inputs]
        wanted = [float_layer(layer, xs) for xs in zip(*inputs, strict=True)]
        accumulate = Accumulator(fixed, self._formats)
        sources = [self._fixed[n] for n in layer.all_inputs]
        return [accumulate(xs) for xs in zip(*sources, strict=True)], wanted

    def _store(self, fixed: FixedLayer, accs: Chunks, wanted: list[FloatArray]) -> int:
        """Keep a layer's maps for its readers; returns how many values saturate."""
        stored = [postprocess(fixed, acc.to(torch.int64).numpy()) for acc in accs]
        self._floats[fixed.name] = wanted
        self._fixed[fixed.name] = [stored_map(fixed.output, q) for q, _ in stored]
        return sum(saturated for _, saturated in stored)

    def _fit(
        self, layer: Layer, output: QFormat, weights: Step | None, log: list[Step]
    ) -> FixedLayer:
        """Fixed-point form of `layer`, with a smaller weight frac where accumulators ask for it.

        What was decided is added to `log`.
        """
        build = partial(
            fix_layer,
            layer,
            self._formats,
            output,
            shape=self._graph.shapes[layer.inputs[0]],
            channels=self._graph.shapes[layer.name][0],
            weight_bits=8 if weights is None else weights.bits,
        )
        acc_bits = self._config.acc_bits
        if weights is None:
            fixed = build()
            bound = accumulator_bound(fixed, self._formats)
            if bound >= 1 << (acc_bits - 1):
                raise refusal(fixed, bound, acc_bits)
            return fixed
        movable = self._weight_frac is None
        fixed, step = fit_weights(build, self._formats, weights, acc_bits=acc_bits, movable=movable)
        if step.note:
            log.append(step)
        if not self._adapts:
            return fixed
        adapted, step = adapt(
            fixed,
            build,
            self._formats,
            self._config,
            [self._floats[n] for n in layer.all_inputs],
            [self._fixed[n] for n in layer.all_inputs],
            classifier=self._is_coarse_classifier(layer, weights.bits),
        )
        log.append(step)
        return adapted

    def _is_coarse_classifier(self, layer: Layer, bits: int) -> bool:
        """Whether it is an output of the network, and other layers' weights have more bits."""
        return bits < self._most_bits and self._last.get(layer.name) == len(self._graph.layers)

    def _choose(self, fixed: FixedLayer, accs: Chunks, wanted: list[FloatArray]) -> Step:
        layer, bits, signed = fixed.layer, fixed.output.bits, fixed.output.signed
        low = min(float(w.min()) for w in wanted)
        high = max(float(w.max()) for w in wanted)
        initial = initial_frac(low, high, bits, signed=signed)
        source = self._formats[layer.inputs[0]]
        plain = layer.activation.kind is ActivationKind.NONE
        if layer.op is Op.MAX_POOL and plain and source.bits == bits:
            note = f"format of {layer.inputs[0]}, without loss"
            return feature_step(layer.name, bits, initial, source.frac, (), note)
        fracs = self._candidates(initial)
        if not signed:
            # Half of the format's range is subtracted in the accumulator: it must be that fine.
            finest = int(fixed.acc_frac.min()) + bits - 1
            fracs = tuple(f for f in fracs if f <= finest) or (finest,)
        measure, note = squared if self._squared else absolute, ""
        if layer.name in self._scores:
            measure, note = divergence, "by the softmax of the scores"
        pairs = zip(accs, wanted, strict=True)
        errors = np.sum(
            [requantizing_errors(fixed, a, as_tensor(w), fracs, measure) for a, w in pairs], axis=0
        )
        frac, candidates = choose(fracs, errors.tolist())
        return feature_step(layer.name, bits, initial, frac, candidates, note)
