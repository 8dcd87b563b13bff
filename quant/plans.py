"""Search for the bits of each layer by what the whole network really loses with them.

Sensitivities of single layers (`tilewright.quant.mixed`) say too much of layers whose errors later ones
make up for, and nothing of what learned rounding gains. So several plans are quantized and measured: that
of the sensitivities, the same bits in all layers, one with which layers lose alike whatever their
size, and what lies between. From the best one groups of layers are given more and fewer bits, the rest
of the budget going to the others, and what is better is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from tilewright.quant.budget import Budget, Point, Prices, choose, descend, uniform

__all__ = ["Progress", "search"]

Progress = Callable[[int, int, str], None]
Measure = Callable[[Mapping[str, int]], float]

_WEIGHTS = (5.0, 0.2)
"""By which a group's losses are multiplied: a good bit more or less for it, against all others."""


def search(
    prices: Prices,
    budget: Budget,
    widths: Sequence[int],
    groups: Mapping[str, Collection[str]],
    measure: Measure,
    progress: Progress | None = None,
) -> tuple[Point, dict[str, float]]:
    """The plan of least measured loss within a budget that limits what weights cost, and all losses by name.

    Parameters
    ----------
    prices : loss and cost of each layer at each width
    widths : those to choose from
    groups : of layers that are tried with more and fewer bits, by name
    measure : gives the loss of the network with bits by layer
    progress : called as progress(plans done, plans in all, text)
    """
    first = list(_first(prices, budget, widths))
    total = len(first) + len(groups) * len(_WEIGHTS)
    losses: dict[str, float] = {}
    known: dict[tuple[int, ...], float] = {}
    done = 0

    def tried(name: str, point: Point) -> float:
        nonlocal done
        done += 1
        key = tuple(point.bits[layer] for layer in prices.sensitivity)
        if key not in known:
            known[key] = losses[name] = measure(point.bits)
            if progress is not None:
                progress(done, total, f"loss of {name} on images held out: {known[key]:.3g}")
        return known[key]

    least, (_, best, own) = min(
        ((tried(name, point), (name, point, own)) for name, point, own in first),
        key=lambda found: found[0],
    )
    for name, layers in groups.items():
        for weight in _WEIGHTS:
            other = own.weighted({x: weight if x in layers else 1.0 for x in own.sensitivity})
            point = _within(other, budget, widths)
            loss = tried(f"{'more' if weight > 1.0 else 'fewer'} bits in {name}", point)
            if loss < least:
                least, best, own = loss, point, other
                break
    return prices.point(best.bits), losses


def _within(prices: Prices, budget: Budget, widths: Sequence[int]) -> Point:
    return choose(descend(prices, widths), budget, prices, "")


def _first(
    prices: Prices, budget: Budget, widths: Sequence[int]
) -> Iterator[tuple[str, Point, Prices]]:
    """Plans to start from, by name, and the prices behind them."""
    yield "the sensitivities' bits", _within(prices, budget, widths), prices
    for strength, name in ((0.5, "bits between"), (1.0, "bits of layers that lose alike")):
        even = prices.even(strength)
        yield name, _within(even, budget, widths), even
    same = uniform(budget, prices, widths)
    if same is not None:
        yield f"{next(iter(same.bits.values()))} bits in all layers", same, prices.alike()
