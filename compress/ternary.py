"""Ternary weights: "Trained Ternary Quantization" (Zhu et al. 2017), and TWN as its baseline.

Each layer's weights are +positive, 0 or -negative. The two scales are trained with the real weights
behind them; a weight is zero where its magnitude is at most 0.05 of the layer's largest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.utils import parametrize

from tilewright.compress.layers import weight_layers
from tilewright.compress.shift_norm import fix_shift_norms, shift_norms
from tilewright.compress.steps import TERNARY
from tilewright.errors import TilewrightError

__all__ = ["THRESHOLD", "Scales", "fix_ternary", "ternarize"]

THRESHOLD = 0.05
"""Of the largest magnitude: section 3.1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scales:
    """A layer's ternary weights: +positive where `signs` is 1, -negative where it is -1.

    Of scales that differ from channel to channel, the mean.
    """

    positive: float
    negative: float
    signs: npt.NDArray[np.int64]


class _Scaled(torch.autograd.Function):
    """Ternary weights of real ones; gradients are those of the paper's equations 7 and 8."""

    @staticmethod
    def forward(
        context: Any, weight: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor
    ) -> torch.Tensor:
        """Map to +positive, 0 or -negative."""
        limit = THRESHOLD * weight.abs().max()
        above, below = weight > limit, weight < -limit
        context.save_for_backward(above, below, positive, negative)
        return positive * above - negative * below

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Scale the gradients of the real weights by their scales; sum them up for the scales."""
        (g,) = gradients
        above, below, positive, negative = context.saved_tensors
        to_weight = torch.where(above, g * positive, torch.where(below, g * negative, g))
        # The derivative by `negative`, with its sign: the weight is -negative.
        return to_weight, (g * above).sum(), -(g * below).sum()


class _Ttq(nn.Module):
    """Parametrization of a weight by two scales, or by one for both signs."""

    def __init__(self, weight: torch.Tensor, equal: bool) -> None:
        super().__init__()
        limit = THRESHOLD * weight.abs().max()
        both = weight[weight.abs() > limit].abs().mean()
        positive = weight[weight > limit].mean() if (weight > limit).any() else both
        negative = -weight[weight < -limit].mean() if (weight < -limit).any() else both
        self.positive = nn.Parameter(both if equal else positive)
        self.negative = self.positive if equal else nn.Parameter(negative)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        ternary: torch.Tensor = _Scaled.apply(weight, self.positive, self.negative)
        return ternary

    def scales(self, weight: torch.Tensor) -> Scales:
        limit = THRESHOLD * weight.abs().max()
        signs = (weight > limit).long() - (weight < -limit).long()
        return Scales(
            positive=float(self.positive.detach()),
            negative=float(self.negative.detach()),
            signs=signs.numpy(),
        )


class _Shift(nn.Module):
    """Parametrization by a power of two for each output channel, which is trained.

    The array multiplies by such a scale for nothing: it is the channel's fractional length.
    """

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        flat = weight.flatten(1).abs()
        above = flat > THRESHOLD * flat.amax(1, keepdim=True)
        means = (flat * above).sum(1) / above.sum(1).clamp(min=1)
        self.scale = nn.Parameter(means.clamp(min=1e-6).reshape(-1, *[1] * (weight.ndim - 1)))

    def rounded(self) -> torch.Tensor:
        """The power of two that each scale is nearest to, in proportion."""
        return torch.exp2(self.scale.detach().clamp(min=1e-6).log2().round())

    def signs(self, weight: torch.Tensor) -> torch.Tensor:
        """Sign of each weight, 0 for those of at most half their channel's scale."""
        return weight.sign() * (weight.abs() > 0.5 * self.rounded())

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        signs = self.signs(weight.detach())
        # The differences are exact zeros that carry the gradients.
        scale = self.rounded() + (self.scale - self.scale.detach())
        return scale * signs + (weight - weight.detach())

    def scales(self, weight: torch.Tensor) -> Scales:
        mean = float(self.rounded().mean())
        return Scales(positive=mean, negative=mean, signs=self.signs(weight).long().numpy())


class _Twn(nn.Module):
    """Ternary Weight Networks (Li et al. 2016): threshold 0.7 E|w|, scale E|w| above it."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        found = self.scales(weight.detach())
        fixed = found.positive * torch.from_numpy(found.signs).to(weight.dtype)
        return fixed + (weight - weight.detach())

    def scales(self, weight: torch.Tensor) -> Scales:
        limit = 0.7 * weight.abs().mean()
        signs = (weight > limit).long() - (weight < -limit).long()
        scale = float(weight.abs()[signs != 0].mean())
        return Scales(positive=scale, negative=scale, signs=signs.numpy())


def ternarize(
    model: nn.Module, *, method: str = "ttq", skip: Iterable[str] | None = None
) -> tuple[str, ...]:
    """Make layers' weights ternary, to be trained so; `fix_ternary` ends that.

    BatchNorm right behind them gets scales that are powers of two, so that folding it leaves three
    integers a layer.

    Parameters
    ----------
    model : a trained module, changed in place
    method : one of TERNARY
    skip : layers that stay as they are; the first and the last if None, as in the paper

    Returns
    -------
    Names of the ternary layers.

    Raises
    ------
    TilewrightError
        If the method or a layer is unknown, no layer is left, or all weights of one are zero.
    """
    if method not in TERNARY:
        raise TilewrightError(f"Ternary weights have methods {', '.join(TERNARY)}, not {method!r}")
    layers = weight_layers(model)
    names = list(layers)
    left = {names[0], names[-1]} if skip is None else set(skip)
    unknown = sorted(left - set(names))
    if unknown:
        raise TilewrightError(f"Ternary weights: no layer {unknown[0]!r}; there are {names}")
    chosen = tuple(name for name in names if name not in left)
    if not chosen:
        raise TilewrightError(
            f"Ternary weights: {', '.join(names)} stay as they are, the first layer and the last, and "
            "there is none between them"
            if skip is None
            else "Ternary weights: all layers are left out; leave out fewer"
        )
    for name in chosen:
        weight = layers[name].weight.detach()
        if not weight.any():
            raise TilewrightError(
                f"Layer {name!r}: all of its weights are zero, so they have no scale; leave it out"
            )
    shift_norms(model, chosen)
    for name in chosen:
        weight = layers[name].weight.detach()
        part: nn.Module
        if method == "shift":
            part = _Shift(weight)
        else:
            part = _Twn() if method == "twn" else _Ttq(weight, method == "ttq-equal")
        parametrize.register_parametrization(layers[name], "weight", part)
    return chosen


def fix_ternary(model: nn.Module) -> Mapping[str, Scales]:
    """Make ternary weights ordinary ones; returns each layer's scales and signs."""
    found = {}
    for name, layer in weight_layers(model).items():
        if parametrize.is_parametrized(layer, "weight"):
            item = layer.parametrizations.weight
            found[name] = item[0].scales(item.original.detach())
            parametrize.remove_parametrizations(layer, "weight")
    fix_shift_norms(model)
    return found
