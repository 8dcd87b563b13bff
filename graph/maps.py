"""Turning values back into plain feature maps, by the cheapest layer that does it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tilewright.graph.findings import Unsupported
from tilewright.graph.ir import Conv, Op
from tilewright.graph.lowering import Floats, Lowering, Pads, Value
from tilewright.graph.onnx_model import Node

__all__ = ["depthwise", "feature_map", "is_natural", "linear", "unpadded"]


def is_natural(state: Lowering, value: Value) -> bool:
    """Whether the value is its feature map in the order of (C, H, W), whatever its shape."""
    if value.index is None:
        return True
    size = int(np.prod(state.shapes[value.tensor]))
    flat = value.index.ravel()
    return flat.size == size and bool((flat == np.arange(size)).all())


def depthwise(scale: Floats, shift: Floats, pads: Pads = (0, 0, 0, 0)) -> Conv:
    """1x1 convolution that scales and shifts each channel by itself."""
    return Conv(weight=scale.reshape(-1, 1, 1, 1), bias=shift, pads=pads, groups=scale.size)


def unpadded(state: Lowering, node: Node, value: Value) -> Value:
    """Return `value` with its zero border in the feature map: a 1x1 depthwise convolution."""
    if not any(value.pads):
        return value
    if value.pad_value != 0.0:
        raise Unsupported(
            f"its input was padded with {value.pad_value}",
            "pad with 0 (or -inf straight before a MaxPool)",
        )
    channels = state.shapes[value.tensor][0]
    conv = depthwise(np.ones(channels, np.float32), np.zeros(channels, np.float32), value.pads)
    tensor = state.emit(node, Op.CONV, (value.tensor,), name=f"{value.tensor}_pad", conv=conv)
    return Value(tensor=tensor, shape=(1, *state.shapes[tensor]))


def feature_map(state: Lowering, node: Node, value: Value) -> str:
    """Tensor name of `value` as a plain (1, C, H, W) feature map.

    A selection or permutation of whole channels (channel shuffle, Split, Slice), also with a
    stride over pixels, becomes a 1x1 convolution with weights 0 and 1.
    """
    value = unpadded(state, node, value)
    if value.index is None:
        return value.tensor
    if len(value.shape) != 4 or value.shape[0] != 1:
        raise Unsupported(
            f"its input has shape {list(value.shape)}, not [1, C, H, W]",
            "reshape to a feature map, or flatten only before a fully connected layer",
        )
    if value.shape[1:] == state.shapes[value.tensor] and is_natural(state, value):
        return value.tensor
    conv = _selection(value.index[0], state.shapes[value.tensor])
    if conv is None:
        raise Unsupported(
            "its input is a feature map whose pixels were moved by Reshape, Transpose or Slice",
            "only whole channels may be moved; keep maps as [N, C, H, W]",
        )
    return state.emit(node, Op.CONV, (value.tensor,), name=f"{value.tensor}_select", conv=conv)


def _selection(index: npt.NDArray[np.int64], shape: tuple[int, int, int]) -> Conv | None:
    """Convolution that gathers `index` [C', H', W'] from a map of `shape`; None if none does."""
    channels, height, width = shape
    count, rows, columns = index.shape
    chosen, start = np.divmod(index[:, 0, 0], height * width)
    step_y = int(index[0, 1, 0] - index[0, 0, 0]) // width if rows > 1 else height
    step_x = int(index[0, 0, 1] - index[0, 0, 0]) if columns > 1 else width
    if start.any() or step_x < 1 or step_y < 1:
        return None
    pixels = (np.arange(rows) * step_y)[:, None] * width + np.arange(columns) * step_x
    whole = ((height - 1) // step_y + 1, (width - 1) // step_x + 1) == (rows, columns)
    if not whole or not (index == chosen[:, None, None] * height * width + pixels).all():
        return None
    stride, bias = (step_y, step_x), np.zeros(count, np.float32)
    if np.array_equal(chosen, np.arange(channels)):
        return replace(depthwise(np.ones(channels, np.float32), bias), stride=stride)
    weight = (chosen[:, None] == np.arange(channels)).astype(np.float32)
    return Conv(weight=weight[:, :, None, None], bias=bias, stride=stride)


def linear(state: Lowering, node: Node, value: Value, weight: Floats, bias: Floats) -> None:
    """Emit a fully connected layer: a convolution whose kernel covers the whole map.

    Parameters
    ----------
    value : [1, ..., K], only the last dimension larger than 1
    weight : float32 [N, K]
    bias : float32 [N]
    """
    value = unpadded(state, node, value)
    inputs, outputs = weight.shape[1], weight.shape[0]
    if value.shape[-1] != inputs or int(np.prod(value.shape)) != inputs:
        raise Unsupported(
            f"its input has shape {list(value.shape)}, but one row of {inputs} values is needed",
            "apply fully connected layers to one flattened vector per image",
        )
    shape = state.shapes[value.tensor]
    if not is_natural(state, value):
        spread = np.zeros((int(np.prod(shape)), outputs), np.float32)
        np.add.at(spread, value.indices().ravel(), weight.T)
        weight = spread.T
    kernel = np.ascontiguousarray(weight).reshape(outputs, *shape)
    tensor = state.emit(
        node,
        Op.CONV,
        (value.tensor,),
        name=_module_name(node),
        conv=Conv(weight=kernel, bias=bias, linear=True),
    )
    result = (*value.shape[:-1], outputs)
    index = np.arange(outputs, dtype=np.int64).reshape(result)
    state.define_value(node.outputs[0], Value(tensor=tensor, shape=result, index=index))


def _module_name(node: Node) -> str:
    weight = node.inputs[1] if len(node.inputs) > 1 else ""
    return weight.removesuffix(".weight") if weight.endswith(".weight") else ""
