"""BatchNorm whose scales are powers of two.

Folding BatchNorm multiplies each output channel's weights by a scale of its own, and a layer of three
values would have three for each channel. A power of two is the channel's fractional length instead,
and the integers of all channels stay the same three.
"""

from __future__ import annotations

from collections.abc import Container

import torch
from torch import nn
from torch.nn.utils import parametrize

from tilewright.compress.layers import normalized, weight_layers

__all__ = ["fix_shift_norms", "shift_norms"]

LEAST = 1e-6
"""Of a scale's magnitude: a channel of no scale has no power of two."""


class _Power(nn.Module):
    """Parametrization of a BatchNorm's weight: with the running variance it is a power of two.

    Training normalizes by each batch's variance as ever, so that the scale is near the power of two.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self._norm = (norm,)  # in a tuple, so that it is no part of this module

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        (norm,) = self._norm
        assert norm.running_var is not None
        deviation = (norm.running_var + norm.eps).sqrt()
        rounded = torch.exp2((weight.detach().abs().clamp(min=LEAST) / deviation).log2().round())
        size = weight.abs()
        # The difference is an exact zero that carries the gradients.
        return rounded * deviation + (size - size.detach())


def shift_norms(model: nn.Module, names: Container[str]) -> tuple[str, ...]:
    """Give the BatchNorms right behind layers scales that are powers of two, to be trained so.

    Channels with a negative scale are turned round first, so that none has one.

    Parameters
    ----------
    model : changed in place; without other parametrizations of the layers in `names`
    names : of convolutions; those without a BatchNorm right behind stay as they are

    Returns
    -------
    Names of the convolutions whose BatchNorm was found.
    """
    layers, found = weight_layers(model), []
    for name, norm in normalized(model).items():
        if name in names and norm.affine and norm.running_var is not None:
            _turn(layers[name], norm)
            parametrize.register_parametrization(norm, "weight", _Power(norm))
            found.append(name)
    return tuple(found)


def fix_shift_norms(model: nn.Module) -> None:
    """Make the scales ordinary ones."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")


def _turn(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Change the sign of a convolution's channels whose scale is negative, and of the scale."""
    sign = torch.where(norm.weight.detach() < 0, -1.0, 1.0)
    assert norm.running_mean is not None
    with torch.no_grad():
        conv.weight.mul_(sign.reshape(-1, 1, 1, 1))
        if conv.bias is not None:
            conv.bias.mul_(sign)
        norm.running_mean.mul_(sign)
        norm.weight.mul_(sign)
