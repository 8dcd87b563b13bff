"""State of an import: unfused layers, and how each ONNX tensor reads from a layer's map.

An ONNX tensor is a `Value`: a feature map of the IR plus, where the two differ, an array with the
flat (C, H, W) index of every element. Reshape, Transpose, Slice and the like then need no rules of
their own: they are evaluated on that index array.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tilewright.graph.findings import Finding, Problem, Unsupported
from tilewright.graph.ir import Activation, Conv, Layer, Op, Shape, output_shape
from tilewright.graph.onnx_model import Model, Node

__all__ = ["Floats", "Lowering", "Pads", "Value"]

Floats = npt.NDArray[np.float32]
Pads = tuple[int, int, int, int]
_NO_PADS: Pads = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Value:
    """An ONNX tensor of batch 1 in terms of a feature map.

    Attributes
    ----------
    tensor : name of the feature map
    shape : shape of the ONNX tensor, batch included
    index : int64 of that shape, flat (C, H, W) index of each element; None if the tensor is
        simply (1, C, H, W)
    pads, pad_value : border of a Pad operator, not yet in the feature map (nor in `shape`)
    host_ops : what the host still has to compute to obtain the tensor
    """

    tensor: str
    shape: tuple[int, ...]
    index: npt.NDArray[np.int64] | None = None
    pads: Pads = _NO_PADS
    pad_value: float = 0.0
    host_ops: tuple[str, ...] = ()

    def indices(self) -> npt.NDArray[np.int64]:
        """Flat (C, H, W) index of every element."""
        if self.index is not None:
            return self.index
        return np.arange(np.prod(self.shape), dtype=np.int64).reshape(self.shape)


@dataclass(slots=True)
class Lowering:
    """Unfused layers made so far; handlers of operators add to it."""

    model: Model
    shapes: dict[str, Shape] = field(default_factory=dict)
    layers: dict[str, Layer] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    affine: set[str] = field(default_factory=set)
    """Layers that only scale and shift channels, born from BatchNormalization, Mul, Add, …"""
    probes: dict[str, Value] = field(default_factory=dict)
    """ONNX tensor → how it reads from the layer that made it, for the numeric comparison."""
    findings: list[Finding] = field(default_factory=list)

    def note(self, node: Node, problem: Problem) -> None:
        """Record a problem of a node."""
        self.findings.append(
            Finding(
                node=node.name,
                op_type=node.op,
                attribute=problem.attribute,
                reason=problem.reason,
                source=node.source,
                advice=problem.advice,
            )
        )

    def unique(self, name: str) -> str:
        """Return a layer name made of `name` that no tensor has yet."""
        clean = re.sub(r"[^A-Za-z0-9_.\-]+", "_", name).strip("_.") or "layer"
        candidate, count = clean, 1
        while candidate in self.shapes:
            count += 1
            candidate = f"{clean}_{count}"
        return candidate

    def emit(
        self,
        node: Node,
        op: Op,
        inputs: tuple[str, ...],
        *,
        name: str = "",
        conv: Conv | None = None,
        activation: Activation | None = None,
        **fields: object,
    ) -> str:
        """Append a layer and return its tensor's name."""
        layer = Layer(
            name=self.unique(name or node.scope or node.name),
            op=op,
            inputs=inputs,
            conv=conv,
            activation=activation or Activation(),
            source=node.source or node.name,
            **fields,  # type: ignore[arg-type]
        )
        try:
            shape = output_shape(layer, [self.shapes[i] for i in inputs])
        except ValueError as error:
            raise Unsupported(
                f"its output would be empty for an input of {self.shapes[inputs[0]]}",
                "use a larger input or a smaller kernel",
            ) from error
        self.layers[layer.name], self.shapes[layer.name] = layer, shape
        return layer.name

    def define(self, node: Node, tensor: str) -> None:
        """Say that the node's first output is feature map `tensor` as (1, C, H, W)."""
        self.define_value(node.outputs[0], Value(tensor=tensor, shape=(1, *self.shapes[tensor])))

    def define_value(self, name: str, value: Value) -> None:
        """Say what an ONNX tensor is; remember it for the comparison with the original."""
        self.values[name] = value
        if value.pads == _NO_PADS:
            self.probes[name] = value

    def value(self, node: Node, position: int = 0) -> Value:
        """Feature map read by input `position`; it must not be a constant."""
        name = node.inputs[position]
        if name in self.model.constants:
            raise Unsupported(
                f"input {position} ({name!r}) is a constant",
                "a feature map is expected there; swap the operands",
            )
        value = self.values[name]
        if value.host_ops:
            raise Unsupported(
                f"it reads the result of {value.host_ops[-1]}, which only the host computes",
                "end the network there",
            )
        return value

    def constant(self, node: Node, position: int, what: str) -> npt.NDArray[np.generic] | None:
        """Constant operand `position` (None if it is left out)."""
        name = node.inputs[position] if position < len(node.inputs) else ""
        if not name:
            return None
        if name not in self.model.constants:
            raise Unsupported(
                f"{what} ({name!r}) is computed at run time", "make it a constant", what
            )
        return self.model.constants[name]

    def weights(self, node: Node, position: int, what: str) -> Floats | None:
        """Constant operand as finite float32; NaN and infinity are refused by name."""
        array = self.constant(node, position, what)
        if array is None:
            return None
        with np.errstate(over="ignore"):
            result: Floats = np.asarray(array, dtype=np.float32)
        if not np.isfinite(result).all():
            name = node.inputs[position]
            roots = [r for r in self.model.roots.get(name, ()) if _is_broken(self.model, r)]
            raise Unsupported(
                f"initializer {(roots or [name])[0]!r} holds "
                f"{int((~np.isfinite(result)).sum())} NaN or infinite values (as float32)",
                "train or export the network again",
                what,
            )
        return result


def _is_broken(model: Model, name: str) -> bool:
    array = model.constants[name]
    return array.dtype.kind == "f" and not bool(np.isfinite(array.astype(np.float32)).all())
