"""Pruning of single weights: "Learning both Weights and Connections" (Han et al. 2015).

Weights below `quality` times their layer's standard deviation go, the others are trained again, in
several rounds. A weight may count as much as its input is large (`input_sizes`): by itself it says
little where training has made the weights of inputs that are nearly always zero large, as Adam does.
Qualities come from a scan of each layer alone: a layer whose pruning costs little accuracy is pruned
more. Dropout falls as connections do (section 3.2): D * sqrt(left / all).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from tilewright.compress.layers import Layer, fix_zeros, set_masks, weight_layers
from tilewright.compress.lowrank import inputs_of
from tilewright.errors import TilewrightError

__all__ = [
    "SHARES",
    "Scan",
    "adjust_dropout",
    "dropout_rates",
    "input_sizes",
    "magnitude_masks",
    "prune_in_rounds",
    "qualities",
    "scan",
]

LEAST_LOSS = 1e-4
"""Added to every loss: the images that a scan uses do not tell smaller ones apart."""
SHARES = (1.0, 0.8, 0.6, 0.4, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01)
"""Shares of a layer's weights kept that the scan tries."""

Array = npt.NDArray[np.float64]
Evaluate = Callable[[], float]
Sizes = Mapping[str, torch.Tensor]


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

    def loss(self, shares: Array) -> Array:
        """Accuracy lost at any shares kept, interpolated."""
        known = np.log(np.array(self.losses[::-1]) + LEAST_LOSS)
        logs: Array = np.interp(np.log(shares), np.log(self.shares[::-1]), known)
        return np.exp(logs)


