"""Float execution of a graph, in batches, by PyTorch's functional operators."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tilewright.errors import TilewrightError
from tilewright.graph.functions import find_function
from tilewright.graph.host_side import apply_host_ops, as_channels_first
from tilewright.graph.ir import Activation, ActivationKind, Conv, Graph, Input, Layer, Op, Pool

if TYPE_CHECKING:
    import torch

__all__ = ["as_feature_maps", "run_float", "run_outputs"]

Floats = npt.NDArray[np.float32]


def as_feature_maps(spec: Input, data: npt.NDArray[Any]) -> Floats:
    """Images as the user's model takes them → float32 [N, C, H, W], neither scaled nor shifted.

    Data that is already [N, C, H, W] is taken as such when it cannot be the other layout.

    Raises
    ------
    TilewrightError : a shape that is neither.
    """
    channels, height, width = spec.shape
    array = np.asarray(data, np.float32)
    found = as_channels_first(array, spec.shape, spec.layout)
    if found is not None:
        return found.astype(np.float32, copy=False)
    wanted = {"nhwc": ["N", height, width, channels]}.get(spec.layout, ["N", *spec.shape])
    raise TilewrightError(
        f"Data for input {spec.name!r} has shape {list(array.shape)}, {wanted} is needed."
    )


def run_float(
    graph: Graph, inputs: Mapping[str, Floats], *, keep: Collection[str] | None = None
) -> dict[str, Floats]:
    """Compute the graph in float32.

    Parameters
    ----------
    inputs : by input name, float32 [N, C, H, W], already preprocessed (mean and scale applied)
    keep : tensors to return; all if None. Others are freed after their last use.

    Returns
    -------
    By tensor name (layers and inputs), float32 [N, C, H, W].

    Raises
    ------
    TilewrightError : an input is missing or has the wrong shape, or PyTorch is not installed.
    """
    torch = _torch()
    _check_inputs(graph, inputs)
    wanted = set(graph.shapes if keep is None else keep)
    tensors = {i.name: torch.from_numpy(np.array(inputs[i.name], np.float32)) for i in graph.inputs}
    pending = Counter(name for layer in graph.layers for name in layer.all_inputs)
    with torch.inference_mode():
        for layer in graph.layers:
            tensors[layer.name] = _layer(layer, tensors)
            pending.subtract(layer.all_inputs)
            for name in {*layer.all_inputs, layer.name}:
                if not pending[name] and name not in wanted:
                    del tensors[name]
    return {name: tensor.numpy() for name, tensor in tensors.items() if name in wanted}


def run_outputs(graph: Graph, inputs: Mapping[str, Floats], *, host: bool = True) -> dict[str, Any]:
    """Compute the outputs in the shapes of the user's model, [N, *Output.shape] each.

    `host` tells whether the operators left to the host (Softmax, …) are applied too. Other
    parameters and errors are those of `run_float`.
    """
    tensors = run_float(graph, inputs, keep={o.tensor for o in graph.outputs})
    results = {}
    for output in graph.outputs:
        tensor = tensors[output.tensor]
        shaped = tensor.reshape(tensor.shape[0], *output.shape)
        results[output.name] = apply_host_ops(shaped, output.host_ops) if host else shaped
    return results


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise TilewrightError(
            "Float execution needs PyTorch, which is not installed; pip install torch."
        ) from error
    return torch


def _check_inputs(graph: Graph, inputs: Mapping[str, Floats]) -> None:
    names = [i.name for i in graph.inputs]
    unknown = sorted(set(inputs) - set(names))
    if unknown:
        raise TilewrightError(f"Input {unknown[0]!r} is not one of the network's inputs, {names}.")
    sizes = set()
    for spec in graph.inputs:
        if spec.name not in inputs:
            raise TilewrightError(f"Data for input {spec.name!r} is missing.")
        shape = np.shape(inputs[spec.name])
        if shape[1:] != spec.shape or not shape[0]:
            raise TilewrightError(
                f"Data for input {spec.name!r} has shape {list(shape)}, "
                f"{['N', *spec.shape]} is needed."
            )
        sizes.add(shape[0])
    if len(sizes) > 1:
        raise TilewrightError(f"The inputs have different numbers of images, {sorted(sizes)}.")


def _layer(layer: Layer, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    import torch

    first = tensors[layer.inputs[0]]
    match layer.op:
        case Op.CONV:
            assert layer.conv is not None
            result = _conv(layer.conv, first)
        case Op.ADD:
            result = first
            for name in layer.inputs[1:]:
                result = result + tensors[name]
        case Op.CONCAT:
            result = torch.cat([tensors[name] for name in layer.inputs], dim=1)
        case Op.MAX_POOL:
            assert layer.pool is not None
            result = _max_pool(layer.pool, first)
        case Op.AVG_POOL:
            assert layer.pool is not None
            result = _avg_pool(layer.pool, first)
        case Op.IDENTITY:
            result = first.clone()
    if layer.residual is not None:
        result = result + tensors[layer.residual]
    result = _activation(layer.activation, result)
    return result if layer.max_pool is None else _max_pool(layer.max_pool, result)


def _conv(conv: Conv, data: torch.Tensor) -> torch.Tensor:
    import torch
    from torch.nn import functional

    weight, bias = _constant(conv.weight), _constant(conv.bias)
    if conv.weight.shape[1:] == data.shape[1:] and not any(conv.pads):
        flat = functional.linear(data.flatten(1), weight.flatten(1), bias)
        return flat[:, :, None, None]
    top, bottom, left, right = conv.pads
    padding = (top, left)
    if (top, left) != (bottom, right):
        data, padding = functional.pad(data, (left, right, top, bottom)), (0, 0)
    # Measured: convolutions take a third of the time on this layout, which their results keep.
    data = data.contiguous(memory_format=torch.channels_last)
    return functional.conv2d(data, weight, bias, conv.stride, padding, conv.dilation, conv.groups)


def _constant(array: Floats) -> torch.Tensor:
    """Weights as a tensor that shares their memory."""
    import torch

    with warnings.catch_warnings():
        # Weights out of a file are read-only; nothing here writes to them.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def _padded(pool: Pool, data: torch.Tensor, number: float) -> torch.Tensor:
    from torch.nn import functional

    top, bottom, left, right = pool.pads
    border = (left, right + pool.extra[1], top, bottom + pool.extra[0])
    return functional.pad(data, border, value=number) if any(border) else data


def _max_pool(pool: Pool, data: torch.Tensor) -> torch.Tensor:
    from torch.nn import functional

    padded = _padded(pool, data, float("-inf"))
    return functional.max_pool2d(padded, pool.kernel, pool.stride)


def _avg_pool(pool: Pool, data: torch.Tensor) -> torch.Tensor:
    import torch
    from torch.nn import functional

    sums = functional.avg_pool2d(
        _padded(pool, data, 0.0), pool.kernel, pool.stride, divisor_override=1
    )
    rows = [counted for _, _, counted in pool.windows(0, data.shape[2])]
    columns = [counted for _, _, counted in pool.windows(1, data.shape[3])]
    return sums / torch.tensor(np.outer(rows, columns).astype(np.float32))


def _activation(activation: Activation, data: torch.Tensor) -> torch.Tensor:
    from torch.nn import functional

    match activation.kind:
        case ActivationKind.NONE:
            return data
        case ActivationKind.CLIP:
            return data.clamp(activation.lo, activation.hi)
        case ActivationKind.LEAKY:
            return functional.leaky_relu(data, activation.slope)
        case ActivationKind.FUNCTION:
            result: torch.Tensor = find_function(activation.function).reference(data)
            return result
