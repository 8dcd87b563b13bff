"""Operators without weights: activations, Concat, movement of elements, host operators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tilewright.graph.findings import Unsupported
from tilewright.graph.ir import Activation, ActivationKind, Op
from tilewright.graph.lowering import Lowering, Value
from tilewright.graph.maps import feature_map, is_natural, unpadded
from tilewright.graph.onnx_model import FLOAT_TYPES, Node, evaluate

__all__ = [
    "bound",
    "cast",
    "cast_like",
    "clip",
    "concat",
    "dropout",
    "function",
    "identity",
    "leaky_relu",
    "move",
    "p_relu",
    "relu",
    "sigmoid",
    "softmax",
]

_HUGE = float(np.finfo(np.float32).max)


def _activate(state: Lowering, node: Node, activation: Activation, *, position: int = 0) -> None:
    value = unpadded(state, node, state.value(node, position))
    tensor = state.emit(node, Op.IDENTITY, (value.tensor,), activation=activation)
    state.define_value(node.outputs[0], replace(value, tensor=tensor))


def relu(state: Lowering, node: Node) -> None:
    """Lower Relu."""
    _activate(state, node, Activation(kind=ActivationKind.CLIP, lo=0.0))


def clip(state: Lowering, node: Node) -> None:
    """Lower Clip; bounds are attributes before opset 11 and constants since."""
    bounds = []
    for position, name, default in ((1, "min", -_HUGE), (2, "max", _HUGE)):
        operand = state.constant(node, position, name)
        found = node.attrs.get(name, default) if operand is None else np.asarray(operand).item()
        bounds.append(float(found))
    lo = -np.inf if bounds[0] <= -_HUGE else bounds[0]
    hi = np.inf if bounds[1] >= _HUGE else bounds[1]
    if not lo < hi:
        raise Unsupported(f"range [{lo}, {hi}] found, min must be below max", "correct the range")
    if lo == -np.inf and hi == np.inf:
        identity(state, node)
        return
    _activate(state, node, Activation(kind=ActivationKind.CLIP, lo=lo, hi=hi))


def bound(state: Lowering, node: Node) -> None:
    """Lower Max and Min of a feature map with a constant, which PyTorch's clamp may become."""
    constants = [i for i, name in enumerate(node.inputs) if name in state.model.constants]
    if len(node.inputs) != 2 or len(constants) != 1:
        raise Unsupported("feature maps are compared with each other", "compare with a constant")
    limits = state.weights(node, constants[0], "AB"[constants[0]])
    if limits is None or np.unique(limits).size != 1:
        raise Unsupported("the bound differs between elements", "use one bound for all")
    limit = float(limits.reshape(-1)[0])
    lo, hi = (limit, np.inf) if node.op == "Max" else (-np.inf, limit)
    _activate(
        state,
        node,
        Activation(kind=ActivationKind.CLIP, lo=lo, hi=hi),
        position=1 - constants[0],
    )


def _leaky(state: Lowering, node: Node, slope: float, name: str) -> None:
    if not 0.0 <= slope <= 1.0:
        raise Unsupported(f"{slope} found, 0 to 1 is allowed", "train with such a slope", name)
    _activate(state, node, Activation(kind=ActivationKind.LEAKY, slope=slope))


def leaky_relu(state: Lowering, node: Node) -> None:
    """Lower LeakyRelu."""
    _leaky(state, node, float(node.attrs.get("alpha", 0.01)), "alpha")


def p_relu(state: Lowering, node: Node) -> None:
    """Lower PRelu whose slopes are all equal."""
    slopes = state.weights(node, 1, "slope")
    if slopes is None or np.unique(slopes).size != 1:
        count = 0 if slopes is None else np.unique(slopes).size
        raise Unsupported(
            f"{count} different slopes found, one is allowed",
            "train PReLU with num_parameters=1",
            "slope",
        )
    _leaky(state, node, float(slopes.reshape(-1)[0]), "slope")


def function(name: str) -> Callable[[Lowering, Node], None]:
    """How the operator of a registered function is lowered."""

    def lower(state: Lowering, node: Node) -> None:
        _activate(state, node, Activation(kind=ActivationKind.FUNCTION, function=name))

    return lower


