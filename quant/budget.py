"""What weights may cost, and the bits of each layer that cost no more and lose least.

Losses of layers add up, so that the *front* of cost against loss is found by greedy descent: from the
most bits in all layers, again and again the step that costs the least additional loss for what it
saves. Then layers take back what the budget leaves over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tilewright.errors import TilewrightError

__all__ = ["Budget", "Point", "Prices", "Table", "choose", "descend", "uniform"]

Table = Mapping[str, Mapping[int, float]]
"""For each layer: a number for each width."""


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

    @property
    def limit(self) -> float | None:
        """The most that the weights may cost; None if it is the loss that is limited.

        A little more than the number given: sums of costs are rounded in floating point.
        """
        costs = (self.average_bits, self.weight_bytes, self.cost)
        return next((value * (1.0 + 1e-9) for value in costs if value is not None), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Bits by layer, what they cost, and the loss predicted for them."""

    bits: Mapping[str, int]
    cost: float
    loss: float


@dataclass(frozen=True, slots=True)
class Prices:
    """Loss of the widest weights, and what each layer loses and costs at each width."""

    lost: float
    sensitivity: Table
    costs: Table

    def even(self, strength: float) -> Prices:
        """Losses drawn towards those of layers that all lose alike, a quarter for each bit.

        `strength` 0 leaves them, 1 makes layers all alike.
        """
        sums = [sum(own.values()) for own in self.sensitivity.values()]
        alike = float(np.exp(np.mean(np.log(np.maximum(sums, 1e-30)))))
        drawn = {}
        for name, own in self.sensitivity.items():
            shares = _quarters(own)
            drawn[name] = {
                b: loss ** (1.0 - strength) * (alike * shares[b]) ** strength
                for b, loss in own.items()
            }
        return replace(self, sensitivity=drawn)

    def alike(self) -> Prices:
        """Losses in proportion to what each layer costs, a quarter for each bit."""
        sizes = {name: max(own.values()) for name, own in self.costs.items()}
        shares = {name: _quarters(own) for name, own in self.sensitivity.items()}
        drawn = {n: {b: sizes[n] * x for b, x in own.items()} for n, own in shares.items()}
        return replace(self, sensitivity=drawn)

    def weighted(self, weights: Mapping[str, float]) -> Prices:
        """Losses of each layer times its weight."""
        own = {n: {b: weights[n] * x for b, x in s.items()} for n, s in self.sensitivity.items()}
        return replace(self, sensitivity=own)

    def point(self, bits: Mapping[str, int]) -> Point:
        """What `bits` cost and lose together."""
        return Point(
            bits=dict(bits),
            cost=sum(self.costs[name][b] for name, b in bits.items()),
            loss=self.lost + sum(self.sensitivity[name][b] for name, b in bits.items()),
        )


def _quarters(own: Mapping[int, float]) -> dict[int, float]:
    """A loss that falls to a quarter with each bit, 0 at the widest; they add up to 1."""
    widest = 4.0 ** -max(own)
    losses = {b: 4.0**-b - widest for b in own}
    total = sum(losses.values()) or 1.0
    return {b: loss / total for b, loss in losses.items()}


def descend(prices: Prices, widths: Sequence[int]) -> tuple[Point, ...]:
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


def choose(front: Sequence[Point], budget: Budget, prices: Prices, network: str) -> Point:
    """The point of least loss within the budget, or of least cost within the loss."""
    limit = budget.limit
    if limit is None:
        assert budget.loss is not None
        within = [point for point in front if point.loss <= budget.loss]
        if not within:
            raise TilewrightError(
                f"A loss of {budget.loss:g} cannot be reached for {network!r} with these "
                f"widths: the nearest that can is {min(p.loss for p in front):g}"
            )
        return min(within, key=lambda point: point.cost)
    within = [point for point in front if point.cost <= limit]
    if not within:
        least = min(point.cost for point in front)
        raise TilewrightError(
            f"A budget of {limit:g} cannot be met for {network!r} with these widths: the "
            f"nearest that can is {least:g}"
        )
    return _filled(min(within, key=lambda point: point.loss), limit, prices)


def _filled(point: Point, limit: float, prices: Prices) -> Point:
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


def uniform(budget: Budget, prices: Prices, widths: Sequence[int]) -> Point | None:
    """The same bits in all layers, as many as the budget allows; None if it limits the loss."""
    if budget.limit is None:
        return None
    points = [prices.point(dict.fromkeys(prices.sensitivity, bits)) for bits in sorted(widths)]
    return next((p for p in reversed(points) if p.cost <= budget.limit), None)
