"""Mixed precision: bits of each layer's weights under a budget.

Each layer's *sensitivity* at a width is the squared difference that rounding its weights to that
width alone makes at the network's outputs, relative to the outputs' energy, on calibration images.
Differences of independent roundings add up (to what the widest weights lose), so that the *front* of cost against loss is found by
greedy descent: from the most bits in all layers, again and again the step that costs the least
additional loss for what it saves. Then layers take back what the budget leaves over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from tilewright.errors import TilewrightError
from tilewright.graph.execute import run_float
from tilewright.graph.ir import Graph
from tilewright.quant.candidates import initial_frac
from tilewright.quant.config import QuantConfig
from tilewright.quant.data import normalize
from tilewright.quant.emulate import emulate_layer, layer_constants, run_emulated
from tilewright.quant.fixed import FixedGraph, FixedLayer
from tilewright.quant.formats import MAX_BITS, MIN_BITS, QFormat
from tilewright.quant.quantize import quantize
from tilewright.quant.weights import channel_fracs

__all__ = ["Budget", "Plan", "Point", "plan_bits"]

_IMAGES = 32
_CANDIDATES = (2, 3, 4, 5, 6, 7, 8)

Table = Mapping[str, Mapping[int, float]]
"""For each layer: a number for each width."""
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What the weights may cost, or the loss may be; exactly one is given.

    Attributes
    ----------
    average_bits : bits of a weight, averaged over all
    weight_bytes : bytes of all weights, each in its own width
    cost : another cost, added up over the layers, with `costs` for each layer and width (cycles of the
        cycle model, for example)
    loss : squared error of the outputs, relative to their energy
    """

    average_bits: float | None = None
    weight_bytes: float | None = None
    cost: float | None = None
    costs: Table | None = None
    loss: float | None = None

    def __post_init__(self) -> None:
        given = [v for v in (self.average_bits, self.weight_bytes, self.cost, self.loss) if v]
        if len(given) != 1 or given[0] <= 0 or (self.cost is None) != (self.costs is None):
            raise TilewrightError(
                "A budget is one positive number: average_bits, weight_bytes, loss, or cost (with a "
                "table of costs)"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Bits by layer, what they cost, and the loss predicted for them."""

    bits: Mapping[str, int]
    cost: float
    loss: float


@dataclass(frozen=True, slots=True)
class _Prices:
    """Loss of the widest weights, and what each layer loses and costs at each width."""

    lost: float
    sensitivity: Table
    costs: Table

    def point(self, bits: Mapping[str, int]) -> Point:
        """What `bits` cost and lose together."""
        return Point(
            bits=dict(bits),
            cost=sum(self.costs[name][b] for name, b in bits.items()),
            loss=self.lost + sum(self.sensitivity[name][b] for name, b in bits.items()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The choice.

    Attributes
    ----------
    config : the configuration with the bits chosen
    chosen : the point chosen
    front : all points of the descent, from the most bits to the fewest
    sensitivity : loss by layer and width
    """

    config: QuantConfig
    chosen: Point
    front: tuple[Point, ...]
    sensitivity: Table


def plan_bits(
    graph: Graph,
    calibration: Mapping[str, npt.NDArray[np.generic]],
    budget: Budget,
    config: QuantConfig | None = None,
    *,
    candidates: Sequence[int] = _CANDIDATES,
    progress: Progress | None = None,
) -> Plan:
    """Choose the bits of each layer's weights under `budget`.

    Parameters
    ----------
    graph, calibration : as for `quantize`; up to 32 images are used
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
    prices = _Prices(lost, sensitivity, _costs(fixed, budget, widths))
    front = _front(prices, widths)
    chosen = _choose(front, budget, prices, fixed)
    return Plan(
        config=replace(base, layer_weight_bits=dict(chosen.bits)),
        chosen=chosen,
        front=front,
        sensitivity=sensitivity,
    )


def _weighted(fixed: FixedGraph) -> list[FixedLayer]:
    return [layer for layer in fixed.layers if layer.weight is not None]


def _sensitivities(
    fixed: FixedGraph,
    raw: Mapping[str, npt.NDArray[np.generic]],
    config: QuantConfig,
    widths: Sequence[int],
    progress: Progress | None,
) -> tuple[float, dict[str, dict[int, float]]]:
    """Loss at the largest width, and what each layer adds at each smaller one."""
    inputs = {
        spec.name: torch.from_numpy(normalize(spec, raw[spec.name])) for spec in fixed.graph.inputs
    }
    names = list(dict.fromkeys(output.tensor for output in fixed.graph.outputs))
    exact = run_float(fixed.graph, {k: v.numpy() for k, v in inputs.items()}, keep=names)
    layers = _weighted(fixed)
    result = {}
    with torch.inference_mode():
        values = run_emulated(fixed, inputs)
        energy = {name: max(float(np.square(exact[name]).sum()), 1e-30) for name in names}

        def loss(results: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> float:
            parts = (float((results[n] - wanted[n]).square().sum()) / energy[n] for n in names)
            return sum(parts) / len(names)

        lost = loss(values, {name: torch.from_numpy(exact[name]) for name in names})
        for done, layer in enumerate(layers, 1):
            result[layer.name] = {widths[-1]: 0.0}
            for bits in widths[:-1]:
                changed = _run_from(fixed, values, layer, _coarser(layer, bits, config))
                result[layer.name][bits] = loss(changed, values)
            if progress is not None:
                progress(done, len(layers), f"sensitivity of {layer.name}")
    return lost, result


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


def _front(prices: _Prices, widths: Sequence[int]) -> tuple[Point, ...]:
    """Greedy descent from the most bits in all layers to the fewest."""
    sensitivity, costs = prices.sensitivity, prices.costs
    bits = dict.fromkeys(sensitivity, widths[-1])
    points = [prices.point(bits)]
    while True:
        best: tuple[float, str, int] | None = None
        for name, now in bits.items():
            for lower in (w for w in widths if w < now):
                saved = costs[name][now] - costs[name][lower]
                added = sensitivity[name][lower] - sensitivity[name][now]
                if saved > 0 and (best is None or added / saved < best[0]):
                    best = (added / saved, name, lower)
        if best is None:
            return tuple(points)
        bits[best[1]] = best[2]
        points.append(prices.point(bits))


def _choose(front: Sequence[Point], budget: Budget, prices: _Prices, fixed: FixedGraph) -> Point:
    """The point of least loss within the budget, or of least cost within the loss."""
    if budget.loss is not None:
        within = [point for point in front if point.loss <= budget.loss]
        if not within:
            raise TilewrightError(
                f"A loss of {budget.loss:g} cannot be reached for {fixed.graph.name!r} with these "
                f"widths: the nearest that can is {min(p.loss for p in front):g}"
            )
        return min(within, key=lambda point: point.cost)
    limit = next(
        v for v in (budget.average_bits, budget.weight_bytes, budget.cost) if v is not None
    )
    within = [point for point in front if point.cost <= limit]
    if not within:
        least = min(point.cost for point in front)
        raise TilewrightError(
            f"A budget of {limit:g} cannot be met for {fixed.graph.name!r} with these widths: the "
            f"nearest that can is {least:g}"
        )
    return _filled(min(within, key=lambda point: point.loss), limit, prices)


def _filled(point: Point, limit: float, prices: _Prices) -> Point:
    """`point` with more bits wherever the rest of the budget buys less loss, the best bargain first."""
    sensitivity, costs = prices.sensitivity, prices.costs
    bits, spent = dict(point.bits), point.cost
    while True:
        bargains = [
            ((sensitivity[name][now] - sensitivity[name][more]), name, more, price)
            for name, now in bits.items()
            for more in costs[name]
            if more > now
            and more in sensitivity[name]
            and (price := costs[name][more] - costs[name][now]) <= limit - spent
        ]
        gain, name, more, price = max(bargains, default=(0.0, "", 0, 0.0))
        if gain <= 0.0:
            return prices.point(bits)
        bits[name], spent = more, spent + price
