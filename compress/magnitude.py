"""Pruning of single weights: "Learning both Weights and Connections" (Han et al. 2015).

Weights below `quality` times their layer's standard deviation go, the others are trained again, in
several rounds. Qualities come from a scan of each layer alone, in each round: a layer whose pruning
costs little accuracy is pruned more. Dropout falls as connections do (section 3.2):
D * sqrt(left / all).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from tilewright.compress.layers import Layer, fix_zeros, set_masks, weight_layers
from tilewright.errors import TilewrightError

__all__ = [
    "SHARES",
    "Scan",
    "adjust_dropout",
    "dropout_rates",
    "magnitude_masks",
    "prune_in_rounds",
    "qualities",
    "scan",
]

SHARES = (1.0, 0.8, 0.6, 0.4, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01)
"""Shares of a layer's weights kept that the scan tries."""

Evaluate = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What pruning one layer alone costs.

    Attributes
    ----------
    shares : shares of its weights kept, falling
    losses : accuracy lost at each, made monotonous
    """

    shares: tuple[float, ...]
    losses: tuple[float, ...]

    def share(self, loss: float) -> float:
        """Least share kept that loses at most `loss`, interpolated."""
        return float(np.exp(np.interp(loss, self.losses, np.log(self.shares))))


def scan(model: nn.Module, evaluate: Evaluate, shares: Sequence[float] = SHARES) -> dict[str, Scan]:
    """Prune each layer alone, without retraining, and evaluate: section 3.3 of the paper.

    Parameters
    ----------
    model : left as it was
    evaluate : gives the module's accuracy
    """
    base, found = evaluate(), {}
    for name, layer in weight_layers(model).items():
        before, losses = layer.weight.detach().clone(), []
        for share in shares:
            with torch.no_grad():
                layer.weight.copy_(before * _largest(before, share))
            losses.append(base - evaluate())
        with torch.no_grad():
            layer.weight.copy_(before)
        # Equal losses get a slope, so that a share can be read off for any loss.
        rising = np.maximum.accumulate(losses) + np.arange(len(losses)) * 1e-7
        found[name] = Scan(shares=tuple(shares), losses=tuple(rising.tolist()))
    return found


def qualities(model: nn.Module, scans: Mapping[str, Scan], keep: float) -> dict[str, float]:
    """Quality of each layer with which the share `keep` of all weights is left.

    All layers are pruned to where each, alone and not retrained, would lose the same accuracy.

    Raises
    ------
    TilewrightError
        If the share cannot be reached.
    """
    weights = {name: layer.weight.detach() for name, layer in weight_layers(model).items()}
    sizes = {name: int(weight.numel()) for name, weight in weights.items()}

    def left(loss: float) -> float:
        kept = sum(scans[name].share(loss) * size for name, size in sizes.items())
        return kept / sum(sizes.values())

    low, high = 0.0, max(max(item.losses) for item in scans.values())
    if not left(high) <= keep <= 1.0:
        raise TilewrightError(
            f"Pruning to {keep:.2%} of the weights is not possible: between {left(high):.2%}, the "
            "least that the layers' scans reach, and 100 % can be left"
        )
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if left(middle) > keep else (low, middle)
    return {
        name: _threshold(weight, scans[name].share(high)) / float(weight.std())
        for name, weight in weights.items()
    }


def magnitude_masks(model: nn.Module, quality: Mapping[str, float]) -> dict[str, torch.Tensor]:
    """Masks that keep each layer's weights of at least quality * standard deviation."""
    masks = {}
    for name, factor in quality.items():
        weight = weight_layers(model)[name].weight.detach()
        masks[name] = (weight.abs() >= factor * weight.std() * (1 - 1e-6)) & (weight != 0)
    return masks


def prune_in_rounds(
    model: nn.Module,
    evaluate: Evaluate,
    keep: float,
    rounds: int,
    retrain: Callable[[int], None],
) -> None:
    """Prune to the share `keep` in `rounds` equal ratios, and call `retrain(round)` after each.

    Every round scans anew: what a layer of the dense network would lose far below its accuracy says
    little about how few weights it can be retrained with. The module's zeros are ordinary weights
    afterwards, its dropout is as before.
    """
    rates = dropout_rates(model)
    for number in range(1, rounds + 1):
        quality = qualities(model, scan(model, evaluate), keep ** (number / rounds))
        set_masks(model, magnitude_masks(model, quality))
        adjust_dropout(rates)
        retrain(number)
        fix_zeros(model)
    for dropout, (rate, _) in rates.items():
        dropout.p = rate


def dropout_rates(model: nn.Module) -> dict[nn.Dropout, tuple[float, Layer]]:
    """Rate of each dropout, and the layer whose outputs it drops."""
    rates: dict[nn.Dropout, tuple[float, Layer]] = {}
    last: Layer | None = None
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            last = module
        elif isinstance(module, nn.Dropout) and last is not None:
            rates[module] = (module.p, last)
    return rates


def adjust_dropout(rates: Mapping[nn.Dropout, tuple[float, Layer]]) -> None:
    """Lower dropout as connections are lost: section 3.2 of the paper."""
    for dropout, (rate, layer) in rates.items():
        left = float((layer.weight != 0).float().mean())
        dropout.p = rate * math.sqrt(left)


def _largest(weight: torch.Tensor, share: float) -> torch.Tensor:
    return weight.abs() >= _threshold(weight, share)


def _threshold(weight: torch.Tensor, share: float) -> float:
    """Magnitude that the share `share` of the weights reaches."""
    count = max(round(share * weight.numel()), 1)
    return float(weight.abs().flatten().topk(count).values[-1])
