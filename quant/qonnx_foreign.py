"""Importing QONNX networks that other tools trained, Brevitas for one: `Quant` nodes become formats.

Every tensor's scale must be a power of two and its zero point 0; what is quantized otherwise is
refused by name. The `Quant` nodes are taken out, the rest is imported like any float network, and each
layer gets the format of the node behind it. QONNX rounds halves to even, the hardware up: results
can differ by one step where a sum lies exactly between two.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from tilewright.errors import TilewrightError
from tilewright.graph.ir import ActivationKind, Graph, Layer, Op
from tilewright.graph.onnx_file import open_model
from tilewright.graph.onnx_import import import_onnx
from tilewright.quant.accumulator import ACC_LIMIT, accumulator_bound
from tilewright.quant.candidates import FRAC_LIMIT
from tilewright.quant.constants import clip_range, fix_layer
from tilewright.quant.fit import refusal
from tilewright.quant.fixed import FixedGraph, FixedLayer, IntArray
from tilewright.quant.formats import MAX_BITS, MIN_BITS, QFormat

__all__ = ["has_quant_nodes", "import_qonnx"]

_QUANT = "Quant"

Arrays = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class _Range:
    """A tensor's integers: low..high, times 2**-frac."""

    frac: int
    low: int
    high: int

    @property
    def form(self) -> QFormat:
        """The format that holds them, with a sign if one of them is negative."""
        signed = self.low < 0
        bits = max(self.high.bit_length(), (-1 - self.low).bit_length() if signed else 0) + signed
        return QFormat(max(bits, MIN_BITS), self.frac, signed)


def has_quant_nodes(model: onnx.ModelProto) -> bool:
    """Whether a model is QONNX."""
    return any(node.op_type == _QUANT for node in model.graph.node)


def import_qonnx(
    source: str | os.PathLike[str] | onnx.ModelProto, *, name: str | None = None
) -> FixedGraph:
    """The fixed network that a QONNX model describes.

    Outputs without a `Quant` node behind them get 16 bits that no sum overflows.

    Raises
    ------
    TilewrightError
        If the model cannot be imported, a scale is no power of two, a zero point is not 0, a tensor is
        wider than 16 bits, or a tensor between two layers is not quantized; the tensor is named.
    """
    model, label = open_model(source)
    if not has_quant_nodes(model):
        raise TilewrightError(
            f"{label}: holds no Quant nodes; import it as a float network and quantize it"
        )
    stripped, ranges = _strip(model)
    imported = import_onnx(stripped, name=name or model.graph.name or "network")
    graph = imported.graph
    # A layer's maximum is taken over what is not rounded yet, which gives the same.
    pooled = _pooled(stripped, ranges)
    found: dict[str, _Range] = {}
    for spec in graph.inputs:
        if spec.name not in ranges:
            raise _unquantized(spec.name, "the input")
        found[spec.name] = ranges.pop(spec.name)
    for layer in graph.layers:
        tensor = imported.probes[layer.name][0] if layer.name in imported.probes else layer.name
        if tensor in ranges:
            found[layer.name] = ranges.pop(tensor)
        elif pooled.get(tensor) in ranges:
            found[layer.name] = ranges.pop(pooled[tensor])
    if ranges:
        raise TilewrightError(
            f"Tensor {next(iter(ranges))!r} is quantized in the middle of what one layer computes; "
            "quantize only what layers give, after their activation"
        )
    return _fix(graph, found)


# ---- Quant nodes -------------------------------------------------------------------------------


