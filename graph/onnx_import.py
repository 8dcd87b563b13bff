"""Importing float ONNX models: fold constants, lower every operator, fuse into layers."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import numpy as np
import onnx

from tilewright.graph.findings import Finding, Problem, Unsupported, refusal
from tilewright.graph.fuse import fuse
from tilewright.graph.ir import Graph, Input, Op, Output
from tilewright.graph.lowering import Lowering, Value
from tilewright.graph.maps import feature_map, is_natural, unpadded
from tilewright.graph.onnx_file import open_model
from tilewright.graph.onnx_model import Model, Node, prepare
from tilewright.graph.onnx_ops import OPERATORS, registered_operator

__all__ = ["Imported", "find_problems", "import_onnx"]

_ADVICE = {
    "LRN": "retrain with BatchNormalization, or without it",
    "ConvTranspose": "use upsampling-free architectures",
    "HardSwish": "register it with tilewright.activation (docs/activations.md), or train with ReLU6",
    "Gelu": "register it with tilewright.activation (docs/activations.md), or train with ReLU",
    "Erf": "this is a GELU; train with ReLU instead",
    "Shape": "export the model with fixed sizes",
    "If": "export the model with constant conditions",
    "QuantizeLinear": "import the float model; Tilewright quantizes it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """An imported network and what ties it to its original.

    Attributes
    ----------
    proto : the original, local functions inlined
    inputs : by graph input, how the original's input reads from the feature map
    outputs : by position of `graph.outputs`, the ONNX tensor before host operators, and how it
        reads from the feature map
    probes : by layer, the ONNX tensor that equals its result, and how it reads from it
    """

    label: str
    graph: Graph
    proto: onnx.ModelProto
    inputs: dict[str, Value]
    outputs: tuple[tuple[str, Value], ...]
    probes: dict[str, tuple[str, Value]]


def find_problems(source: str | os.PathLike[str] | onnx.ModelProto) -> list[Finding]:
    """Every operator and attribute of a model that cannot be imported; see `check_model`."""
    proto, _ = open_model(source)
    state, _, _ = _lower(proto)
    return state.findings


def import_onnx(
    source: str | os.PathLike[str] | onnx.ModelProto, *, name: str | None = None
) -> Imported:
    """Import a float ONNX model; nothing is compared with the original yet (see `load_onnx`).

    Parameters
    ----------
    source : path of an .onnx file, or a model in memory
    name : name of the graph; the model's own if not given

    Raises
    ------
    TilewrightError : not a readable model, or with every finding, one a line.
    """
    proto, label = open_model(source)
    label = name or label if isinstance(source, onnx.ModelProto) else label
    state, inputs, outputs = _lower(proto)
    if state.findings:
        raise refusal(label, state.findings)
    draft = Graph(
        name=name or proto.graph.name or "network",
        inputs=tuple(inputs),
        layers=tuple(state.layers.values()),
        outputs=tuple(output for output, _ in outputs),
    )
    graph, results = fuse(draft, state.affine)
    made = {value.tensor: (tensor, value) for tensor, value in reversed(state.probes.items())}
    renamed = {result: layer for layer, result in results.items()}
    return Imported(
        label=label,
        graph=graph,
        proto=proto,
        inputs={i.name: state.values[i.name] for i in inputs},
        outputs=tuple((source, _retarget(value, renamed)) for _, (source, value) in outputs),
        probes={
            layer: (made[result][0], _retarget(made[result][1], renamed))
            for layer, result in results.items()
            if result in made
        },
    )


def _retarget(value: Value, renamed: dict[str, str]) -> Value:
    return replace(value, tensor=renamed.get(value.tensor, value.tensor))


_Outputs = list[tuple[Output, tuple[str, Value]]]


def _lower(proto: onnx.ModelProto) -> tuple[Lowering, list[Input], _Outputs]:
    model = prepare(proto)
    state = Lowering(model, findings=list(model.findings))
    inputs = [_input(state, name) for name in model.inputs if model.shapes[name] is not None]
    for node in model.nodes:
        _lower_node(state, node)
    outputs = []
    for name in model.outputs:
        made = _output(state, name)
        if made is not None:
            outputs.append(made)
    return state, inputs, outputs


def _input(state: Lowering, name: str) -> Input:
    shape = state.model.shapes[name]
    assert shape is not None
    image, layout, index = _input_map(state.model, name, shape)
    state.shapes[name] = image
    state.values[name] = Value(tensor=name, shape=shape, index=index)
    return Input(name=name, shape=image, layout=layout)


def _input_map(
    model: Model, name: str, shape: tuple[int, ...]
) -> tuple[tuple[int, int, int], str, np.ndarray[tuple[int, ...], np.dtype[np.int64]] | None]:
    """Feature map (C, H, W) behind an input, its layout, and the index of its elements."""
    readers = [node for node in model.nodes if name in node.inputs]
    reader = readers[0] if len(readers) == 1 else None
    if len(shape) == 4:
        if reader and reader.op == "Transpose" and reader.attrs.get("perm") == [0, 3, 1, 2]:
            image = (shape[3], shape[1], shape[2])
            index = np.arange(np.prod(image), dtype=np.int64).reshape(image)
            return image, "nhwc", index.transpose(1, 2, 0)[None]
        return (shape[1], shape[2], shape[3]), "nchw", None
    flat = np.arange(np.prod(shape), dtype=np.int64).reshape(shape)
    after = model.shapes.get(reader.outputs[0]) if reader else None
    if reader and reader.op in ("Reshape", "Unsqueeze") and after and len(after) == 4:
        return (after[1], after[2], after[3]), "flat", flat
    return (int(np.prod(shape)), 1, 1), "flat", flat


def _lower_node(state: Lowering, node: Node) -> None:
    operator = registered_operator(node.op) or OPERATORS.get(node.op)
    if operator is None:
        advice = _ADVICE.get(node.op, "replace it by supported operators, or end the network there")
        state.note(node, Problem("the operator is not supported", advice))
    else:
        for attribute in sorted(set(node.attrs) - operator.attributes):
            reason = f"{node.attrs[attribute]!r} found, this attribute is not supported"
            state.note(node, Problem(reason, "remove the attribute", attribute))
        known = state.values.keys() | state.model.constants.keys() | {""}
        if known.issuperset(node.inputs):
            try:
                operator.lower(state, node)
            except Unsupported as error:
                for problem in error.problems:
                    state.note(node, problem)
    _stand_in(state, node)


def _stand_in(state: Lowering, node: Node) -> None:
    """Give outputs that could not be lowered a map of their shape, so that the check goes on."""
    for name in node.outputs:
        if not name or name in state.values:
            continue
        shape = state.model.shapes.get(name)
        readers = [other for other in state.model.nodes if name in other.inputs]
        if node.outputs[0] in state.values and (readers or name in state.model.outputs):
            state.note(node, Problem(f"its output {name!r} is used", "use only its first output"))
        if shape is None or len(shape) not in (2, 4) or shape[0] != 1 or min(shape) < 1:
            continue
        index = None if len(shape) == 4 else np.arange(shape[1], dtype=np.int64).reshape(shape)
        tensor = state.unique(name)
        channels, height, width = (*shape[1:], 1, 1)[:3]
        state.shapes[tensor] = (channels, height, width)
        state.values[name] = Value(tensor=tensor, shape=shape, index=index)


def _output(state: Lowering, name: str) -> tuple[Output, tuple[str, Value]] | None:
    node = Node(
        name=name,
        op="Output",
        inputs=(name,),
        outputs=(name,),
        attrs={},
        source=None,
        scope="",
        proto=onnx.NodeProto(),
    )
    value = state.values.get(name)
    if value is None:
        if name in state.model.constants:
            state.note(node, Problem("it is a constant", "remove this output"))
        return None
    try:
        value = unpadded(state, node, value)
        if not is_natural(state, value):
            tensor = feature_map(state, node, replace(value, host_ops=()))
            value = replace(value, tensor=tensor, index=None)
    except Unsupported as error:
        for problem in error.problems:
            state.note(node, problem)
        return None
    if value.tensor not in state.layers and value.tensor in state.model.inputs:
        tensor = state.emit(node, Op.IDENTITY, (value.tensor,), name=f"{name}_copy")
        value = replace(value, tensor=tensor)
    shape = value.shape[1:] if value.shape[0] == 1 else value.shape
    output = Output(name=name, tensor=value.tensor, shape=shape, host_ops=value.host_ops)
    return output, (_before_host(state, name), value)


def _before_host(state: Lowering, name: str) -> str:
    """ONNX tensor that the host's operators start from; `name` itself if there are none."""
    makers = {output: node for node in state.model.nodes for output in node.outputs}
    while state.values[name].host_ops:
        name = makers[name].inputs[0]
    return name
