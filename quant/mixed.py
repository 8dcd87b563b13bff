"""Mixed precision: bits of each layer's weights under a budget.

Each layer's *sensitivity* at a width is the squared difference that rounding its weights to that
width alone makes at the network's outputs, relative to the outputs' energy, on calibration images.
Differences of independent roundings add up, to what the widest weights lose; `budget` says how bits are
chosen by them. As that is only nearly so, and knows nothing of learned rounding, what is chosen is
quantized and measured on calibration images held out, beside the same bits in all layers and a mix that
keeps close to those: the best is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch

from tilewright.errors import TilewrightError
from tilewright.graph.execute import run_float
from tilewright.graph.ir import Graph
from tilewright.quant.budget import Budget, Point, Prices, Table, choose, descend, uniform
from tilewright.quant.candidates import initial_frac
from tilewright.quant.config import QuantConfig
from tilewright.quant.data import normalize
from tilewright.quant.emulate import emulate_layer, layer_constants, run_emulated
from tilewright.quant.fixed import FixedGraph, FixedLayer
from tilewright.quant.formats import MAX_BITS, MIN_BITS, QFormat
from tilewright.quant.quantize import quantize
from tilewright.quant.weights import channel_fracs

__all__ = ["Budget", "Plan", "Point", "Table", "plan_bits"]

_IMAGES = 32
_CANDIDATES = (2, 3, 4, 5, 6, 7, 8)
_HELD = 4
"""One of so many images is held out to compare plans on."""

Images = Mapping[str, npt.NDArray[np.generic]]
Progress = Callable[[int, int, str], None]


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
    progress: Progress | None = None,
) -> Plan:
    """Choose the bits of each layer's weights under `budget`.

    Parameters
    ----------
    graph, calibration : as for `quantize`; sensitivities are measured on up to 32 images
    budget : what may be spent, or lost
    config : everything else; its weight bits are replaced
    candidates : widths to choose from, 2..16
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
    base = replace(config, weight_bits=widths[-1])
    fixed = quantize(graph, few, base).fixed
    lost, sensitivity = _sensitivities(fixed, few, base, widths, progress)
    prices = Prices(lost, sensitivity, _costs(fixed, budget, widths))
    front = descend(prices, widths)
    plans = {"mixed": choose(front, budget, prices, graph.name)}
    same = uniform(budget, prices, widths)
    if same is not None:
        bits = next(iter(same.bits.values()))
        close = [w for w in widths if abs(w - bits) <= 1]
        narrow = prices.within(close)
        near = choose(descend(narrow, close), budget, narrow, graph.name)
        plans |= {"mixed, close to uniform": near, f"uniform, {bits} bits": same}
    measured = _measured(graph, calibration, base, plans, progress)
    chosen = plans[min(measured, key=measured.__getitem__)] if measured else plans["mixed"]
    return Plan(
        config=replace(base, layer_weight_bits=dict(chosen.bits)),
        chosen=chosen,
        front=front,
        sensitivity=sensitivity,
        measured=measured,
    )


def _measured(
    graph: Graph,
    calibration: Images,
    base: QuantConfig,
    plans: Mapping[str, Point],
    progress: Progress | None,
) -> dict[str, float]:
    """Loss of each plan on images held out; nothing where there is no choice, or too few images."""
    if len({tuple(sorted(p.bits.items())) for p in plans.values()}) < 2:
        return {}
    count = len(next(iter(calibration.values())))
    held = np.arange(count) % _HELD == _HELD - 1
    if not held.any():
        return {}
    seen = {name: values[~held] for name, values in calibration.items()}
    test = {name: values[held] for name, values in calibration.items()}
    result = {}
    for done, (name, point) in enumerate(plans.items(), 1):
        config = replace(base, layer_weight_bits=dict(point.bits))
        fixed = quantize(graph, seen, config).fixed
        inputs, exact, energy = _exact(fixed, test)
        with torch.inference_mode():
            values = run_emulated(fixed, inputs)
        result[name] = _loss(values, exact, energy)
        if progress is not None:
            progress(done, len(plans), f"loss of {name} on images held out: {result[name]:.3g}")
    return result


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
            result[layer.name] = {widths[-1]: 0.0}
            for bits in widths[:-1]:
                changed = _run_from(fixed, values, layer, _coarser(layer, bits, config))
                result[layer.name][bits] = _loss(changed, values, energy)
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


def _coarser(layer: FixedLayer, bits: int, config: QuantConfig) -> torch.Tensor:
    """Weights of `layer` rounded to `bits` bits, as real numbers."""
    assert layer.layer.conv is not None
    weight = layer.layer.conv.weight
    common = initial_frac(float(weight.min()), float(weight.max()), bits)
    fracs = np.array(channel_fracs(weight, bits, config, common)).reshape(-1, 1, 1, 1)
    integers = QFormat(bits, 0).quantize(np.ldexp(weight.astype(np.float64), fracs))
    return torch.from_numpy(np.ldexp(integers.astype(np.float64), -fracs)).float()


def _run_from(
    fixed: FixedGraph, values: Mapping[str, torch.Tensor], layer: FixedLayer, weight: torch.Tensor
) -> Mapping[str, torch.Tensor]:
    """All tensors, with other weights in `layer`: only what depends on it is computed."""
    result = dict(values)
    stale: set[str] = set()
    for other in fixed.layers:
        if other is not layer and stale.isdisjoint(other.layer.all_inputs):
            continue
        stale.add(other.name)
        constants = (weight, layer_constants(layer)[1]) if other is layer else None
        _, height, width = fixed.graph.shapes[other.layer.inputs[0]]
        xs = [result[name] for name in other.layer.all_inputs]
        result[other.name] = emulate_layer(other, xs, fixed.formats, constants, (height, width))
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
