"""Low rank by response reconstruction (Zhang et al. 2015).

Of "Efficient and Accurate Approximations of Nonlinear Convolutional Networks": a convolution of d filters becomes one of d' filters and a 1x1 convolution, so that the layer's
responses, after its ReLU, stay near the original's on calibration images (section 2).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import fx, nn
from torch.nn import functional

from tilewright.compress.layers import Layer, weight_layers
from tilewright.errors import TilewrightError

__all__ = [
    "METHODS",
    "Factors",
    "approximate",
    "energies",
    "factorize",
    "fit",
    "inputs_of",
    "svd",
]

Matrix = npt.NDArray[np.float64]

METHODS = ("linear", "symmetric", "asymmetric")
"""Linear responses; responses after the ReLU; those, of inputs that are approximated already."""

PENALTIES = (0.01,) * 25 + (1.0,) * 25
"""The relaxation's weight in each step: section 2.2.2."""

POSITIONS = 10
"""Positions of a map that are sampled from each image."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Factors:
    """y is approximated by left @ right @ y + bias: left [d, d'], right [d', d], bias [d]."""

    left: Matrix
    right: Matrix
    bias: Matrix


def fit(inputs: Matrix, targets: Matrix, rank: int, *, relu: bool) -> Factors:
    """Best M = left @ right of a rank, and bias: min sum ||r(target) - r(M input + bias)||^2.

    Without `relu` r is the identity and the solution is exact: reduced-rank regression, which is
    PCA where inputs and targets are the same. With it, an auxiliary z takes the place of the
    response, and z and (M, bias) are found by turns with a rising penalty for their distance.

    Parameters
    ----------
    inputs, targets : [d, n] responses of the approximated and of the original network
    """
    solver = _Regression(inputs)
    factors = solver.solve(targets, rank)
    if not relu:
        return factors
    wanted = np.maximum(targets, 0.0)
    for penalty in PENALTIES:
        found = factors.left @ (factors.right @ inputs) + factors.bias[:, None]
        negative = np.minimum(found, 0.0)
        positive = np.maximum((penalty * found + wanted) / (penalty + 1.0), 0.0)
        cost_negative = np.square(wanted) + penalty * np.square(negative - found)
        cost_positive = np.square(wanted - positive) + penalty * np.square(positive - found)
        z = np.where(cost_negative < cost_positive, negative, positive)
        factors = solver.solve(z, rank)
    return factors


class _Regression:
    """Reduced-rank regression on fixed inputs: the GSVD of the paper."""

    def __init__(self, inputs: Matrix) -> None:
        self._mean = inputs.mean(axis=1)
        self._inputs = inputs - self._mean[:, None]
        gram = self._inputs @ self._inputs.T
        values, vectors = np.linalg.eigh(gram)
        # Directions in which the responses do not vary need no inverse.
        kept = values > values[-1] * 1e-9
        roots = np.sqrt(values[kept])
        self._root = vectors[:, kept] * roots
        self._inverse = (vectors[:, kept] / roots) @ (vectors[:, kept] / roots).T

    def solve(self, targets: Matrix, rank: int) -> Factors:
        mean = targets.mean(axis=1)
        full = (targets - mean[:, None]) @ self._inputs.T @ self._inverse
        left = np.linalg.svd(full @ self._root, full_matrices=False)[0][:, :rank]
        right = left.T @ full
        return Factors(left=left, right=right, bias=mean - left @ (right @ self._mean))


def energies(model: nn.Module, images: torch.Tensor, names: list[str]) -> dict[str, Matrix]:
    """Share of the response variance in the first 1, 2, ..., d directions of each layer.

    Of a fully connected layer they are the shares of its weight's squared singular values.

    Raises
    ------
    TilewrightError
        If a layer gives the same for all images.
    """
    layers, found = weight_layers(model), {}
    for name in names:
        if isinstance(layers[name], nn.Linear):
            weight: Matrix = layers[name].weight.detach().double().numpy()
            spectrum = np.square(np.linalg.svd(weight, compute_uv=False))
        else:
            y = _responses(layers[name], inputs_of(model, name, images))
            spectrum = np.linalg.eigvalsh(np.atleast_2d(np.cov(y)))[::-1].clip(min=0)
        if not spectrum.sum() > 0:
            raise TilewrightError(
                f"Layer {name!r}: gives the same for all calibration images, so that no rank is better "
                "than another; take the layer out of the network, or train it"
            )
        found[name] = np.cumsum(spectrum) / spectrum.sum()
    return found


def approximate(
    model: nn.Module,
    images: torch.Tensor,
    ranks: Mapping[str, int],
    *,
    method: str = "asymmetric",
) -> nn.Module:
    """A copy of the module with the layers in `ranks` factorized, from the input to the output.

    BatchNorm must have been folded (`layers.fold_batch_norm`).

    Parameters
    ----------
    images : calibration images, as the module takes them
    ranks : rank of each layer; fully connected ones are cut by SVD
    method : one of METHODS

    Raises
    ------
    TilewrightError
        If the method is unknown, a convolution is grouped, or a rank is none of its layer.
    """
    if method not in METHODS:
        raise TilewrightError(f"Low rank has methods {', '.join(METHODS)}, not {method!r}")
    original, result = model.eval(), copy.deepcopy(model).eval()
    rectified = _before_relu(model)
    for name, layer in weight_layers(model).items():
        if name not in ranks:
            continue
        _check(name, layer, ranks[name])
        if isinstance(layer, nn.Linear):
            _replace(result, name, svd(layer, ranks[name]))
            continue
        inputs = inputs_of(original, name, images)
        seen = inputs_of(result, name, images) if method == "asymmetric" else inputs
        factors = fit(
            _responses(layer, seen),
            _responses(layer, inputs),
            ranks[name],
            relu=method != "linear" and name in rectified,
        )
        _replace(result, name, factorize(layer, factors))
    return result


def factorize(conv: nn.Conv2d, factors: Factors) -> nn.Sequential:
    """Two convolutions for one: d' filters of its size, then 1x1."""
    rank = len(factors.right)
    # Responses held the bias, so the first one applies `right` to W x + b.
    size = (conv.kernel_size[0], conv.kernel_size[1])
    first = nn.Conv2d(
        conv.in_channels,
        rank,
        size,
        stride=conv.stride,
        padding=conv.padding,
        dilation=conv.dilation,
        bias=False,
    )
    second = nn.Conv2d(rank, conv.out_channels, 1)
    weight = conv.weight.detach().double().numpy().reshape(conv.out_channels, -1)
    shift = 0.0 if conv.bias is None else conv.bias.detach().double().numpy()
    bias = factors.bias + factors.left @ (factors.right @ (np.zeros(len(weight)) + shift))
    with torch.no_grad():
        first.weight.copy_(torch.from_numpy(factors.right @ weight).reshape(first.weight.shape))
        second.weight.copy_(torch.from_numpy(factors.left).reshape(second.weight.shape))
        second.bias.copy_(torch.from_numpy(bias))
    return nn.Sequential(first, second)


