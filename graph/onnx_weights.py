"""Operators with weights: Conv, Gemm, MatMul, BatchNormalization and per-channel arithmetic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tilewright.graph.findings import Problem, Unsupported
from tilewright.graph.geometry import add_pads, window
from tilewright.graph.ir import Conv, Op
from tilewright.graph.lowering import Floats, Lowering, Value
from tilewright.graph.maps import depthwise, feature_map, linear, unpadded
from tilewright.graph.onnx_model import Node

__all__ = ["add", "batch_norm", "conv", "divide", "gemm", "matmul", "multiply", "subtract"]


def conv(state: Lowering, node: Node) -> None:
    """Lower Conv; a zero border of a Pad before it becomes part of its own."""
    value = state.value(node)
    weight = state.weights(node, 1, "W")
    if weight is None or weight.ndim != 4:
        rank = "no" if weight is None else f"{weight.ndim - 2}-d"
        raise Unsupported(
            f"a {rank} kernel found, only 2-d convolutions are supported",
            "write a 1-d convolution as a 2-d one with height 1",
            "kernel_shape",
        )
    bias = state.weights(node, 2, "B")
    border = value.pads if value.pad_value == 0.0 else (0, 0, 0, 0)
    tensor = feature_map(state, node, replace(value, pads=(0, 0, 0, 0)) if any(border) else value)
    channels, height, width = state.shapes[tensor]
    size = (height + border[0] + border[1], width + border[2] + border[3])
    geometry = window(node, size, weight.shape[2:])
    groups = int(node.attrs.get("group", 1))
    if groups < 1 or weight.shape[1] * groups != channels or weight.shape[0] % groups:
        raise Unsupported(
            f"{groups} groups do not fit weights of {list(weight.shape)} and {channels} channels",
            "make both channel counts multiples of the group count",
            "group",
        )
    made = Conv(
        weight=weight,
        bias=np.zeros(weight.shape[0], np.float32) if bias is None else bias,
        stride=geometry.stride,
        dilation=geometry.dilation,
        pads=add_pads(geometry.pads, border),
        groups=groups,
    )
    name = node.inputs[1].removesuffix(".weight") if node.inputs[1].endswith(".weight") else ""
    state.define(node, state.emit(node, Op.CONV, (tensor,), name=name, conv=made))


def gemm(state: Lowering, node: Node) -> None:
    """Lower Gemm of a feature map with constant weights."""
    value = state.value(node)
    weight = state.weights(node, 1, "B")
    bias = state.weights(node, 2, "C")
    problems = []
    if node.attrs.get("transA", 0):
        problems.append(Problem("only 0 is allowed", "transpose the weights instead", "transA"))
    if weight is None or weight.ndim != 2:
        problems.append(Problem("weights are not a matrix", "export the model again", "B"))
    Unsupported.collect(problems)
    assert weight is not None
    matrix = weight if node.attrs.get("transB", 0) else weight.T
    alpha, beta = float(node.attrs.get("alpha", 1.0)), float(node.attrs.get("beta", 1.0))
    matrix = matrix if alpha == 1.0 else (matrix * np.float32(alpha)).astype(np.float32)
    linear(state, node, value, matrix, _row(matrix.shape[0], bias, beta))


def _row(outputs: int, bias: Floats | None, beta: float) -> Floats:
    if bias is None:
        return np.zeros(outputs, np.float32)
    if bias.size not in (1, outputs):
        raise Unsupported(
            f"bias of shape {list(bias.shape)} found for {outputs} outputs",
            "use one bias value for each output",
            "C",
        )
    return np.broadcast_to(bias.reshape(-1) * np.float32(beta), (outputs,)).astype(np.float32)


def matmul(state: Lowering, node: Node) -> None:
    """Lower MatMul of a feature map (left) with a constant matrix (right)."""
    value = state.value(node)
    weight = state.weights(node, 1, "B")
    if weight is None or weight.ndim != 2:
        raise Unsupported("the right operand is not a matrix", "use a fully connected layer", "B")
    linear(state, node, value, weight.T, np.zeros(weight.shape[1], np.float32))


def batch_norm(state: Lowering, node: Node) -> None:
    """Lower BatchNormalization with its stored statistics to a scale and shift per channel."""
    if node.attrs.get("training_mode", 0) or not node.attrs.get("spatial", 1):
        name = "training_mode" if node.attrs.get("training_mode", 0) else "spatial"
        raise Unsupported(
            f"{node.attrs[name]} found, only the default is allowed",
            "export the model in evaluation mode",
            name,
        )
    value = state.value(node)
    names = ("scale", "B", "mean", "var")
    found = [state.weights(node, i, name) for i, name in enumerate(names, 1)]
    gamma, beta, mean, variance = (np.asarray(f, np.float64).reshape(-1) for f in found)
    spread = variance + float(node.attrs.get("epsilon", 1e-5))
    if (spread <= 0).any():
        raise Unsupported("a variance is not positive", "train or export the network again", "var")
    shape = (-1, *(1,) * (len(value.shape) - 2))
    scale = gamma / np.sqrt(spread)
    _affine(state, node, value, scale.reshape(shape), (beta - mean * scale).reshape(shape))


def _affine(
    state: Lowering,
    node: Node,
    value: Value,
    scale: npt.NDArray[np.floating] | float,
    shift: npt.NDArray[np.floating] | float,
) -> None:
    value = unpadded(state, node, value)
    factors = _per_channel(state, value, np.asarray(scale, np.float64))
    offsets = _per_channel(state, value, np.asarray(shift, np.float64))
    tensor = state.emit(node, Op.CONV, (value.tensor,), conv=depthwise(factors, offsets))
    state.affine.add(tensor)
    state.define_value(node.outputs[0], replace(value, tensor=tensor))


def _per_channel(state: Lowering, value: Value, array: npt.NDArray[np.floating]) -> Floats:
    """Constant broadcast to `value`, as one number for each channel of its feature map."""
    channels, height, width = state.shapes[value.tensor]
    try:
        whole = np.broadcast_to(array, value.shape)
    except ValueError as error:
        raise Unsupported(
            f"a constant of shape {list(array.shape)} does not broadcast to {list(value.shape)}",
            "give it one value for each channel, as [C, 1, 1]",
        ) from error
    with np.errstate(over="ignore"):
        if array.size == 1:
            result = np.full(channels, array.reshape(-1)[0], np.float32)
        elif value.index is None and array.shape[-2:] == (1, 1):
            result = whole[0, :, 0, 0].astype(np.float32)
        else:
            spread = np.full(channels * height * width, np.nan)
            spread[value.indices().ravel()] = whole.ravel()
            rows = spread.reshape(channels, -1)
            if not (rows == rows[:, :1]).all():
                raise Unsupported(
                    "a constant that differs between the pixels of a channel",
                    "give it one value for each channel, as [C, 1, 1]",
                )
            result = rows[:, 0].astype(np.float32)
    if not np.isfinite(result).all():
        raise Unsupported(
            "its constants give NaN or infinite factors", "train or export the network again"
        )
    return result


def _operands(state: Lowering, node: Node) -> tuple[Value, Floats | None, bool]:
    """Feature map, constant (None if both are feature maps), whether the constant is on the left."""
    constants = [name in state.model.constants for name in node.inputs]
    if not any(constants):
        return state.value(node, 0), None, False
    position = constants.index(True)
    return (
        state.value(node, 1 - position),
        state.weights(node, position, "AB"[position]),
        not position,
    )


def add(state: Lowering, node: Node) -> None:
    """Lower Add and Sum: a constant is folded, feature maps are added."""
    if any(name in state.model.constants for name in node.inputs):
        if len(node.inputs) != 2:
            raise Unsupported("a constant among several operands", "add it by a separate Add")
        value, constant, _ = _operands(state, node)
        assert constant is not None
        _affine(state, node, value, 1.0, constant)
        return
    values = [unpadded(state, node, state.value(node, i)) for i in range(len(node.inputs))]
    first = values[0]
    if any(v.shape != first.shape for v in values):
        raise Unsupported(
            f"feature maps of shapes {[list(v.shape) for v in values]} are broadcast",
            "add only feature maps of one shape",
        )
    if len(values) == 1:
        state.define_value(node.outputs[0], first)
        return
    if all(_same_view(state, first, v) for v in values):
        tensor = state.emit(node, Op.ADD, tuple(v.tensor for v in values))
        state.define_value(node.outputs[0], replace(first, tensor=tensor))
        return
    state.define(node, state.emit(node, Op.ADD, tuple(feature_map(state, node, v) for v in values)))


def _same_view(state: Lowering, first: Value, other: Value) -> bool:
    if state.shapes[first.tensor] != state.shapes[other.tensor]:
        return False
    if first.index is None and other.index is None:
        return True
    return bool(np.array_equal(first.indices(), other.indices()))


def subtract(state: Lowering, node: Node) -> None:
    """Lower Sub with a constant on either side."""
    value, constant, left = _operands(state, node)
    if constant is None:
        raise _two_maps("subtracted", "negate by a 1x1 convolution and add")
    _affine(state, node, value, -1.0 if left else 1.0, constant if left else -constant)


def multiply(state: Lowering, node: Node) -> None:
    """Lower Mul with a constant."""
    value, constant, _ = _operands(state, node)
    if constant is None:
        raise _two_maps("multiplied", "leave out squeeze-and-excitation, gates and attention")
    _affine(state, node, value, constant, 0.0)


def divide(state: Lowering, node: Node) -> None:
    """Lower Div by a constant."""
    value, constant, left = _operands(state, node)
    if constant is None or left:
        raise _two_maps("divided", "divide only by constants")
    if not constant.all():
        raise Unsupported("the divisor holds zeros", "remove them", "B")
    _affine(state, node, value, 1.0 / constant.astype(np.float64), 0.0)


def _two_maps(verb: str, advice: str) -> Unsupported:
    return Unsupported(f"feature maps are {verb} by each other", advice)
