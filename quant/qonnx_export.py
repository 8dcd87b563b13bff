"""Saving a quantized network as QONNX.

The file holds `Quant` nodes with power-of-two scales between ordinary ONNX operators, and computes
on one image of raw float32 values exactly what the integer reference does. Netron opens it, the
`qonnx` package executes it, `tilewright.quant.qonnx_import.load_fixed` restores the network from it.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from tilewright.errors import TilewrightError
from tilewright.graph.ir import Input
from tilewright.quant.fixed import FixedGraph
from tilewright.quant.formats import QFormat
from tilewright.quant.qonnx_builder import QONNX_DOMAIN, GraphBuilder, Value
from tilewright.quant.qonnx_layers import (
    FLOAT_BIAS,
    FLOAT_WEIGHT,
    WEIGHT,
    add_layer,
    add_requantize,
)
from tilewright.quant.qonnx_metadata import METADATA_KEY, to_json

__all__ = ["build_nodes", "reserved_names", "save_fixed", "to_qonnx"]

_OPSET = 13
_QONNX_OPSET = 1
_IR_VERSION = 8
_PROTOBUF_LIMIT = (1 << 31) - (1 << 24)


def to_qonnx(fixed: FixedGraph) -> onnx.ModelProto:
    """QONNX model of `fixed` for one image.

    Its inputs are the graph's (float32 [1, C, H, W], raw), its outputs the tensors that the graph's
    outputs name (float32 [1, C, H, W], integer * 2**-frac).
    """
    builder = GraphBuilder(reserved_names(fixed))
    tensors = build_nodes(fixed, builder)
    outputs = [tensors[name] for name in dict.fromkeys(o.tensor for o in fixed.graph.outputs)]
    graph = helper.make_graph(
        builder.nodes,
        fixed.graph.name,
        [_info(Value(i.name, (1, *i.shape))) for i in fixed.graph.inputs],
        [_info(value) for value in outputs],
        initializer=builder.initializers,
        value_info=[_info(value) for value in builder.values if value not in outputs],
    )
    model = helper.make_model(
        graph,
        opset_imports=[
            helper.make_opsetid("", _OPSET),
            helper.make_opsetid(QONNX_DOMAIN, _QONNX_OPSET),
        ],
        ir_version=_IR_VERSION,
        producer_name="tilewright",
    )
    helper.set_model_props(model, {METADATA_KEY: to_json(fixed)})
    return model


def build_nodes(fixed: FixedGraph, builder: GraphBuilder) -> dict[str, Value]:
    """Add the nodes and initializers of all of `fixed`; returns its tensors by name."""
    tensors: dict[str, Value] = {}
    for spec in fixed.graph.inputs:
        tensors[spec.name] = _add_input(builder, spec, fixed.formats[spec.name])
    for layer in fixed.layers:
        tensors[layer.name] = add_layer(builder, layer, tensors, fixed.formats)
    return tensors


def reserved_names(fixed: FixedGraph) -> list[str]:
    """Names of all tensors, and of the initializers that the loader looks for."""
    tensors = list(fixed.graph.shapes)
    weighted = [layer.name for layer in fixed.layers if layer.weight is not None]
    arrays = [n + suffix for n in weighted for suffix in (WEIGHT, FLOAT_WEIGHT, FLOAT_BIAS)]
    for name in tensors:
        if name in arrays:
            raise TilewrightError(
                f"Layer {name!r}: QONNX needs this name for another layer's weights; rename it"
            )
    return tensors + arrays


def _add_input(builder: GraphBuilder, spec: Input, form: QFormat) -> Value:
    """Nodes from raw values to the input's integers: (raw - mean) * scale, then rounding."""
    raw = Value(spec.name, (1, *spec.shape))
    value = builder.widen(raw)
    if any(spec.mean) or set(spec.scale) != {1.0}:
        for op, which in (("Sub", spec.mean), ("Mul", spec.scale)):
            constant = np.asarray(which, np.float64).reshape(-1, 1, 1)
            name = f"{spec.name}/{'mean' if op == 'Sub' else 'scale'}"
            value = builder.apply(op, f"{name}d", value, builder.real(name, constant, value))
        seen = Value(builder.unique(f"{spec.name}/normalized"), raw.shape)
        value = builder.widen(builder.node("Cast", [value.name], seen, to=TensorProto.FLOAT))
    return add_requantize(builder, value, builder.unique(f"{spec.name}/quant"), form)


def _info(value: Value) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(value.name, value.type, value.shape)


def save_fixed(fixed: FixedGraph, path: str | os.PathLike[str]) -> None:
    """Write `fixed` to a QONNX file; an existing file is replaced only by a complete one.

    Raises
    ------
    TilewrightError
        If the file cannot be written, or the network is larger than ONNX allows in one file.
    """
    path = Path(path)
    # Float weights are kept beside the quantized ones, both in float32.
    weights = sum(layer.weight.size for layer in fixed.layers if layer.weight is not None)
    if 8 * weights > _PROTOBUF_LIMIT:
        raise TilewrightError(
            f"{path}: a QONNX file holds at most {_PROTOBUF_LIMIT // 8} weights, and the network "
            f"has {weights}; save a smaller network"
        )
    data = to_qonnx(fixed).SerializeToString()
    try:
        handle, temporary = tempfile.mkstemp(prefix=".tilewright-", dir=path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> TilewrightError:
    reason = error.strerror or str(error)
    return TilewrightError(f"{path}: cannot be written: {reason}; choose a writable place")
