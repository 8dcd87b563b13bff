"""Pooling, means over the map, and padding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tilewright.graph.findings import Problem, Unsupported
from tilewright.graph.geometry import Window, add_pads, ceil_extra, window
from tilewright.graph.ir import ActivationKind, Conv, Op, Pool
from tilewright.graph.lowering import Lowering, Pads, Value
from tilewright.graph.maps import feature_map, unpadded
from tilewright.graph.onnx_model import Node

__all__ = ["average_pool", "global_pool", "max_pool", "pad", "reduce_map"]


def max_pool(state: Lowering, node: Node) -> None:
    """Lower MaxPool; a border of -inf, or of 0 around values >= 0, becomes its own padding."""
    value = state.value(node)
    own = window(node, _padded_size(state, value), _kernel(node))
    _check_pool(node, own, {"storage_order": 0})
    if any(value.pads):
        neutral = value.pad_value == -np.inf or (
            value.pad_value == 0.0 and _is_nonnegative(state, value.tensor)
        )
        pool = _pool(node, own, state, value)
        if neutral and _has_pixels(pool, state.shapes[value.tensor]):
            _emit(state, node, Op.MAX_POOL, replace(value, pads=(0, 0, 0, 0)), pool)
            return
        value = unpadded(state, node, value)
    _emit(state, node, Op.MAX_POOL, value, _pool(node, own, state, value))


def average_pool(state: Lowering, node: Node) -> None:
    """Lower AveragePool; a zero border before it becomes padding that counts."""
    value = state.value(node)
    own = window(node, _padded_size(state, value), _kernel(node))
    _check_pool(node, own, {})
    count = bool(node.attrs.get("count_include_pad", 0))
    if any(value.pads) and (any(own.pads) or value.pad_value != 0.0):
        value = unpadded(state, node, value)
    pool = replace(_pool(node, own, state, value), count_pads=count or any(value.pads))
    _emit(state, node, Op.AVG_POOL, replace(value, pads=(0, 0, 0, 0)), pool)


def _kernel(node: Node) -> tuple[int, ...]:
    kernel = tuple(node.attrs.get("kernel_shape", ()))
    if len(kernel) != 2:
        raise Unsupported(
            f"{list(kernel)} found, only 2-d pooling is supported",
            "pool over height and width",
            "kernel_shape",
        )
    return kernel


def _padded_size(state: Lowering, value: Value) -> tuple[int, int]:
    if len(value.shape) != 4:
        raise Unsupported(f"its input has shape {list(value.shape)}", "pool maps [N, C, H, W]")
    height, width = value.shape[2:]
    return height + value.pads[0] + value.pads[1], width + value.pads[2] + value.pads[3]


def _check_pool(node: Node, own: Window, fixed: dict[str, int]) -> None:
    problems = [
        Problem(f"{node.attrs[name]} found, only {only} is allowed", "use the default", name)
        for name, only in fixed.items()
        if node.attrs.get(name, only) != only
    ]
    if own.dilation != (1, 1):
        reason = f"{list(own.dilation)} found, only [1, 1] is allowed"
        problems.append(Problem(reason, "use a pool without dilation", "dilations"))
    Unsupported.collect(problems)


def _pool(node: Node, own: Window, state: Lowering, value: Value) -> Pool:
    pads = add_pads(own.pads, value.pads)
    extra = (0, 0)
    if node.attrs.get("ceil_mode", 0) and node.attrs.get("auto_pad", b"NOTSET") == b"NOTSET":
        height, width = value.shape[2:]
        # The Pad's border is part of the map that the rounding rule sees.
        rows, columns = height + sum(value.pads[:2]), width + sum(value.pads[2:])
        extra = (
            ceil_extra(rows, own.kernel[0], own.stride[0], *own.pads[:2]),
            ceil_extra(columns, own.kernel[1], own.stride[1], *own.pads[2:]),
        )
    return Pool(kernel=own.kernel, stride=own.stride, pads=pads, extra=extra)


def _has_pixels(pool: Pool, shape: tuple[int, int, int]) -> bool:
    """Whether every window covers at least one real pixel."""
    return all(
        first < last for axis in (0, 1) for first, last, _ in pool.windows(axis, shape[1 + axis])
    )


def _is_nonnegative(state: Lowering, tensor: str) -> bool:
    layer = state.layers.get(tensor)
    return (
        layer is not None
        and layer.activation.kind is ActivationKind.CLIP
        and layer.activation.lo >= 0.0
    )


def _emit(state: Lowering, node: Node, op: Op, value: Value, pool: Pool) -> None:
    tensor = feature_map(state, node, value)
    if not _has_pixels(pool, state.shapes[tensor]):
        raise Unsupported(
            f"pads {list(pool.pads)} (top, bottom, left, right) leave windows of {pool.kernel} "
            "without any pixel",
            "pad by less than the kernel",
            "pads",
        )
    state.define(node, state.emit(node, op, (tensor,), pool=pool))


def global_pool(state: Lowering, node: Node) -> None:
    """Lower GlobalAveragePool and GlobalMaxPool to one window over the whole map."""
    op = Op.AVG_POOL if node.op == "GlobalAveragePool" else Op.MAX_POOL
    tensor = feature_map(state, node, state.value(node))
    size = state.shapes[tensor][1:]
    state.define(node, state.emit(node, op, (tensor,), pool=Pool(kernel=size, stride=size)))


def reduce_map(state: Lowering, node: Node) -> None:
    """Lower ReduceMean and ReduceMax over height and width, in whatever layout the map then has."""
    value = unpadded(state, node, state.value(node))
    axes = state.constant(node, 1, "axes")
    found = node.attrs.get("axes", [] if axes is None else np.asarray(axes).reshape(-1).tolist())
    rank = len(value.shape)
    over = sorted({int(a) % rank for a in found})
    channels, height, width = state.shapes[value.tensor]
    kept = [a for a in range(rank) if a not in over]
    groups = value.indices().transpose(kept + over).reshape(-1, height * width)
    expected = np.arange(channels * height * width).reshape(channels, -1)
    whole = bool(over) and groups.size == expected.size
    if not whole or not np.array_equal(np.sort(groups, axis=1), expected):
        raise Unsupported(
            f"{list(found)} found; it must reduce height and width, whole",
            "use a global pool",
            "axes",
        )
    pool = Pool(kernel=(height, width), stride=(height, width))
    op = Op.AVG_POOL if node.op == "ReduceMean" else Op.MAX_POOL
    tensor = state.emit(node, op, (value.tensor,), pool=pool)
    keep = node.attrs.get("keepdims", 1)
    shape = tuple(1 if a in over else n for a, n in enumerate(value.shape) if keep or a not in over)
    index = np.arange(channels, dtype=np.int64).reshape(shape)
    plain = shape == (1, channels, 1, 1)
    made = Value(tensor=tensor, shape=shape, index=None if plain else index)
    state.define_value(node.outputs[0], made)


def pad(state: Lowering, node: Node) -> None:
    """Lower Pad with a constant: remembered on the value, taken up by the next Conv or pool."""
    mode = node.attrs.get("mode", b"constant").decode()
    if mode != "constant":
        raise Unsupported(f"{mode!r} found, only 'constant' is allowed", "pad with zeros", "mode")
    value = state.value(node)
    amounts, number = _pad_amounts(state, node, len(value.shape))
    if min(amounts) < 0:
        raise Unsupported(f"{amounts} found, pads must not be negative", "crop in the data", "pads")
    if not any(amounts):
        state.define_value(node.outputs[0], value)
        return
    if any(value.pads) and value.pad_value != number:
        value = unpadded(state, node, value)
    tensor = feature_map(state, node, replace(value, pads=(0, 0, 0, 0)))
    before, after = amounts[:4], amounts[4:]
    if len(amounts) != 8 or before[0] or after[0] or ((before[1] or after[1]) and number != 0.0):
        raise Unsupported(
            f"{amounts} found; height and width may be padded, channels with zeros",
            "pad the feature map only",
            "pads",
        )
    if before[1] or after[1]:
        tensor = _pad_channels(state, node, tensor, before[1], after[1])
    border: Pads = (before[2], after[2], before[3], after[3])
    state.define_value(
        node.outputs[0],
        Value(
            tensor=tensor,
            shape=(1, *state.shapes[tensor]),
            pads=add_pads(value.pads, border),
            pad_value=number,
        ),
    )


def _pad_amounts(state: Lowering, node: Node, rank: int) -> tuple[list[int], float]:
    """Pads before every axis then behind every axis, and the number to pad with."""
    given = node.attrs.get("pads")
    if given is not None:
        return list(given), float(node.attrs.get("value", 0.0))
    pads, number = state.constant(node, 1, "pads"), state.constant(node, 2, "constant_value")
    axes = state.constant(node, 3, "axes")
    assert pads is not None
    amounts = [int(p) for p in np.asarray(pads, np.int64).reshape(-1)]
    if axes is not None:
        full = [0] * (2 * rank)
        chosen = [int(a) % rank for a in np.asarray(axes, np.int64).reshape(-1)]
        for place, axis in enumerate(chosen):
            full[axis], full[rank + axis] = amounts[place], amounts[len(chosen) + place]
        amounts = full
    return amounts, 0.0 if number is None else float(np.asarray(number, np.float64).reshape(-1)[0])


def _pad_channels(state: Lowering, node: Node, tensor: str, before: int, after: int) -> str:
    channels = state.shapes[tensor][0]
    weight = np.pad(np.eye(channels, dtype=np.float32), ((before, after), (0, 0)))
    bias = np.zeros(weight.shape[0], np.float32)
    conv = Conv(weight=weight[:, :, None, None], bias=bias)
    return state.emit(node, Op.CONV, (tensor,), conv=conv)
