"""Putting an ONNX graph together node by node, with the shape and type of every tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["QONNX_DOMAIN", "GraphBuilder", "Value"]

QONNX_DOMAIN = "qonnx.custom_op.general"


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of the ONNX graph: its name, shape, and TensorProto.FLOAT or DOUBLE."""

    name: str
    shape: tuple[int, ...]
    type: int = TensorProto.FLOAT

    @property
    def wide(self) -> bool:
        """Whether it is computed in double precision."""
        return bool(self.type == TensorProto.DOUBLE)


class GraphBuilder:
    """Nodes and initializers of a graph; names are made unique."""

    def __init__(self, reserved: Sequence[str]) -> None:
        self._used = set(reserved)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.values: list[Value] = []

    def unique(self, wish: str) -> str:
        """`wish`, with underscores appended while the name is taken; takes it."""
        while wish in self._used:
            wish += "_"
        self._used.add(wish)
        return wish

    def constant(self, wish: str, array: npt.NDArray[np.generic]) -> str:
        """Add an initializer; returns its name."""
        return self.keep(self.unique(wish), array)

    def keep(self, name: str, array: npt.NDArray[np.generic]) -> str:
        """Add an initializer under a name that is reserved for it; returns the name."""
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def real(self, wish: str, array: npt.ArrayLike, like: Value) -> str:
        """Add an initializer of the floating-point type of `like`."""
        return self.constant(wish, np.asarray(array, np.float64 if like.wide else np.float32))

    def node(
        self,
        op: str,
        inputs: Sequence[str],
        result: Value,
        *,
        domain: str = "",
        **attributes: int | str | list[int],
    ) -> Value:
        """Add a node whose one output is `result`, named as its output is; returns `result`."""
        self.nodes.append(
            helper.make_node(
                op, list(inputs), [result.name], name=result.name, domain=domain, **attributes
            )
        )
        self.values.append(result)
        return result

    def apply(self, op: str, wish: str, first: Value, *others: str) -> Value:
        """Add an element-wise node: the result has shape and type of `first`."""
        result = Value(self.unique(wish), first.shape, first.type)
        return self.node(op, [first.name, *others], result)

    def widen(self, value: Value) -> Value:
        """`value` in double precision."""
        if value.wide:
            return value
        result = Value(self.unique(f"{value.name}/double"), value.shape, TensorProto.DOUBLE)
        return self.node("Cast", [value.name], result, to=TensorProto.DOUBLE)

    def reshape(self, wish: str, value: Value, shape: tuple[int, ...]) -> Value:
        """`value` in another shape of the same size."""
        target = self.constant(f"{wish}/shape", np.array(shape, np.int64))
        result = Value(self.unique(wish), shape, value.type)
        return self.node("Reshape", [value.name, target], result)

    def quant(
        self,
        value: Value,
        name: str,
        bits: int,
        scale: npt.ArrayLike,
        rounding: str,
        *,
        signed: bool = True,
    ) -> Value:
        """QONNX Quant node with zero point 0; `name` must be taken already."""
        parameters = [
            self.constant(f"{name}/scale", np.asarray(scale, np.float32)),
            self.constant(f"{name}/zero_point", np.array(0.0, np.float32)),
            self.constant(f"{name}/bits", np.array(bits, np.float32)),
        ]
        return self.node(
            "Quant",
            [value.name, *parameters],
            Value(name, value.shape),
            domain=QONNX_DOMAIN,
            signed=int(signed),
            narrow=0,
            rounding_mode=rounding,
        )
