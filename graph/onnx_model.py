"""An ONNX graph with its constants folded and the shape of every tensor known."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper
from onnx.checker import ValidationError
from onnx.reference import ReferenceEvaluator
from onnx.shape_inference import InferenceError, infer_node_outputs

from tilewright.graph.findings import Finding

__all__ = ["FLOAT_TYPES", "Model", "Node", "evaluate", "prepare"]

FLOAT_TYPES = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
"""Element types of feature maps that are accepted (and computed as float32)."""

_MAX_ELEMENTS = 1 << 29
_RANDOM = ("Random", "Multinomial", "Bernoulli")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node that reads at least one feature map."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: dict[str, Any]
    source: str | None
    scope: str
    proto: onnx.NodeProto


@dataclass(slots=True, kw_only=True)
class Model:
    """A model after constant folding, with batch size 1.

    Attributes
    ----------
    constants : value of every constant tensor
    roots : the initializers from which a constant was computed
    shapes : shape of every other tensor, batch 1 included; None where it cannot be known
    """

    opset: int
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    roots: dict[str, tuple[str, ...]] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...] | None] = field(default_factory=dict)
    types: dict[str, onnx.TypeProto] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    findings: list[Finding] = field(default_factory=list)


def prepare(proto: onnx.ModelProto) -> Model:
    """Fold every subgraph that depends on constants (or only on shapes) and infer all shapes.

    Nodes that no output needs are dropped. Dynamic dimensions other than the batch become
    findings. Each constant node is evaluated by onnx's own reference evaluator.
    """
    graph = proto.graph
    opset = next(e.version for e in proto.opset_import if e.domain in ("", "ai.onnx"))
    model = Model(opset=opset, outputs=tuple(o.name for o in graph.output))
    for tensor in graph.initializer:
        model.constants[tensor.name] = numpy_helper.to_array(tensor)
        model.roots[tensor.name] = (tensor.name,)
    real_inputs = [i for i in graph.input if i.name not in model.constants]
    model.inputs = tuple(i.name for i in real_inputs)
    for value in real_inputs:
        _add_input(model, value)
    taken: set[str] = set()
    for node in _needed(graph):
        if not _fold(model, node):
            model.nodes.append(_node(node, taken))
            _infer(model, node)
    return model


def _needed(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    wanted = {o.name for o in graph.output}
    kept = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
            for attribute in node.attribute:
                for inner in (attribute.g, *attribute.graphs):
                    wanted.update(name for n in inner.node for name in n.input)
    return kept[::-1]


def _add_input(model: Model, value: onnx.ValueInfoProto) -> None:
    def refuse(reason: str, advice: str, attribute: str | None = None) -> None:
        model.findings.append(
            Finding(
                node=value.name,
                op_type="Input",
                attribute=attribute,
                reason=reason,
                source=None,
                advice=advice,
            )
        )

    model.shapes[value.name] = None
    tensor = value.type.tensor_type
    if tensor.elem_type not in FLOAT_TYPES:
        kind = helper.tensor_dtype_to_string(tensor.elem_type) if tensor.elem_type else "unknown"
        refuse(f"element type {kind}, not a float", "export the model with float inputs", "type")
        return
    dims = [
        d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in tensor.shape.dim
    ]
    if len(dims) < 2:
        refuse(f"shape {dims} has no batch dimension", "export with inputs [batch, C, H, W]")
        return
    dynamic = [d for d in dims[1:] if not isinstance(d, int) or d < 1]
    if dynamic:
        refuse(
            f"shape {dims} has dynamic dimensions; only the first (batch) may be dynamic",
            "export the model with fixed channels, height and width",
            "shape",
        )
        return
    shape = (1, *(int(d) for d in dims[1:]))
    model.shapes[value.name] = shape
    model.types[value.name] = helper.make_tensor_type_proto(tensor.elem_type, shape)


def _fold(model: Model, node: onnx.NodeProto) -> bool:
    names = [name for name in node.input if name]
    if node.domain not in ("", "ai.onnx") or node.op_type.startswith(_RANDOM):
        return False
    found = {name: model.constants.get(name, _stand_in(model, node, name)) for name in names}
    inputs = {name: array for name, array in found.items() if array is not None}
    if len(inputs) < len(found):
        return False
    _infer(model, node)
    sizes = [model.shapes.get(name) for name in node.output]
    if any(size is not None and np.prod(size, dtype=float) > _MAX_ELEMENTS for size in sizes):
        return False
    try:
        results = evaluate(node, inputs, model.opset)
    except Exception:  # noqa: BLE001 -- then the node stays and is judged as a node
        return False
    roots = tuple(dict.fromkeys(r for name in names for r in model.roots.get(name, ())))
    for name, result in results.items():
        model.constants[name] = result
        model.roots[name] = roots
        model.shapes.pop(name, None)
    return True


def _stand_in(model: Model, node: onnx.NodeProto, name: str) -> npt.NDArray[Any] | None:
    """Any array of a feature map's shape and type, where the node looks at nothing else."""
    shape, kind = model.shapes.get(name), model.types.get(name)
    only_type = node.op_type == "CastLike" and name == node.input[1]
    if shape is None or kind is None or not (only_type or node.op_type in ("Shape", "Size")):
        return None
    dtype = helper.tensor_dtype_to_np_dtype(kind.tensor_type.elem_type)
    return np.broadcast_to(np.zeros((), dtype), shape)


