"""What an ONNX graph cannot say of a FixedGraph, as JSON in the file's metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from tilewright.graph.ir import (
    Activation,
    ActivationKind,
    Conv,
    Graph,
    Input,
    Layer,
    Op,
    Output,
    Pool,
)
from tilewright.quant.fixed import FixedGraph, FixedLayer, IntArray, Leaky
from tilewright.quant.formats import QFormat
from tilewright.quant.qonnx_layers import FLOAT_BIAS, FLOAT_WEIGHT, WEIGHT

__all__ = ["METADATA_KEY", "VERSION", "Arrays", "from_json", "to_json", "version_of"]

METADATA_KEY = "tilewright"
VERSION = 1

Arrays = Mapping[str, npt.NDArray[np.generic]]


def to_json(fixed: FixedGraph) -> str:
    """Everything of `fixed` but its arrays of weights and its float biases."""
    graph = fixed.graph
    content = {
        "version": VERSION,
        "name": graph.name,
        "inputs": [asdict(i) for i in graph.inputs],
        "outputs": [asdict(o) for o in graph.outputs],
        "formats": {
            name: [form.bits, form.frac, form.signed] for name, form in fixed.formats.items()
        },
        "layers": [_layer_content(layer) for layer in fixed.layers],
    }
    return json.dumps(content, allow_nan=False)


def _layer_content(fixed: FixedLayer) -> dict[str, Any]:
    layer, activation = fixed.layer, fixed.layer.activation
    return {
        "name": layer.name,
        "op": layer.op.value,
        "inputs": layer.inputs,
        "residual": layer.residual,
        "source": layer.source,
        "conv": _conv_content(layer.conv),
        "pool": None if layer.pool is None else asdict(layer.pool),
        "max_pool": None if layer.max_pool is None else asdict(layer.max_pool),
        "activation": {
            "kind": activation.kind.value,
            "lo": str(activation.lo),
            "hi": str(activation.hi),
            "slope": activation.slope,
            **({"function": activation.function} if activation.function else {}),
        },
        "weight_bits": fixed.weight_bits,
        "weight_frac": fixed.weight_frac.tolist(),
        "acc_frac": fixed.acc_frac.tolist(),
        "bias": fixed.bias.tolist(),
        "lo": fixed.lo,
        "hi": fixed.hi,
        "leaky": None if fixed.leaky is None else asdict(fixed.leaky),
    }


def _conv_content(conv: Conv | None) -> dict[str, Any] | None:
    if conv is None:
        return None
    return {
        "stride": conv.stride,
        "dilation": conv.dilation,
        "pads": conv.pads,
        "groups": conv.groups,
        "linear": conv.linear,
    }


def version_of(text: str) -> object:
    """Version of the format in which `text` was written; raises ValueError if it is no JSON."""
    content = json.loads(text)
    return content.get("version") if isinstance(content, dict) else None


def from_json(text: str, arrays: Arrays) -> FixedGraph:
    """Inverse of `to_json`; `arrays` are the file's initializers by name.

    Raises
    ------
    ValueError, KeyError, TypeError
        If the text or an array is not what `to_json` and the exporter write.
    """
    content = json.loads(text)
    formats = {name: QFormat(*pair) for name, pair in content["formats"].items()}
    layers = tuple(_fixed_layer(entry, formats, arrays) for entry in content["layers"])
    graph = Graph(
        name=content["name"],
        inputs=tuple(Input(**_tuples(entry)) for entry in content["inputs"]),
        layers=tuple(fixed.layer for fixed in layers),
        outputs=tuple(Output(**_tuples(entry)) for entry in content["outputs"]),
    )
    if list(formats) != list(graph.shapes):
        raise ValueError("formats are not those of the network's tensors")
    for output in graph.outputs:
        if output.tensor not in graph.shapes:
            raise ValueError(f"output {output.name!r} names no tensor")
    for fixed in layers:
        _check_channels(fixed, graph.shapes[fixed.name][0])
    return FixedGraph(graph=graph, formats=formats, layers=layers)


def _fixed_layer(
    entry: dict[str, Any], formats: Mapping[str, QFormat], arrays: Arrays
) -> FixedLayer:
    layer = _layer(entry, arrays)
    weight_frac = _integers(entry["weight_frac"])
    weight_bits = int(entry["weight_bits"])
    leaky = entry["leaky"]
    output = formats[layer.name]
    lo, hi = int(entry["lo"]), int(entry["hi"])
    if not output.min <= lo <= hi <= output.max:
        raise ValueError(f"clip range [{lo}, {hi}] of {layer.name!r} leaves its format")
    weight = None
    if layer.conv is not None:
        weight = _weights(arrays[layer.name + WEIGHT], QFormat(weight_bits, 0), weight_frac)
    return FixedLayer(
        layer=layer,
        weight=weight,
        weight_bits=weight_bits,
        weight_frac=weight_frac,
        acc_frac=_integers(entry["acc_frac"]),
        bias=_integers(entry["bias"]),
        output=output,
        lo=lo,
        hi=hi,
        leaky=None if leaky is None else Leaky(**leaky),
    )


def _layer(entry: dict[str, Any], arrays: Arrays) -> Layer:
    name, activation = entry["name"], entry["activation"]
    conv = None
    if entry["conv"] is not None:
        conv = Conv(
            weight=arrays[name + FLOAT_WEIGHT].astype(np.float32, copy=False),
            bias=arrays[name + FLOAT_BIAS].astype(np.float32, copy=False),
            **_tuples(entry["conv"]),
        )
    return Layer(
        name=name,
        op=Op(entry["op"]),
        inputs=tuple(entry["inputs"]),
        conv=conv,
        pool=None if entry["pool"] is None else Pool(**_tuples(entry["pool"])),
        residual=entry["residual"],
        activation=Activation(
            kind=ActivationKind(activation["kind"]),
            lo=float(activation["lo"]),
            hi=float(activation["hi"]),
            slope=activation["slope"],
            function=activation.get("function", ""),
        ),
        max_pool=None if entry["max_pool"] is None else Pool(**_tuples(entry["max_pool"])),
        source=entry["source"],
    )


def _weights(real: npt.NDArray[np.generic], form: QFormat, frac: IntArray) -> npt.NDArray[np.int64]:
    scaled = np.ldexp(real.astype(np.float64), frac.reshape(-1, 1, 1, 1))
    integers = scaled.astype(np.int64)
    if (integers != scaled).any() or integers.min() < form.min or integers.max() > form.max:
        raise ValueError(f"weights are no integers of {form.bits} bits at their fractional length")
    return integers


def _check_channels(fixed: FixedLayer, channels: int) -> None:
    for what in ("weight_frac", "acc_frac", "bias"):
        if getattr(fixed, what).shape != (channels,):
            raise ValueError(f"{what} of {fixed.name!r} needs {channels} entries")
    conv = fixed.layer.conv
    if conv is not None and fixed.weight is not None and fixed.weight.shape != conv.weight.shape:
        raise ValueError(f"weights of {fixed.name!r} have two shapes")


def _integers(values: list[int]) -> IntArray:
    if not all(type(v) is int for v in values):
        raise ValueError("integers expected")
    return np.array(values, np.int64)


def _tuples(entry: dict[str, Any]) -> dict[str, Any]:
    """`entry` with its lists as tuples."""
    return {key: tuple(v) if isinstance(v, list) else v for key, v in entry.items()}
