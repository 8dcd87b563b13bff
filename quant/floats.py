"""The float network, one layer at a time, as it runs beside the fixed one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tilewright.graph.execute import run_float
from tilewright.graph.ir import Graph, Input, Layer

__all__ = ["float_layer", "walk_float"]

FloatArray = npt.NDArray[np.float32]


def float_layer(layer: Layer, xs: Sequence[FloatArray]) -> FloatArray:
    """Output of `layer`, float32 [N, C, H, W], from its `all_inputs`."""
    named = dict(zip(layer.all_inputs, xs, strict=True))
    graph = Graph(
        name=layer.name,
        inputs=tuple(Input(name=name, shape=x.shape[1:]) for name, x in named.items()),
        layers=(layer,),
        outputs=(),
    )
    return run_float(graph, named, keep=[layer.name])[layer.name]


def walk_float(
    graph: Graph, inputs: Mapping[str, FloatArray]
) -> Iterator[tuple[Layer, FloatArray]]:
    """Run the float network layer by layer, forgetting every tensor after its last reader.

    `inputs` are normalized (see `tilewright.quant.data.normalize`), float32 [N, C, H, W].
    """
    alive = dict(inputs)
    last = {name: i for i, layer in enumerate(graph.layers) for name in layer.all_inputs}
    for index, layer in enumerate(graph.layers):
        value = float_layer(layer, [alive[n] for n in layer.all_inputs])
        alive[layer.name] = value
        for name in [n for n in alive if last.get(n, -1) <= index]:
            del alive[name]
        yield layer, value
