"""The operators that Tilewright imports, and every attribute of theirs that it handles.

An attribute that is not listed is refused: nothing that a model says is ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tilewright.graph import functions, onnx_maps, onnx_pool, onnx_weights
from tilewright.graph.lowering import Lowering
from tilewright.graph.onnx_model import Node

__all__ = ["OPERATORS", "Operator", "registered_operator"]


@dataclass(frozen=True, slots=True)
class Operator:
    """How an operator is lowered, and the attributes that this takes into account."""

    lower: Callable[[Lowering, Node], None]
    attributes: frozenset[str] = frozenset()


def _operator(lower: Callable[[Lowering, Node], None], attributes: str = "") -> Operator:
    return Operator(lower, frozenset(attributes.split()))


_WINDOW = "auto_pad dilations kernel_shape pads strides"

OPERATORS: dict[str, Operator] = {
    "Add": _operator(onnx_weights.add),
    "AveragePool": _operator(onnx_pool.average_pool, f"{_WINDOW} ceil_mode count_include_pad"),
    "BatchNormalization": _operator(
        onnx_weights.batch_norm, "epsilon momentum spatial training_mode"
    ),
    "Cast": _operator(onnx_maps.cast, "to saturate round_mode"),
    "CastLike": _operator(onnx_maps.cast_like, "saturate round_mode"),
    "Clip": _operator(onnx_maps.clip, "min max"),
    "Concat": _operator(onnx_maps.concat, "axis"),
    "Conv": _operator(onnx_weights.conv, f"{_WINDOW} group"),
    "DepthToSpace": _operator(onnx_maps.move, "blocksize mode"),
    "Div": _operator(onnx_weights.divide),
    "Dropout": _operator(onnx_maps.dropout, "ratio seed"),
    "Flatten": _operator(onnx_maps.move, "axis"),
    "Gather": _operator(onnx_maps.move, "axis"),
    "Gemm": _operator(onnx_weights.gemm, "alpha beta transA transB"),
    "GlobalAveragePool": _operator(onnx_pool.global_pool),
    "GlobalMaxPool": _operator(onnx_pool.global_pool),
    "Identity": _operator(onnx_maps.identity),
    "LeakyRelu": _operator(onnx_maps.leaky_relu, "alpha"),
    "LogSoftmax": _operator(onnx_maps.softmax, "axis"),
    "MatMul": _operator(onnx_weights.matmul),
    "Max": _operator(onnx_maps.bound),
    "MaxPool": _operator(onnx_pool.max_pool, f"{_WINDOW} ceil_mode storage_order"),
    "Min": _operator(onnx_maps.bound),
    "Mul": _operator(onnx_weights.multiply),
    "PRelu": _operator(onnx_maps.p_relu),
    "Pad": _operator(onnx_pool.pad, "mode pads value"),
    "ReduceMax": _operator(onnx_pool.reduce_map, "axes keepdims noop_with_empty_axes"),
    "ReduceMean": _operator(onnx_pool.reduce_map, "axes keepdims noop_with_empty_axes"),
    "Relu": _operator(onnx_maps.relu),
    "Reshape": _operator(onnx_maps.move, "allowzero"),
    "Sigmoid": _operator(onnx_maps.sigmoid),
    "Slice": _operator(onnx_maps.move),
    "Softmax": _operator(onnx_maps.softmax, "axis"),
    "SpaceToDepth": _operator(onnx_maps.move, "blocksize mode"),
    "Split": _operator(onnx_maps.move, "axis num_outputs split"),
    "Squeeze": _operator(onnx_maps.move, "axes"),
    "Sub": _operator(onnx_weights.subtract),
    "Sum": _operator(onnx_weights.add),
    "Transpose": _operator(onnx_maps.move, "perm"),
    "Unsqueeze": _operator(onnx_maps.move, "axes"),
}
"""By ONNX operator type (default domain)."""


def registered_operator(name: str) -> Operator | None:
    """How an operator is lowered for which a function is registered; it comes before OPERATORS."""
    function = functions.for_operator(name)
    if function is None:
        return None
    return Operator(onnx_maps.function(function.name), function.attributes)
