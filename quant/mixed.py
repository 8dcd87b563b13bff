"""Mixed precision: bits of each layer's weights under a budget.

Each layer's *sensitivity* at a width is what rounding its weights to that width alone, its bias
corrected, adds to the squared error of the network's outputs, relative to their energy, on calibration
images. (Not the difference that it makes there: of that a part, the same for every layer and width, is
later maps' rounding that merely falls out otherwise.) Errors of independent roundings add up, to what the
widest weights lose; `budget` says how bits are chosen by them. As that is only nearly so, and knows nothing of
learned rounding, `plans` searches from there by what the network loses on calibration images held out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from tilewright.errors import TilewrightError
from tilewright.graph.execute import run_float
from tilewright.graph.ir import Graph
from tilewright.quant.budget import Budget, Point, Prices, Table, choose, descend
from tilewright.quant.candidates import initial_frac
from tilewright.quant.config import QuantConfig
from tilewright.quant.data import normalize
from tilewright.quant.emulate import (
    Constants,
    convolve,
    emulate_layer,
    layer_constants,
    run_emulated,
)
from tilewright.quant.fixed import FixedGraph, FixedLayer
from tilewright.quant.formats import MAX_BITS, MIN_BITS, QFormat
from tilewright.quant.plans import Progress, search
from tilewright.quant.quantize import quantize
from tilewright.quant.weights import channel_fracs

__all__ = ["Budget", "Plan", "Point", "Table", "plan_bits"]

_IMAGES = 32
_CANDIDATES = (2, 3, 4, 5, 6, 7, 8)
_GROUPS = 4
"""Of layers in the order of the network, beside that of the depthwise ones."""
_HELD = 4
"""One of so many images is held out to compare plans on."""

Images = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The choice.

    Attributes
    ----------
    config : the configuration with the bits chosen
    chosen : the point chosen
    front : all points of the descent, from the most bits to the fewest
    sensitivity : loss by layer and width
    measured : loss on images held out of each plan that was compared, by name
    """

    config: QuantConfig
    chosen: Point
    front: tuple[Point, ...]
    sensitivity: Table
    measured: Mapping[str, float] = field(default_factory=dict)


def plan_bits(
    graph: Graph,
    calibration: Images,
    budget: Budget,
    config: QuantConfig | None = None,
    *,
    candidates: Sequence[int] = _CANDIDATES,
    refine: bool = True,
    progress: Progress | None = None,
) -> Plan:
    """Choose the bits of each layer's weights under `budget`.

    Parameters
    ----------
    graph, calibration : as for `quantize`; sensitivities are measured on up to 32 images
    budget : what may be spent, or lost
    config : everything else; its weight bits are replaced
    candidates : widths to choose from, 2..16
    refine : whether groups of layers are tried with more and fewer bits, see `plans`
    progress : called as progress(layers done, layers in all, text)

    Raises
    ------
    TilewrightError
        If the budget cannot be met (the nearest that can is named), or `config` has bits of layers.
    """
    widths = sorted(set(candidates))
    if not widths or widths[0] < MIN_BITS or widths[-1] > MAX_BITS:
        raise TilewrightError(
            f"Widths to choose from must lie in {MIN_BITS}..{MAX_BITS}, not {list(candidates)}"
        )
    few = {name: values[:_IMAGES] for name, values in calibration.items()}
    config = config or QuantConfig()
    for option in ("kind_weight_bits", "layer_weight_bits"):
        if getattr(config, option):
            raise TilewrightError(
                f"A budget chooses every layer's weight bits: leave out {option}, given for "
                f"{', '.join(getattr(config, option))}"
            )
    # Plans are compared by the error of the outputs' values, in formats that do not cut them off.
    base = replace(config, weight_bits=widths[-1], classes=False)
    fixed = quantize(graph, few, base).fixed
    lost, sensitivity = _sensitivities(fixed, few, base, widths, progress)
    prices = Prices(lost, sensitivity, _costs(fixed, budget, widths))
    front = descend(prices, widths)
    chosen = choose(front, budget, prices, graph.name)
    measured: dict[str, float] = {}
    seen, held = _divided(calibration)
    if budget.limit is not None and held is not None:
        measure = partial(_measured, graph, seen, held, base)
        groups = _groups(fixed, prices.costs) if refine else {}
        chosen, measured = search(prices, budget, widths, groups, measure, progress)
    return Plan(
        config=replace(base, layer_weight_bits=dict(chosen.bits), classes=config.classes),
        chosen=chosen,
        front=front,
        sensitivity=sensitivity,
        measured=measured,
    )


def _groups(fixed: FixedGraph, costs: Table) -> dict[str, set[str]]:
    """Groups of layers, by name: depthwise ones, and the others in order, of about the same cost each."""
    layers = _weighted(fixed)
    depthwise = {x.name for x in layers if x.layer.kind == "depthwise"}
    rest = {x.name: max(costs[x.name].values()) for x in layers if x.name not in depthwise}
    total, before = sum(rest.values()) or 1.0, 0.0
    parts: dict[int, list[str]] = {}
    for name, cost in rest.items():
        parts.setdefault(int((before + cost / 2.0) / total * _GROUPS), []).append(name)
        before += cost
    found = {f"{x[0]}..{x[-1]}" if len(x) > 1 else x[0]: set(x) for x in parts.values()}
    return found | ({"depthwise layers": depthwise} if depthwise else {})