def _strip(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, _Range]]:
    """The model without its `Quant` nodes, and the ranges of the tensors that they quantized."""
    arrays = _constants(model)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:]
    ranges: dict[str, _Range] = {}
    renamed: dict[str, str] = {}
    outputs = {output.name for output in model.graph.output}
    for node in model.graph.node:
        if node.op_type != _QUANT:
            copy = result.graph.node.add()
            copy.CopyFrom(node)
            for index, source in enumerate(node.input):
                copy.input[index] = renamed.get(source, source)
            continue
        source, target = node.input[0], node.output[0]
        scale, bits, signed, narrow = _parameters(node, arrays)
        if source in arrays:
            values = _quantized(arrays[source], scale, _integers(bits, signed, narrow))
            result.graph.initializer.append(numpy_helper.from_array(values, target))
            continue
        if scale.size != 1:
            raise TilewrightError(
                f"Tensor {source!r} has {scale.size} scales; only weights may have one a channel"
            )
        origin = renamed.get(source, source)
        low, high = _integers(bits, signed, narrow)
        ranges[origin] = _Range(-int(np.log2(scale.item())), low, high)
        renamed[target] = origin
        if target in outputs:
            result.graph.node.append(onnx.helper.make_node("Identity", [origin], [target]))
    kept = [
        entry
        for entry in result.opset_import
        if "qonnx" not in entry.domain and "brevitas" not in entry.domain
    ]
    del result.opset_import[:]
    result.opset_import.extend(kept)
    return result, ranges


def _pooled(model: onnx.ModelProto, ranges: Collection[str]) -> dict[str, str]:
    """For each maximum over a quantized tensor that nothing else reads: the tensor."""
    result = {}
    for node in model.graph.node:
        readers = [other for other in model.graph.node if node.input[0] in other.input]
        if node.op_type == "MaxPool" and node.input[0] in ranges and len(readers) == 1:
            result[node.output[0]] = node.input[0]
    return result


def _constants(model: onnx.ModelProto) -> Arrays:
    arrays = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    arrays[node.output[0]] = numpy_helper.to_array(attribute.t)
    return arrays


def _parameters(
    node: onnx.NodeProto, arrays: Arrays
) -> tuple[npt.NDArray[np.float64], int, bool, bool]:
    """Scale, bits, signed and narrow of a `Quant` node."""
    tensor = node.input[0]
    for name in node.input[1:4]:
        if name not in arrays:
            raise TilewrightError(
                f"Tensor {tensor!r}: its quantization is computed at run time; export it as constants"
            )
    scale, zero, width = (arrays[name].astype(np.float64) for name in node.input[1:4])
    if zero.any():
        raise TilewrightError(
            f"Tensor {tensor!r} is quantized with zero point {zero.flat[0]:g}; only 0 is supported, "
            "quantize symmetrically"
        )
    mantissas, _ = np.frexp(scale)
    if not (scale > 0).all() or (mantissas != 0.5).any():
        wrong = scale[(mantissas != 0.5) | (scale <= 0)].flat[0]
        raise TilewrightError(
            f"Tensor {tensor!r} is quantized with scale {wrong:g}, which is no power of two; train "
            "with power-of-two scales (in Brevitas restrict_scaling_type=POWER_OF_TWO)"
        )
    options = {a.name: a.i for a in node.attribute}
    bits = width.flat[0]
    signed, narrow = bool(options.get("signed", 1)), bool(options.get("narrow", 0))
    widest = MAX_BITS if signed else MAX_BITS - 1
    bias = tensor in arrays and arrays[tensor].ndim <= 1  # held in the accumulators' format
    if bits != int(bits) or bits < 1 or (bits > widest and not bias):
        raise TilewrightError(
            f"Tensor {tensor!r} is quantized to {bits:g} bits; up to {widest} are supported"
            f"{'' if signed else ' without a sign'}"
        )
    return scale, int(bits), signed, narrow


def _integers(bits: int, signed: bool, narrow: bool) -> tuple[int, int]:
    if signed:
        return -(1 << (bits - 1)) + narrow, (1 << (bits - 1)) - 1
    return 0, (1 << bits) - 1 - narrow


def _quantized(
    values: npt.NDArray[np.generic], scale: npt.NDArray[np.float64], limits: tuple[int, int]
) -> npt.NDArray[np.float32]:
    integers = np.clip(np.rint(values.astype(np.float64) / scale), *limits)
    return np.asarray(integers * scale, np.float32)


# ---- layers ------------------------------------------------------------------------------------