def input_sizes(model: nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Root mean square of what each weight is multiplied by, by layer, in a shape that fits the weight's.

    That of a convolution's input channel stands for all of its positions. Layers in groups have ones.

    Parameters
    ----------
    images : calibration images, as the module takes them
    """
    sizes = {}
    for name, layer in weight_layers(model.eval()).items():
        weight, seen = layer.weight.detach(), inputs_of(model, name, images)
        if isinstance(layer, nn.Conv2d) and layer.groups != 1:
            sizes[name] = torch.ones_like(weight)
        else:
            others = [axis for axis in range(seen.dim()) if axis != 1]
            square = seen.double().square().mean(others)
            sizes[name] = square.sqrt().float().reshape(1, -1, *[1] * (weight.dim() - 2))
    return sizes


def scan(
    model: nn.Module,
    evaluate: Evaluate,
    shares: Sequence[float] = SHARES,
    *,
    sizes: Sizes | None = None,
) -> dict[str, Scan]:
    """Prune each layer alone, without retraining, and evaluate: section 3.3 of the paper.

    Parameters
    ----------
    model : left as it was
    evaluate : gives the module's accuracy
    sizes : of what weights are multiplied by (`input_sizes`); None: all alike

    Raises
    ------
    TilewrightError
        If a layer has nothing that could be pruned.
    """
    base, found = evaluate(), {}
    for name, layer in weight_layers(model).items():
        before, losses = layer.weight.detach().clone(), []
        sized = _sized(name, before, sizes)
        if not sized.any():
            what = "weights are" if not before.any() else "calibration inputs are"
            raise TilewrightError(
                f"Layer {name!r}: all of its {what} zero, so pruning cannot tell which weights "
                "matter; take the layer out of the network, or train it"
            )
        for share in shares:
            with torch.no_grad():
                layer.weight.copy_(before * _largest(sized, share))
            losses.append(base - evaluate())
        with torch.no_grad():
            layer.weight.copy_(before)
        # Equal losses get a slope, so that there is a price at which any share is kept.
        rising = np.maximum.accumulate(losses) + np.arange(len(losses)) * 1e-7
        found[name] = Scan(shares=tuple(shares), losses=tuple(rising.tolist()))
    return found


def qualities(
    model: nn.Module, scans: Mapping[str, Scan], keep: float, *, sizes: Sizes | None = None
) -> dict[str, float]:
    """Quality of each layer with which the share `keep` of all weights is left.

    The sum of what the layers would lose, each alone and not retrained, is the least. (Pruned to where
    all lose the same, a small layer is left too few: it has to lose much to save few weights.)

    Raises
    ------
    TilewrightError
        If the share cannot be reached.
    """
    weights = {
        name: _sized(name, layer.weight.detach(), sizes)
        for name, layer in weight_layers(model).items()
    }
    counts = {name: int(weight.numel()) for name, weight in weights.items()}
    least = _left({name: min(scans[name].shares) for name in counts}, counts)
    if not least <= keep <= 1.0:
        raise TilewrightError(
            f"Pruning to {keep:.2%} of the weights is not possible: between {least:.2%}, the "
            "least that the layers' scans reach, and 100 % can be left"
        )
    shares = _shares(scans, counts, keep)
    return {
        name: _threshold(weight, shares[name]) / _deviation(weight)
        for name, weight in weights.items()
    }


def _left(shares: Mapping[str, float], sizes: Mapping[str, int]) -> float:
    return sum(shares[name] * size for name, size in sizes.items()) / sum(sizes.values())


def _shares(
    scans: Mapping[str, Scan], sizes: Mapping[str, int], keep: float
) -> Mapping[str, float]:
    """Share of each layer's weights to keep, `keep` in all: by a price for each weight."""
    grids = {name: np.geomspace(min(scans[name].shares), 1.0, 400) for name in sizes}
    losses = {name: scans[name].loss(grid) for name, grid in grids.items()}

    def bought(log_price: float) -> dict[str, float]:
        costs = {n: losses[n] + math.exp(log_price) * sizes[n] * grids[n] for n in sizes}
        return {name: float(grids[name][np.argmin(cost)]) for name, cost in costs.items()}

    low, high = _bisect(lambda price: _left(bought(price), sizes), keep, -50.0, 10.0)
    # At that price layers may jump, from more than is to be kept to less: a mean of both keeps it.
    more, less = bought(low), bought(high)

    def between(part: float) -> dict[str, float]:
        return {name: more[name] ** (1 - part) * less[name] ** part for name in sizes}

    return between(_bisect(lambda part: _left(between(part), sizes), keep, 0.0, 1.0)[1])


def _bisect(
    falling: Callable[[float], float], value: float, low: float, high: float
) -> tuple[float, float]:
    """Where a falling function passes a value, from both sides."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > value else (low, middle)
    return low, high


def magnitude_masks(
    model: nn.Module, quality: Mapping[str, float], *, sizes: Sizes | None = None
) -> dict[str, torch.Tensor]:
    """Masks that keep each layer's weights of at least quality * standard deviation."""
    masks = {}
    for name, factor in quality.items():
        weight = _sized(name, weight_layers(model)[name].weight.detach(), sizes)
        masks[name] = (weight.abs() >= factor * _deviation(weight) * (1 - 1e-6)) & (weight != 0)
    return masks


def prune_in_rounds(
    model: nn.Module,
    scans: Mapping[str, Scan],
    keep: float,
    rounds: int,
    retrain: Callable[[int], None],
    *,
    sizes: Sizes | None = None,
) -> None:
    """Prune to the share `keep` in `rounds` equal ratios, and call `retrain(round)` after each.

    The module's zeros are ordinary weights afterwards, its dropout is as before.

    Raises
    ------
    TilewrightError
        If the share cannot be reached; before anything is retrained.
    """
    qualities(model, scans, keep, sizes=sizes)
    rates = dropout_rates(model)
    for number in range(1, rounds + 1):
        quality = qualities(model, scans, keep ** (number / rounds), sizes=sizes)
        set_masks(model, magnitude_masks(model, quality, sizes=sizes))
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


def _sized(name: str, weight: torch.Tensor, sizes: Sizes | None) -> torch.Tensor:
    return weight if sizes is None else weight * sizes[name]


def _deviation(weight: torch.Tensor) -> float:
    """Standard deviation; 1 where there is one weight, or all are the same."""
    return (float(weight.std()) if weight.numel() > 1 else 0.0) or 1.0


def _largest(weight: torch.Tensor, share: float) -> torch.Tensor:
    return weight.abs() >= _threshold(weight, share)


def _threshold(weight: torch.Tensor, share: float) -> float:
    """Magnitude that the share `share` of the weights reaches."""
    count = max(round(share * weight.numel()), 1)
    return float(weight.abs().flatten().topk(count).values[-1])