def identity(state: Lowering, node: Node) -> None:
    """Lower Identity: nothing is left of it."""
    state.values[node.outputs[0]] = state.values[node.inputs[0]]


def dropout(state: Lowering, node: Node) -> None:
    """Lower Dropout, which does nothing in inference."""
    training = state.constant(node, 2, "training_mode")
    if training is not None and bool(np.asarray(training).any()):
        raise Unsupported("true found", "export the model in evaluation mode", "training_mode")
    identity(state, node)


def cast(state: Lowering, node: Node) -> None:
    """Lower Cast between float types; the feature maps are floats of one kind here."""
    if node.attrs.get("to") not in FLOAT_TYPES:
        raise Unsupported("a cast to a type that is no float", "keep the network in float", "to")
    identity(state, node)


def cast_like(state: Lowering, node: Node) -> None:
    """Lower CastLike between float types."""
    constant = state.model.constants.get(node.inputs[1])
    if constant is not None and constant.dtype.kind != "f":
        raise Unsupported(f"a cast to {constant.dtype}", "keep the network in float")
    identity(state, node)


def concat(state: Lowering, node: Node) -> None:
    """Lower Concat along the channels, of maps or of vectors that were flattened from maps."""
    values = [unpadded(state, node, state.value(node, i)) for i in range(len(node.inputs))]
    rank = len(values[0].shape)
    axis = int(node.attrs["axis"]) % rank
    if rank == 4 and axis == 1:
        tensors = tuple(feature_map(state, node, v) for v in values)
        state.define(node, state.emit(node, Op.CONCAT, tensors))
        return
    sizes = {state.shapes[v.tensor][1:] for v in values}
    plain = all(is_natural(state, v) and v.shape[axis] == np.prod(v.shape) for v in values)
    if len(sizes) != 1 or not plain:
        raise Unsupported(
            f"axis {axis} of shapes {[list(v.shape) for v in values]} is not the channels",
            "concatenate maps of one size along the channels",
            "axis",
        )
    tensor = state.emit(node, Op.CONCAT, tuple(v.tensor for v in values))
    shape = list(values[0].shape)
    shape[axis] = sum(v.shape[axis] for v in values)
    index = np.arange(shape[axis], dtype=np.int64).reshape(shape)
    state.define_value(node.outputs[0], Value(tensor=tensor, shape=tuple(shape), index=index))


def move(state: Lowering, node: Node) -> None:
    """Lower operators that only move elements, by applying them to the elements' indices."""
    value = unpadded(state, node, state.value(node))
    inputs = {node.inputs[0]: value.indices()}
    for position, name in enumerate(node.inputs[1:], 1):
        operand = state.constant(node, position, f"input {position}")
        if operand is not None:
            inputs[name] = np.asarray(operand)
    try:
        results = evaluate(node.proto, inputs, state.model.opset)
    except Exception as error:
        raise Unsupported(
            f"it cannot be applied to one image of shape {list(value.shape)} ({error})",
            "export the model with batch size 1 or a dynamic batch",
        ) from error
    for name, index in results.items():
        moved = replace(value, shape=index.shape, index=np.asarray(index, np.int64))
        if moved.shape == (1, *state.shapes[value.tensor]) and is_natural(state, moved):
            moved = replace(moved, index=None)
        state.define_value(name, moved)


def softmax(state: Lowering, node: Node) -> None:
    """Leave Softmax or LogSoftmax at the end to the host."""
    value = unpadded(state, node, state.value(node))
    rank = len(value.shape)
    old = state.model.opset < 13
    axis = int(node.attrs.get("axis", 1 if old else -1)) % rank
    axes = list(range(axis, rank)) if old else [axis]
    if 0 in axes:
        raise Unsupported("the axis of the batch", "apply it over the classes", "axis")
    _host(state, node, value, f"{node.op}(axes={','.join(map(str, axes))})")


def sigmoid(state: Lowering, node: Node) -> None:
    """Leave Sigmoid at the end to the host."""
    _host(state, node, unpadded(state, node, state.value(node)), "Sigmoid()")


def _host(state: Lowering, node: Node, value: Value, operation: str) -> None:
    state.values[node.outputs[0]] = replace(value, host_ops=(operation,))