def svd(linear: nn.Linear, rank: int) -> nn.Sequential:
    """Two fully connected layers for one, by truncated singular value decomposition."""
    u, s, v = np.linalg.svd(linear.weight.detach().double().numpy(), full_matrices=False)
    root = np.sqrt(s[:rank])
    first = nn.Linear(linear.in_features, rank, bias=False)
    second = nn.Linear(rank, linear.out_features, bias=linear.bias is not None)
    with torch.no_grad():
        first.weight.copy_(torch.from_numpy(root[:, None] * v[:rank]))
        second.weight.copy_(torch.from_numpy(u[:, :rank] * root))
        if linear.bias is not None:
            second.bias.copy_(linear.bias)
    return nn.Sequential(first, second)


def _check(name: str, layer: Layer, rank: int) -> None:
    most = min(layer.weight.shape[0], layer.weight[0].numel())
    if not 1 <= rank <= most:
        raise TilewrightError(f"Layer {name!r}: a rank of {rank} is not possible, 1..{most} are")
    if isinstance(layer, nn.Conv2d) and layer.groups != 1:
        raise TilewrightError(
            f"Layer {name!r}: a convolution of {layer.groups} groups is not factorized; leave it out"
        )


def inputs_of(model: nn.Module, name: str, images: torch.Tensor) -> torch.Tensor:
    """What a layer gets for the images."""
    caught: list[torch.Tensor] = []
    layer = model.get_submodule(name)
    handle = layer.register_forward_pre_hook(lambda _, given: caught.append(given[0]))
    try:
        with torch.inference_mode():
            for part in images.split(100):
                model(part)
    finally:
        handle.remove()
    return torch.cat(caught)


def _responses(layer: Layer, inputs: torch.Tensor) -> Matrix:
    """Responses [d, n] of a convolution at the same random positions whatever the inputs."""
    rng = np.random.default_rng(0)
    with torch.inference_mode():
        maps = [_forward(layer, part).flatten(2) for part in inputs.split(100)]
    y = torch.cat(maps).double().numpy()
    places = rng.integers(0, y.shape[2], (len(y), POSITIONS))
    picked: Matrix = np.take_along_axis(y, places[:, None, :], axis=2)
    return picked.transpose(1, 0, 2).reshape(y.shape[1], -1)


def _forward(layer: Layer, x: torch.Tensor) -> torch.Tensor:
    assert isinstance(layer, nn.Conv2d)
    return functional.conv2d(
        x, layer.weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups
    )


def _before_relu(model: nn.Module) -> set[str]:
    """Names of the layers whose results only a ReLU reads."""
    found = set()
    graph = fx.symbolic_trace(model)
    modules = dict(graph.named_modules())
    for node in graph.graph.nodes:
        if node.op == "call_module" and isinstance(modules[node.target], nn.Conv2d):
            users = list(node.users)
            while len(users) == 1 and _is(users[0], modules, nn.Identity, None):
                users = list(users[0].users)
            if len(users) == 1 and _is(users[0], modules, nn.ReLU, "relu"):
                found.add(str(node.target))
    return found


def _is(
    node: fx.Node, modules: Mapping[str, nn.Module], kind: type[nn.Module], name: str | None
) -> bool:
    if node.op == "call_module":
        return isinstance(modules[str(node.target)], kind)
    return name is not None and getattr(node.target, "__name__", node.target) == name


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    model.get_submodule(parent)._modules[child] = module.eval()