def evaluate(
    node: onnx.NodeProto, inputs: dict[str, npt.NDArray[Any]], opset: int
) -> dict[str, npt.NDArray[Any]]:
    """Outputs of one node, by name, for given inputs, by onnx's reference evaluator."""
    # A model, since the evaluator of a bare node takes the newest opset whatever it is told.
    graph = helper.make_graph(
        [node],
        "node",
        [helper.make_empty_tensor_value_info(name) for name in inputs],
        [helper.make_empty_tensor_value_info(name) for name in node.output if name],
    )
    imports = [helper.make_opsetid("", opset)]
    evaluator = ReferenceEvaluator(helper.make_model(graph, opset_imports=imports))
    with np.errstate(all="ignore"):
        results = evaluator.run(None, inputs)
    return dict(zip(evaluator.output_names, map(np.asarray, results), strict=True))


def _infer(model: Model, node: onnx.NodeProto) -> None:
    """Record the shapes of a node's outputs; None where they cannot be told."""
    for name in node.output:
        model.shapes[name] = None
    types, data = {}, {}
    for name in filter(None, node.input):
        constant = model.constants.get(name)
        if constant is not None:
            kind = helper.np_dtype_to_tensor_dtype(constant.dtype)
            types[name] = helper.make_tensor_type_proto(kind, constant.shape)
            if constant.size <= 64:
                data[name] = numpy_helper.from_array(constant, name)
        elif name in model.types:
            types[name] = model.types[name]
        else:
            return
    try:
        schema = onnx.defs.get_schema(node.op_type, model.opset, node.domain)
        known = onnx.NodeProto()
        known.CopyFrom(node)
        # An attribute that the operator does not have is the check's business.
        del known.attribute[:]
        known.attribute.extend(a for a in node.attribute if a.name in schema.attributes)
        found = infer_node_outputs(
            schema,
            known,
            types,
            data,
            opset_imports=[helper.make_opsetid("", model.opset)],
        )
    except (InferenceError, ValidationError, onnx.defs.SchemaError, RuntimeError):
        return
    for name, kind in found.items():
        dims = kind.tensor_type.shape.dim
        if kind.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims):
            model.shapes[name] = tuple(d.dim_value for d in dims)
            model.types[name] = kind


def _node(proto: onnx.NodeProto, taken: set[str]) -> Node:
    meta = {entry.key: entry.value for entry in proto.metadata_props}
    output = next((name for name in proto.output if name), "")
    name = proto.name or output or proto.op_type
    name = name if name not in taken else f"{name}:{output}"
    taken.add(name)
    return Node(
        name=name,
        op=proto.op_type if proto.domain in ("", "ai.onnx") else f"{proto.domain}.{proto.op_type}",
        inputs=tuple(proto.input),
        outputs=tuple(proto.output),
        attrs={a.name: helper.get_attribute_value(a) for a in proto.attribute},
        source=_source_line(meta.get("pkg.torch.onnx.stack_trace", "")),
        scope=_module_path(meta.get("pkg.torch.onnx.name_scopes", "")),
        proto=proto,
    )


def _source_line(trace: str) -> str | None:
    """Innermost frame of a stack trace that is the user's own code, as file:line."""
    frames = re.findall(r'File "([^"]+)", line (\d+)', trace)
    own = [f for f in frames if not re.search(r"[/\\](site|dist)-packages[/\\]", f[0])]
    return ":".join(own[-1]) if own else None


def _module_path(scopes: str) -> str:
    """Dotted path of the torch module that a node came from ('' if not recorded)."""
    try:
        names = ast.literal_eval(scopes) if scopes else []
    except (ValueError, SyntaxError):
        return ""
    return str(names[-2]) if isinstance(names, list) and len(names) >= 2 else ""
