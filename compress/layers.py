"""The layers of a PyTorch module that hold weights to compress."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils import prune

from tilewright.errors import TilewrightError

__all__ = [
    "Layer",
    "fix_zeros",
    "fold_batch_norm",
    "normalized",
    "set_masks",
    "sparsity",
    "weight_layers",
]

Layer = Any
"""An nn.Conv2d or nn.Linear: PyTorch has no types here."""


def weight_layers(model: nn.Module) -> dict[str, Layer]:
    """Convolutions and fully connected layers by name, in the module's order.

    Raises
    ------
    TilewrightError
        If there is none.
    """
    found = {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    if not found:
        raise TilewrightError(
            f"{type(model).__name__} has no Conv2d and no Linear layer, so there is nothing to "
            "compress"
        )
    return found


def set_masks(model: nn.Module, masks: Mapping[str, torch.Tensor]) -> None:
    """Hold the weights where a layer's mask is 0 at zero, in place of any mask before.

    Raises
    ------
    TilewrightError
        If a mask leaves nothing of a layer.
    """
    layers = weight_layers(model)
    for name, mask in masks.items():
        if not mask.any():
            raise TilewrightError(
                f"Layer {name!r}: pruning leaves none of its weights; prune less, or leave this "
                "layer out"
            )
        if prune.is_pruned(layers[name]):
            prune.remove(layers[name], "weight")
        prune.custom_from_mask(layers[name], "weight", mask)


def fix_zeros(model: nn.Module) -> None:
    """Make masks part of the weights, which leaves an ordinary module."""
    for layer in weight_layers(model).values():
        if prune.is_pruned(layer):
            prune.remove(layer, "weight")


def sparsity(model: nn.Module) -> float:
    """Share of all layers' weights that are zero."""
    weights = [layer.weight for layer in weight_layers(model).values()]
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    return zeros / sum(int(weight.numel()) for weight in weights)


def fold_batch_norm(model: nn.Module) -> nn.Module:
    """The module, in evaluation mode, with each BatchNorm folded into the convolution before it.

    Only those within an `nn.Sequential` right behind a convolution can be found; the others stay.
    """
    model.eval()
    for part, first, second in _pairs(model):
        conv, norm = part._modules[first], part._modules[second]
        assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        part._modules[first] = nn.utils.fusion.fuse_conv_bn_eval(conv, norm)
        part._modules[second] = nn.Identity()
    return model


def normalized(model: nn.Module) -> dict[str, nn.BatchNorm2d]:
    """The BatchNorm right behind a convolution in an `nn.Sequential`, by the convolution's name."""
    behind = {part._modules[first]: part._modules[second] for part, first, second in _pairs(model)}
    return {name: behind[layer] for name, layer in weight_layers(model).items() if layer in behind}


def _pairs(model: nn.Module) -> list[tuple[nn.Sequential, str, str]]:
    """Each `nn.Sequential` with the names of a convolution and the BatchNorm right behind it."""
    found = []
    for part in model.modules():
        if isinstance(part, nn.Sequential):
            for first, second in itertools.pairwise(part._modules):
                conv, norm = part._modules[first], part._modules[second]
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    found.append((part, first, second))
    return found
