"""Coordinate descent over fractional lengths, after the greedy pass.

The greedy pass chooses each map's format by that map's own error. Here every format is tried one longer
and one shorter with all others as they are, and kept where the network's *outputs* come closer to the
float network's on calibration images, until a sweep changes nothing. Where weights are rounded to the
nearest, each layer's weights and bias are such a coordinate, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from tilewright.graph.execute import run_float
from tilewright.graph.ir import ActivationKind, Op
from tilewright.quant.accumulator import accumulator_bound
from tilewright.quant.candidates import FRAC_LIMIT, Candidate, Step
from tilewright.quant.config import QuantConfig
from tilewright.quant.constants import fix_layer
from tilewright.quant.emulate import emulate_layer, quantize_real
from tilewright.quant.features import class_scores, feature_step
from tilewright.quant.fit import too_fine
from tilewright.quant.fixed import FixedGraph, FixedLayer
from tilewright.quant.formats import QFormat

__all__ = ["descend"]

_IMAGES = 64
_SWEEPS = 3

Values = Mapping[str, torch.Tensor]
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True, eq=False)
class _Aim:
    """Normalized images, and what the outputs are in the float network."""

    inputs: Values
    outputs: Values

    def loss(self, values: Values) -> float:
        """Squared error of the outputs relative to their energy."""
        return sum(
            float((values[n] - x).square().sum() / x.square().sum().clamp_min(1e-30))
            for n, x in self.outputs.items()
        )


def descend(
    fixed: FixedGraph,
    data: Mapping[str, npt.NDArray[np.float32]],
    config: QuantConfig,
    progress: Progress | None = None,
) -> tuple[FixedGraph, tuple[Step, ...]]:
    """`fixed` with other formats wherever the outputs gain by it, and each change.

    Parameters
    ----------
    fixed : what the greedy pass chose
    data : normalized calibration images, float32 [N, C, H, W] by input; 64 are used
    config : its `acc_bits` hold, and `rounding` and `bias_correction` say whether weights may move
    progress : called as progress(coordinates done, coordinates in all, text)
    """
    few = {name: torch.from_numpy(values[:_IMAGES]) for name, values in data.items()}
    names = list(dict.fromkeys(output.tensor for output in fixed.graph.outputs))
    exact = run_float(fixed.graph, {n: x.numpy() for n, x in few.items()}, keep=names)
    aim = _Aim(few, {name: torch.from_numpy(exact[name]) for name in names})
    log: list[Step] = []
    with torch.inference_mode():
        values = _run(fixed, aim, {}, set(few))
        loss = aim.loss(values)
        coordinates = list(_coordinates(fixed, config))
        for _ in range(_SWEEPS):
            before = loss
            for done, (name, kind) in enumerate(coordinates, 1):
                for change in (1, -1):
                    other = _changed(fixed, name, kind, change, config)
                    if other is None:
                        continue
                    found = _run(other, aim, values, {name})
                    now = aim.loss(found)
                    if now < loss:
                        log.append(_step(fixed, other, name, kind, (loss, now)))
                        fixed, values, loss = other, found, now
                        break
                if progress is not None:
                    progress(
                        done, len(coordinates), f"coordinate descent: outputs' error {loss:.4g}"
                    )
            if loss == before:
                break
    return fixed, tuple(log)


def _coordinates(fixed: FixedGraph, config: QuantConfig) -> Iterator[tuple[str, str]]:
    """What can change: maps, and weights with their bias where those are only rounded.

    Not the formats of scores of classes, which are not chosen by the error of their values.
    """
    scores = class_scores(fixed.graph, config)
    for spec in fixed.graph.inputs:
        yield spec.name, "features"
    for layer in fixed.layers:
        if layer.weight is not None and not config.corrects:
            yield layer.name, "weights"
        if not _copies(layer, fixed.formats) and layer.name not in scores:
            yield layer.name, "features"


def _copies(layer: FixedLayer, formats: Mapping[str, QFormat]) -> bool:
    """Whether the layer passes values on without loss, in the format that it reads."""
    ir = layer.layer
    plain = ir.op is Op.MAX_POOL and ir.activation.kind is ActivationKind.NONE
    return plain and formats[ir.inputs[0]] == layer.output


def _changed(
    fixed: FixedGraph, name: str, kind: str, change: int, config: QuantConfig
) -> FixedGraph | None:
    """The network with another fractional length, or None where the hardware cannot do it."""
    formats = dict(fixed.formats)
    moved = {name} if kind == "features" else set[str]()
    layers = []
    if name in {spec.name for spec in fixed.graph.inputs}:
        formats[name] = replace(formats[name], frac=formats[name].frac + change)
    for layer in fixed.layers:
        fracs = layer.weight_frac + (change if kind == "weights" and layer.name == name else 0)
        copies = _copies(layer, fixed.formats) and layer.layer.inputs[0] in moved
        if copies or (kind == "features" and layer.name == name):
            moved.add(layer.name)
            formats[layer.name] = replace(layer.output, frac=layer.output.frac + change)
        if layer.name == name or not moved.isdisjoint((layer.name, *layer.layer.all_inputs)):
            rebuilt = _rebuilt(fixed, layer, formats, fracs)
            if not _possible(rebuilt, formats, config):
                return None
            layers.append(rebuilt)
        else:
            layers.append(layer)
    return FixedGraph(graph=fixed.graph, formats=formats, layers=tuple(layers))


def _rebuilt(
    fixed: FixedGraph,
    layer: FixedLayer,
    formats: Mapping[str, QFormat],
    fracs: npt.NDArray[np.int64],
) -> FixedLayer:
    """`layer` with its constants in other formats; its integer weights stay where `fracs` do."""
    same = np.array_equal(fracs, layer.weight_frac)
    return fix_layer(
        layer.layer,
        formats,
        formats[layer.name],
        shape=fixed.graph.shapes[layer.layer.inputs[0]],
        channels=fixed.graph.shapes[layer.name][0],
        weight_bits=layer.weight_bits,
        weight_frac=fracs,
        weight=layer.weight if same else None,
        bias=np.ldexp(layer.bias.astype(np.float64), -layer.acc_frac),
    )


def _possible(layer: FixedLayer, formats: Mapping[str, QFormat], config: QuantConfig) -> bool:
    """Whether accumulators fit and are fine enough, and fractional lengths in their range."""
    output = layer.output
    fits = accumulator_bound(layer, formats) < 1 << (config.acc_bits - 1)
    near = max(abs(output.frac), int(np.abs(layer.weight_frac).max())) <= FRAC_LIMIT
    fine = output.signed or output.frac <= int(layer.acc_frac.min()) + output.bits - 1
    return fits and near and fine and not bool(too_fine(layer, formats).any())


def _run(fixed: FixedGraph, aim: _Aim, values: Values, stale: set[str]) -> dict[str, torch.Tensor]:
    """All tensors: those of `stale` and what depends on them are computed, the others kept."""
    result = dict(values)
    stale = set(stale)
    for name, x in aim.inputs.items():
        if name in stale:
            form = fixed.formats[name]
            result[name] = quantize_real(x, 2.0**form.frac, form.min, form.max)
    for layer in fixed.layers:
        if layer.name not in stale and stale.isdisjoint(layer.layer.all_inputs):
            continue
        stale.add(layer.name)
        _, height, width = fixed.graph.shapes[layer.layer.inputs[0]]
        xs = [result[n] for n in layer.layer.all_inputs]
        result[layer.name] = emulate_layer(layer, xs, fixed.formats, shape=(height, width))
    return result


def _step(
    fixed: FixedGraph, other: FixedGraph, name: str, kind: str, losses: tuple[float, float]
) -> Step:
    """The change as the log has it, with the outputs' errors before and after."""
    if kind == "features":
        old, new = fixed.formats[name].frac, other.formats[name].frac
        bits = fixed.formats[name].bits
    else:
        old, new = (int(g.layer(name).weight_frac.min()) for g in (fixed, other))
        bits = fixed.layer(name).weight_bits
    candidates = (Candidate(old, losses[0]), Candidate(new, losses[1]))
    step = feature_step(
        name, bits, old, new, candidates, "coordinate descent, error of the outputs"
    )
    return replace(step, kind=kind)
