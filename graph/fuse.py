"""Fusing single operators into layers: conv → residual → activation → max pooling.

Only a tensor that nothing else reads disappears. A fused layer keeps the name of its convolution
(or other first part) and takes the place of its last part, so the order stays topological and a
residual operand is always computed before it.

A max pooling is fused when its windows do not overlap (kernel <= stride) and span at most 4x4
pixels: overlapping windows would compute convolution pixels twice, and a large window would have
to fit the accumulators whole. conv → pool → activation fuses as well, since maxima commute with
monotone functions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tilewright.errors import TilewrightError
from tilewright.graph.ir import Activation, ActivationKind, Graph, Layer, Op, Pool

__all__ = ["compose", "fuse"]

_MAX_FUSED_WINDOW = 4
_NONE = Activation()

_Rule = Callable[["_Fusion", Layer], tuple[Layer, Layer] | None]


@dataclass(slots=True)
class _Fusion:
    layers: dict[str, Layer]
    outputs: list[str]
    affine: set[str]
    results: dict[str, str]
    """Fused layer → original layer whose tensor it now makes."""

    def uses(self) -> Counter[str]:
        counts = Counter(self.outputs)
        for layer in self.layers.values():
            counts.update(layer.all_inputs)
        return counts

    def absorb(self, first: Layer, last: Layer) -> None:
        """Put `first`, already changed, in the place of `last`, whose tensor it now makes."""
        renamed = {last.name: first.name}
        layers: dict[str, Layer] = {}
        for name, layer in self.layers.items():
            if name == last.name:
                layers[first.name] = first
            elif name != first.name:
                layers[name] = _rename(layer, renamed)
        self.layers = layers
        self.outputs = [renamed.get(name, name) for name in self.outputs]
        self.results[first.name] = self.results.pop(last.name, last.name)


def fuse(graph: Graph, affine: set[str]) -> tuple[Graph, dict[str, str]]:
    """Fuse the layers of a graph of single operators; layers that no output needs are dropped.

    Parameters
    ----------
    affine : layers that may be multiplied into a preceding convolution (1x1 depthwise)

    Returns
    -------
    The fused graph, and for each of its layers the layer of `graph` that made the same tensor.
    """
    fusion = _Fusion(_reachable(graph), [o.tensor for o in graph.outputs], set(affine), results={})
    for rule in (_fold_affine, _fuse_residual, _fuse_activation, _fuse_max_pool):
        _apply(fusion, rule)
    outputs = tuple(
        replace(output, tensor=tensor)
        for output, tensor in zip(graph.outputs, fusion.outputs, strict=True)
    )
    fused = Graph(
        name=graph.name,
        inputs=graph.inputs,
        layers=tuple(fusion.layers.values()),
        outputs=outputs,
    )
    return fused, {name: fusion.results.get(name, name) for name in fusion.layers}


def _apply(fusion: _Fusion, rule: _Rule) -> None:
    changed = True
    while changed:
        changed = False
        for name in list(fusion.layers):
            layer = fusion.layers.get(name)
            found = rule(fusion, layer) if layer is not None else None
            if found is not None:
                fusion.absorb(*found)
                changed = True


def _reachable(graph: Graph) -> dict[str, Layer]:
    wanted = {output.tensor for output in graph.outputs}
    for layer in reversed(graph.layers):
        if layer.name in wanted:
            wanted.update(layer.all_inputs)
    return {layer.name: layer for layer in graph.layers if layer.name in wanted}


def _rename(layer: Layer, names: dict[str, str]) -> Layer:
    if not set(layer.all_inputs).intersection(names):
        return layer
    residual = None if layer.residual is None else names.get(layer.residual, layer.residual)
    return replace(layer, inputs=tuple(names.get(n, n) for n in layer.inputs), residual=residual)


def _plain_conv(fusion: _Fusion, name: str) -> Layer | None:
    """Convolution `name` if nothing is fused behind it and only one layer reads it."""
    layer = fusion.layers.get(name)
    plain = (
        layer is not None
        and layer.op is Op.CONV
        and layer.residual is None
        and layer.activation.kind is ActivationKind.NONE
        and layer.max_pool is None
    )
    return layer if plain and fusion.uses()[name] == 1 else None


def _fold_affine(fusion: _Fusion, last: Layer) -> tuple[Layer, Layer] | None:
    first = _plain_conv(fusion, last.inputs[0]) if last.name in fusion.affine else None
    if first is None:
        return None
    assert first.conv is not None and last.conv is not None
    scale = last.conv.weight.astype(np.float64)
    with np.errstate(over="ignore"):
        weight = (first.conv.weight * scale).astype(np.float32)
        bias = (first.conv.bias * scale.reshape(-1) + last.conv.bias).astype(np.float32)
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise TilewrightError(
            f"Layer {first.name!r}: folding {last.source!r} into its weights gives values beyond "
            "float32; train or export the network again."
        )
    return replace(first, conv=replace(first.conv, weight=weight, bias=bias)), last


def _fuse_residual(fusion: _Fusion, last: Layer) -> tuple[Layer, Layer] | None:
    if last.op is not Op.ADD or len(set(last.inputs)) != 2 or len(last.inputs) != 2:
        return None
    order = list(fusion.layers)
    for name in sorted(last.inputs, key=lambda n: -order.index(n) if n in order else 1):
        first = _plain_conv(fusion, name)
        if first is not None:
            other = next(n for n in last.inputs if n != name)
            return replace(first, residual=other, activation=last.activation), last
    return None


def _fuse_activation(fusion: _Fusion, last: Layer) -> tuple[Layer, Layer] | None:
    first = fusion.layers.get(last.inputs[0]) if last.op is Op.IDENTITY else None
    if first is None or first.max_pool is not None or fusion.uses()[first.name] != 1:
        return None
    both = compose(first.activation, last.activation)
    return None if both is None else (replace(first, activation=both), last)


def _fuse_max_pool(fusion: _Fusion, last: Layer) -> tuple[Layer, Layer] | None:
    first = fusion.layers.get(last.inputs[0]) if last.op is Op.MAX_POOL else None
    if first is None or first.op is not Op.CONV or first.max_pool is not None:
        return None
    both = compose(first.activation, last.activation)
    if both is not None and both.kind is ActivationKind.FUNCTION:
        return None  # maxima do not commute with a function that may fall
    assert last.pool is not None
    if both is None or not _is_small(last.pool) or fusion.uses()[first.name] != 1:
        return None
    return replace(first, activation=both, max_pool=last.pool), last


def _is_small(pool: Pool) -> bool:
    disjoint = pool.kernel[0] <= pool.stride[0] and pool.kernel[1] <= pool.stride[1]
    return disjoint and max(pool.kernel) <= _MAX_FUSED_WINDOW


def compose(first: Activation, second: Activation) -> Activation | None:
    """One activation equal to `first` and then `second`; None if there is none."""
    kinds = (first.kind, second.kind)
    if ActivationKind.NONE in kinds:
        return second if first.kind is ActivationKind.NONE else first
    if ActivationKind.FUNCTION in kinds:
        return None
    if kinds == (ActivationKind.CLIP, ActivationKind.CLIP):
        lo, hi = (min(max(edge, second.lo), second.hi) for edge in (first.lo, first.hi))
        return Activation(kind=ActivationKind.CLIP, lo=lo, hi=hi) if lo < hi else None
    if kinds == (ActivationKind.LEAKY, ActivationKind.LEAKY):
        return replace(first, slope=first.slope * second.slope)
    clip = first if first.kind is ActivationKind.CLIP else second
    return clip if clip.lo >= 0.0 else None
