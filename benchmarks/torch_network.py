"""A network of Tilewright's as an ordinary PyTorch module, which other tools take."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from tilewright.graph.ir import Activation, ActivationKind, Graph, Layer, Op, Pool

__all__ = ["TorchNetwork"]


class TorchNetwork(nn.Module):
    """Computes what `graph` does: float32 [N, C, H, W], normalized, to the one output [N, classes].

    Every layer is made of `torch.nn` modules of its own, so that torch.fx can trace and replace them.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        (self.source,), (output,) = [i.name for i in graph.inputs], graph.outputs
        self.output = output.tensor
        self.plan: list[tuple[Layer, list[str]]] = []
        for index, layer in enumerate(graph.layers):
            names = []
            for number, part in enumerate(_parts(graph, layer)):
                names.append(f"layer{index}_{number}")
                self.add_module(names[-1], part)
            self.plan.append((layer, names))
        self.main = {layer.name: _main_count(graph, layer) for layer in graph.layers}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores [N, classes]."""
        tensors = {self.source: x}
        for layer, names in self.plan:
            modules = [getattr(self, name) for name in names]
            value = tensors[layer.inputs[0]]
            main = self.main[layer.name]
            for module in modules[:main]:
                value = module(value)
            if layer.op is Op.CONCAT:
                value = torch.cat([tensors[name] for name in layer.inputs], dim=1)
            if layer.op is Op.ADD:
                for name in layer.inputs[1:]:
                    value = torch.add(value, tensors[name])
            if layer.residual is not None:
                value = torch.add(value, tensors[layer.residual])
            for module in modules[main:]:
                value = module(value)
            tensors[layer.name] = value
        return torch.flatten(tensors[self.output], 1)


def _main_count(graph: Graph, layer: Layer) -> int:
    """How many of the layer's modules come before its residual."""
    return len(_main(graph, layer))


def _parts(graph: Graph, layer: Layer) -> list[nn.Module]:
    pool = [] if layer.max_pool is None else _max_pool(layer.max_pool)
    return [*_main(graph, layer), *_activation(layer.activation), *pool]


def _main(graph: Graph, layer: Layer) -> list[nn.Module]:
    shape = graph.shapes[layer.inputs[0]]
    if layer.conv is not None:
        return _conv(layer)
    if layer.op is Op.MAX_POOL:
        assert layer.pool is not None
        return _max_pool(layer.pool)
    if layer.op is Op.AVG_POOL:
        assert layer.pool is not None
        if layer.pool.kernel == shape[1:] and not any(layer.pool.pads):
            return [nn.AdaptiveAvgPool2d(1)]
        raise ValueError(f"Layer {layer.name!r}: only global averages have a module here")
    return []


def _conv(layer: Layer) -> list[nn.Module]:
    conv = layer.conv
    assert conv is not None
    top, bottom, left, right = conv.pads
    even = (top, left) == (bottom, right)
    module = nn.Conv2d(
        conv.weight.shape[1] * conv.groups,
        conv.weight.shape[0],
        conv.kernel,
        conv.stride,
        (top, left) if even else 0,
        conv.dilation,
        conv.groups,
    )
    module.weight.data = torch.from_numpy(np.array(conv.weight))
    module.bias.data = torch.from_numpy(np.array(conv.bias))
    return [module] if even else [nn.ZeroPad2d((left, right, top, bottom)), module]


def _max_pool(pool: Pool) -> list[nn.Module]:
    top, bottom, left, right = pool.pads
    below, beside = pool.extra
    module = nn.MaxPool2d(pool.kernel, pool.stride)
    if not any((*pool.pads, *pool.extra)):
        return [module]
    border = (left, right + beside, top, bottom + below)
    return [nn.ConstantPad2d(border, -1e30), module]


def _activation(activation: Activation) -> list[Any]:
    if activation.kind is ActivationKind.NONE:
        return []
    if activation.kind is ActivationKind.CLIP and activation.lo == 0.0:
        if activation.hi == float("inf"):
            return [nn.ReLU()]
        if activation.hi == 6.0:
            return [nn.ReLU6()]
    raise ValueError(f"{activation} has no module here")