def _divided(calibration: Images) -> tuple[Images, Images | None]:
    """Images to quantize on and others to compare plans on, None where there are too few."""
    count = len(next(iter(calibration.values())))
    held = np.arange(count) % _HELD == _HELD - 1
    if not held.any():
        return calibration, None
    seen = {name: values[~held] for name, values in calibration.items()}
    return seen, {name: values[held] for name, values in calibration.items()}


def _measured(
    graph: Graph, seen: Images, held: Images, base: QuantConfig, bits: Mapping[str, int]
) -> float:
    """Loss on images held out of the network quantized with these bits on the others."""
    fixed = quantize(graph, seen, replace(base, layer_weight_bits=dict(bits))).fixed
    inputs, exact, energy = _exact(fixed, held)
    with torch.inference_mode():
        values = run_emulated(fixed, inputs)
    return _loss(values, exact, energy)


def _weighted(fixed: FixedGraph) -> list[FixedLayer]:
    return [layer for layer in fixed.layers if layer.weight is not None]


def _sensitivities(
    fixed: FixedGraph,
    raw: Images,
    config: QuantConfig,
    widths: Sequence[int],
    progress: Progress | None,
) -> tuple[float, dict[str, dict[int, float]]]:
    """Loss at the largest width, and what each layer adds at each smaller one."""
    inputs, exact, energy = _exact(fixed, raw)
    layers = _weighted(fixed)
    result = {}
    with torch.inference_mode():
        values = run_emulated(fixed, inputs)
        lost = _loss(values, exact, energy)
        for done, layer in enumerate(layers, 1):
            result[layer.name] = own = {widths[-1]: 0.0}
            for bits in reversed(widths[:-1]):
                constants = _coarser(layer, bits, config, values[layer.layer.inputs[0]])
                changed = _run_from(fixed, values, layer, constants)
                own[bits] = max(_loss(changed, exact, energy) - lost, *own.values())
            if progress is not None:
                progress(done, len(layers), f"sensitivity of {layer.name}")
    return lost, result


def _exact(
    fixed: FixedGraph, raw: Images
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], dict[str, float]]:
    """Normalized inputs, what the outputs are in the float network, and their energies."""
    inputs = {spec.name: normalize(spec, raw[spec.name]) for spec in fixed.graph.inputs}
    names = list(dict.fromkeys(output.tensor for output in fixed.graph.outputs))
    exact = run_float(fixed.graph, inputs, keep=names)
    energy = {name: max(float(np.square(exact[name]).sum()), 1e-30) for name in names}
    seen = {name: torch.from_numpy(x) for name, x in inputs.items()}
    return seen, {name: torch.from_numpy(x) for name, x in exact.items()}, energy


def _loss(
    results: Mapping[str, torch.Tensor],
    wanted: Mapping[str, torch.Tensor],
    energy: Mapping[str, float],
) -> float:
    """Squared error of the outputs, relative to their energy."""
    parts = (float((results[n] - wanted[n]).square().sum()) / e for n, e in energy.items())
    return sum(parts) / len(energy)


def _coarser(layer: FixedLayer, bits: int, config: QuantConfig, x: torch.Tensor) -> Constants:
    """Real weights and bias of `layer` with its weights rounded to `bits` bits.

    The bias makes up for the mean of what rounding changes on its inputs `x`, if `config` wants that.
    """
    conv = layer.layer.conv
    assert conv is not None
    common = initial_frac(float(conv.weight.min()), float(conv.weight.max()), bits)
    fracs = np.array(channel_fracs(conv.weight, bits, config, common)).reshape(-1, 1, 1, 1)
    integers = QFormat(bits, 0).quantize(np.ldexp(conv.weight.astype(np.float64), fracs))
    weight = torch.from_numpy(np.ldexp(integers.astype(np.float64), -fracs)).float()
    now, bias = layer_constants(layer)
    if config.corrects:
        bias = bias - convolve(x, weight - now, None, conv).mean(dim=(0, 2, 3))
    return weight, bias


def _run_from(
    fixed: FixedGraph,
    values: Mapping[str, torch.Tensor],
    layer: FixedLayer,
    constants: Constants,
) -> Mapping[str, torch.Tensor]:
    """All tensors, with other constants in `layer`: only what depends on it is computed."""
    result = dict(values)
    stale: set[str] = set()
    for other in fixed.layers:
        if other is not layer and stale.isdisjoint(other.layer.all_inputs):
            continue
        stale.add(other.name)
        _, height, width = fixed.graph.shapes[other.layer.inputs[0]]
        xs = [result[name] for name in other.layer.all_inputs]
        own = constants if other is layer else None
        result[other.name] = emulate_layer(other, xs, fixed.formats, own, (height, width))
    return result


def _costs(fixed: FixedGraph, budget: Budget, widths: Sequence[int]) -> Table:
    """Cost of each layer at each width, in the budget's unit."""
    layers = _weighted(fixed)
    if budget.costs is not None:
        for layer in layers:
            if not set(widths) <= set(budget.costs.get(layer.name, {})):
                raise TilewrightError(f"The table of costs lacks widths of layer {layer.name!r}")
        return budget.costs
    sizes = {x.name: x.weight.size for x in layers if x.weight is not None}
    unit = 8.0 if budget.average_bits is None else float(sum(sizes.values()))
    return {name: {b: size * b / unit for b in widths} for name, size in sizes.items()}
