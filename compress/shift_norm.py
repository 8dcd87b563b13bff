"""BatchNorm whose scales are powers of two.

Folding BatchNorm multiplies each output channel's weights by a scale of its own, and a layer of three
values would have three for each channel. A power of two is the channel's fractional length instead,
and the integers of all channels stay the same three.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from tilewright.compress.layers import normalized, weight_layers

__all__ = ["fix_shift_norms", "settle_shift_norms", "shift_norms"]

LEAST = 1e-6
"""Of a scale's magnitude: a channel of no scale has no power of two."""
REACH = 0.75
"""How far a scale's logarithm may be from its exponent: more than half, so that batches that differ a
little do not change it to and fro."""


class _Power(nn.Module):
    """Parametrization of a BatchNorm's weight: with the running variance it is a power of two.

    Training normalizes by each batch's variance as ever, so that the scale is near the power of two.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self._norm = (norm,)  # in a tuple, so that it is no part of this module
        self.exponents: torch.Tensor
        self.register_buffer("exponents", self._logarithms(norm.weight).round())

    def _logarithms(self, weight: torch.Tensor) -> torch.Tensor:
        return (weight.detach().abs().clamp(min=LEAST) / self._deviation()).log2()

    def _deviation(self) -> torch.Tensor:
        (norm,) = self._norm
        assert norm.running_var is not None
        return (norm.running_var + norm.eps).sqrt()

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        if self._norm[0].training:
            wanted = self._logarithms(weight)
            far = (wanted - self.exponents).abs() > REACH
            self.exponents.copy_(torch.where(far, wanted.round(), self.exponents))
        size = weight.abs()
        # The difference is an exact zero that carries the gradients.
        return torch.exp2(self.exponents) * self._deviation() + (size - size.detach())


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


def settle_shift_norms(model: nn.Module) -> None:
    """Hold scales, means and variances as they are while what else there is goes on being trained.

    Then what is trained is what runs: batches no longer bring their own means and variances.
    """
    for module in _found(model):
        module.parametrizations.weight.original.requires_grad_(False)
        module.register_forward_pre_hook(_evaluate)


def fix_shift_norms(model: nn.Module) -> None:
    """Make the scales ordinary ones."""
    for module in _found(model):
        parametrize.remove_parametrizations(module, "weight")
        module.weight.requires_grad_(True)
        hooks = module._forward_pre_hooks
        for number in [number for number, hook in hooks.items() if hook is _evaluate]:
            del hooks[number]


def _found(model: nn.Module) -> list[Any]:
    """BatchNorms whose scales are powers of two."""
    norms = (module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    return [norm for norm in norms if parametrize.is_parametrized(norm, "weight")]


def _evaluate(norm: nn.Module, _: Any) -> None:
    norm.eval()


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
