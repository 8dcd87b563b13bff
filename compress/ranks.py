"""Rank selection under a cycle budget (Zhang et al. 2015, section 2.4).

Of all ranks within the budget, those are wanted with the largest product of PCA energies. From the
dense network on, the greedy method lowers the rank that costs least energy for the cycles it saves.
Cycles are the hardware's, given for each rank, not multiply-accumulates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tilewright.errors import TilewrightError

__all__ = ["choose_ranks"]

Costs = Mapping[str, Mapping[int, float]]


def choose_ranks(
    energy: Mapping[str, npt.NDArray[np.float64]],
    dense: Mapping[str, float],
    costs: Costs,
    budget: float,
) -> dict[str, int]:
    """Rank of each layer that is to be factorized; the others stay as they are.

    Parameters
    ----------
    energy : of each layer, the share of the variance in its first 1, 2, ... directions
    dense : cycles of each layer as it is, of layers without ranks too
    costs : cycles of each layer at each rank that may be chosen
    budget : cycles of all layers together

    Raises
    ------
    TilewrightError
        If not even the least ranks meet the budget.
    """
    cycles, share, ranks = dict(dense), dict.fromkeys(costs, 1.0), dict[str, int]()
    while sum(cycles.values()) > budget:
        best: tuple[float, str, int] | None = None
        for name, options in costs.items():
            for rank, cost in options.items():
                if cost >= cycles[name] or rank >= ranks.get(name, 1 << 30):
                    continue
                lost = math.log(share[name]) - math.log(energy[name][rank - 1])
                price = max(lost, 0.0) / (cycles[name] - cost)
                if best is None or price < best[0]:
                    best = price, name, rank
        if best is None:
            least = sum(min([dense[n], *costs.get(n, {}).values()]) for n in dense)
            total = sum(dense.values())
            if least >= total:
                raise TilewrightError(
                    "Low rank: no layer takes fewer cycles at any rank that fills the array's lanes "
                    "than as it is, all are too small; use vectors or prune for this network"
                )
            raise TilewrightError(
                f"Low rank: a budget of {budget:,.0f} cycles needs ranks below one lane of the "
                f"array; ask for at most {math.floor(100 * total / least) / 100:.2f}x "
                f"({least:,.0f} of {total:,.0f} cycles)"
            )
        _, name, rank = best
        ranks[name], cycles[name] = rank, costs[name][rank]
        share[name] = float(energy[name][rank - 1])
    return ranks