def _fix(graph: Graph, found: Mapping[str, _Range]) -> FixedGraph:
    ranges = dict(found)
    formats = {spec.name: ranges[spec.name].form for spec in graph.inputs}
    outputs = {output.tensor for output in graph.outputs}
    layers = []
    for layer in graph.layers:
        draft = _draft(graph, layer, formats)
        if accumulator_bound(draft, formats) >= ACC_LIMIT:
            raise refusal(draft, accumulator_bound(draft, formats), 48)
        if layer.name not in ranges:
            ranges[layer.name] = _implied(layer, ranges, draft, formats, layer.name in outputs)
        limits = ranges[layer.name]
        formats[layer.name] = limits.form
        low, high = clip_range(layer.activation, limits.form)
        layers.append(
            replace(draft, output=limits.form, lo=max(low, limits.low), hi=min(high, limits.high))
        )
    return FixedGraph(graph=graph, formats=formats, layers=tuple(layers))


def _draft(graph: Graph, layer: Layer, formats: Mapping[str, QFormat]) -> FixedLayer:
    """The layer with its integer weights; its output's format is not yet right."""
    weight, fracs, bits = None, np.zeros(1, np.int64), 8
    if layer.conv is not None:
        weight, fracs, bits = _exact(layer)
    return fix_layer(
        layer,
        formats,
        QFormat(8, 0),
        shape=graph.shapes[layer.inputs[0]],
        channels=graph.shapes[layer.name][0],
        weight_bits=bits,
        weight_frac=fracs if layer.conv is not None else 0,
        weight=weight,
    )


def _exact(layer: Layer) -> tuple[IntArray, IntArray, int]:
    """Integer weights, the least frac of each channel that makes them integers, and their bits."""
    assert layer.conv is not None
    weight = layer.conv.weight.astype(np.float64)
    fracs = np.full(len(weight), -FRAC_LIMIT, np.int64)
    for channel, values in enumerate(weight):
        nonzero = values[values != 0.0]
        if nonzero.size:
            mantissas, exponents = np.frexp(nonzero)
            integers = np.ldexp(mantissas, 53).astype(np.int64)
            trailing = np.array([(int(v) & -int(v)).bit_length() - 1 for v in integers])
            fracs[channel] = int((53 - exponents - trailing).max())
    fracs = np.where(fracs == -FRAC_LIMIT, max(int(fracs.max()), 0), fracs)
    integers = np.ldexp(weight, fracs.reshape(-1, 1, 1, 1))
    least, most = (f(integers, axis=(1, 2, 3)) for f in (np.min, np.max))
    magnitude = np.maximum(most, -1.0 - least)
    own = np.where(magnitude > 0, np.frexp(np.maximum(magnitude, 1.0))[1], 1) + 1
    bits = max(MIN_BITS, int(own.max()))
    if bits > MAX_BITS or np.abs(fracs).max() > FRAC_LIMIT:
        raise TilewrightError(
            f"Layer {layer.name!r}: its weights are no integers of up to {MAX_BITS} bits times a power "
            "of two; quantize them, after folding BatchNormalization"
        )
    # As fine as the bits allow, so that the bias keeps its bits too.
    shift = (bits - own).astype(np.int64)
    integers = np.ldexp(integers, shift.reshape(-1, 1, 1, 1))
    return integers.astype(np.int64), fracs + shift, bits


def _implied(
    layer: Layer,
    ranges: Mapping[str, _Range],
    draft: FixedLayer,
    formats: Mapping[str, QFormat],
    output: bool,
) -> _Range:
    """Range of a layer's output that no `Quant` node gives."""
    plain = layer.activation.kind is ActivationKind.NONE
    if layer.op in (Op.MAX_POOL, Op.IDENTITY) and plain:
        return ranges[layer.inputs[0]]
    if not output:
        raise _unquantized(layer.name, f"what layer {layer.name!r} gives")
    excess = max(0, accumulator_bound(draft, formats).bit_length() + 1 - MAX_BITS)
    frac = int(draft.acc_frac.min()) - excess
    return _Range(frac, -(1 << (MAX_BITS - 1)), (1 << (MAX_BITS - 1)) - 1)


def _unquantized(tensor: str, what: str) -> TilewrightError:
    return TilewrightError(
        f"Tensor {tensor!r}, {what}, has no Quant node; quantize every tensor between layers"
    )
