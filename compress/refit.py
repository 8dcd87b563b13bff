"""Refitting of what pruning leaves, so that each layer gives the responses that it gave before.

Least squares on calibration images, from the input on: inputs are those of the pruned network, targets
the original's responses, so that each layer makes up for the ones before it as well (the asymmetric
reconstruction of Zhang et al. 2015, with a mask instead of a rank). It takes seconds where retraining
takes minutes, and leaves retraining little to do.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from tilewright.compress.layers import Layer, weight_layers
from tilewright.compress.lowrank import inputs_of

__all__ = ["refit"]

Matrix = npt.NDArray[np.float64]

POSITIONS = 20
"""Positions of a map that are sampled from each image."""
DAMPING = 1e-3
"""Of the mean square of an input, which holds weights near those that were."""


def refit(model: nn.Module, original: nn.Module, images: torch.Tensor) -> None:
    """Fit the weights (and biases) of the layers of `model` that have zeros; zeros stay zeros.

    Parameters
    ----------
    model : pruned, without masks; changed in place
    original : the same module before pruning
    images : calibration images, as the modules take them
    """
    before = weight_layers(original)
    for name, layer in weight_layers(model).items():
        weight = layer.weight.detach()
        grouped = isinstance(layer, nn.Conv2d) and layer.groups != 1
        if bool((weight != 0).all()) or not bool((weight != 0).any()) or grouped:
            continue
        seen, wanted = (_patches(layer, inputs_of(m, name, images)) for m in (model, original))
        flat = before[name].weight.detach().double().numpy().reshape(len(weight), -1)
        targets = wanted @ flat.T
        kept = (weight != 0).numpy().reshape(len(weight), -1)
        fitted, shift = _solve(seen, targets, flat, kept, bias=layer.bias is not None)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(fitted).reshape(weight.shape))
            if layer.bias is not None:
                layer.bias.copy_(before[name].bias + torch.from_numpy(shift))


def _solve(
    inputs: Matrix, targets: Matrix, start: Matrix, kept: npt.NDArray[np.bool_], *, bias: bool
) -> tuple[Matrix, Matrix]:
    """Weights [O, d] that are 0 where not `kept`, near `start`, and what to add to biases [O]."""
    means = (inputs.mean(axis=0), targets.mean(axis=0)) if bias else (0.0, 0.0)
    x, y = inputs - means[0], targets - means[1]
    gram, cross = x.T @ x / len(x), x.T @ y / len(x)
    damping = DAMPING * float(np.trace(gram)) / len(gram)
    weights = np.zeros(start.shape)
    patterns, which = np.unique(kept, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        outputs, used = np.flatnonzero(which.ravel() == number), np.flatnonzero(pattern)
        if not len(used):
            continue
        damped = gram[np.ix_(used, used)] + damping * np.eye(len(used))
        right = cross[np.ix_(used, outputs)] + damping * start[np.ix_(outputs, used)].T
        weights[np.ix_(outputs, used)] = np.linalg.solve(damped, right).T
    shift = targets.mean(axis=0) - inputs.mean(axis=0) @ weights.T if bias else np.zeros(len(start))
    return weights, shift


def _patches(layer: Layer, inputs: torch.Tensor) -> Matrix:
    """What the layer multiplies, [n, d], at the same random positions whatever the inputs."""
    if isinstance(layer, nn.Linear):
        flat: Matrix = inputs.flatten(1).double().numpy()
        return flat
    padding = layer._reversed_padding_repeated_twice
    columns = functional.unfold(
        functional.pad(inputs, padding), layer.kernel_size, layer.dilation, 0, layer.stride
    )
    places = torch.from_numpy(
        np.random.default_rng(0).integers(0, columns.shape[2], (len(columns), POSITIONS))
    )
    picked = columns.gather(2, places[:, None, :].expand(-1, columns.shape[1], -1))
    result: Matrix = picked.transpose(1, 2).reshape(-1, columns.shape[1]).double().numpy()
    return result
