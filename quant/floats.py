"""The float network, one layer at a time, as the search runs it beside the fixed one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from tilewright.graph.ir import Activation, ActivationKind, Graph, Layer, Op
from tilewright.quant.accumulator import (
    as_tensor,
    average_divisors,
    convolve,
    maximum,
    window_sums,
)

__all__ = ["float_layer", "walk_float"]


def float_layer(layer: Layer, xs: Sequence[torch.Tensor]) -> torch.Tensor:
    """Output of `layer`, float32 [N, C, H, W], from its `all_inputs`."""
    value = _before_activation(layer, xs)
    value = _activate(value, layer.activation)
    return value if layer.max_pool is None else maximum(value, layer.max_pool)


def walk_float(
    graph: Graph, inputs: Mapping[str, npt.NDArray[np.float32]]
) -> Iterator[tuple[Layer, npt.NDArray[np.float32]]]:
    """Run the float network layer by layer, forgetting every tensor after its last reader.

    `inputs` are normalized (see `tilewright.quant.data.normalize`), float32 [N, C, H, W].
    """
    alive = {name: as_tensor(values) for name, values in inputs.items()}
    last = {name: i for i, layer in enumerate(graph.layers) for name in layer.all_inputs}
    for index, layer in enumerate(graph.layers):
        with torch.inference_mode():
            value = float_layer(layer, [alive[n] for n in layer.all_inputs])
        alive[layer.name] = value
        for name in [n for n in alive if last.get(n, -1) <= index]:
            del alive[name]
        yield layer, value.numpy()


def _before_activation(layer: Layer, xs: Sequence[torch.Tensor]) -> torch.Tensor:
    if layer.conv is not None:
        value = convolve(xs[0], as_tensor(layer.conv.weight), layer.conv)
        value = value + as_tensor(layer.conv.bias).reshape(-1, 1, 1)
        return value if layer.residual is None else value + xs[1]
    if layer.op is Op.CONCAT:
        return torch.cat(list(xs), dim=1)
    if layer.pool is None:
        return torch.stack(list(xs)).sum(0) if len(xs) > 1 else xs[0]
    if layer.op is Op.MAX_POOL:
        return maximum(xs[0], layer.pool)
    divisors = average_divisors(layer.pool, *xs[0].shape[2:])
    return window_sums(xs[0], layer.pool) / torch.from_numpy(divisors)


def _activate(value: torch.Tensor, activation: Activation) -> torch.Tensor:
    if activation.kind is ActivationKind.CLIP:
        return value.clamp(activation.lo, activation.hi)
    if activation.kind is ActivationKind.LEAKY:
        return F.leaky_relu(value, activation.slope)
    return value
