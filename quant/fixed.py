"""The quantized network: every tensor has bits and a fractional length, every shift is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilewright.graph.functions import Function, find_function
from tilewright.graph.ir import ActivationKind, Graph, Layer
from tilewright.quant.formats import QFormat

__all__ = ["FixedGraph", "FixedLayer", "Leaky"]

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaky:
    """LeakyReLU's slope as fixed point: multiplier * 2**-shift, 0 <= multiplier <= 255."""

    multiplier: int
    shift: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FixedLayer:
    """Integers of one layer. docs/numerics.md gives the arithmetic; this holds its constants.

    acc[c] = sum(weight * x) * 2**main_shift[c] + bias[c] + sum(residual) * 2**residual_shift[c]
    and then requantize by shift[c], apply the function and requantize by function_shift if there
    is one, clip to [lo, hi].

    Attributes
    ----------
    layer : geometry and float weights
    weight : int64 [O, I/groups, kh, kw] within weight_bits, or None (no weights)
    weight_bits : bits of the weights
    weight_frac : int64 [O], fractional length of each output channel's weights
    acc_frac : int64 [O], fractional length of the accumulator, per output channel
    bias : int64 [O] at acc_frac (zeros for ops without bias)
    output : format of the tensor that the layer produces
    lo, hi : clip range in the output format (activation and saturation together)
    leaky : LeakyReLU slope, or None
    """

    layer: Layer
    weight: IntArray | None
    weight_bits: int
    weight_frac: IntArray
    acc_frac: IntArray
    bias: IntArray
    output: QFormat
    lo: int
    hi: int
    leaky: Leaky | None = None

    @property
    def name(self) -> str:
        """Name of the layer and of its output tensor."""
        return self.layer.name

    @property
    def function(self) -> Function | None:
        """Registered function of the layer's activation."""
        activation = self.layer.activation
        function = activation.kind is ActivationKind.FUNCTION
        return find_function(activation.function) if function else None

    @property
    def shift(self) -> IntArray:
        """Requantizing right shift of each output channel; negative shifts left.

        It leads to the output's fractional length, or to that of the function.
        """
        function = self.function
        return self.acc_frac - (self.output.frac if function is None else function.frac)

    @property
    def function_shift(self) -> int:
        """Right shift of the function's result; 0 without one."""
        function = self.function
        return 0 if function is None else function.frac - self.output.frac


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FixedGraph:
    """A quantized network.

    `formats` gives the format of every tensor, graph inputs included; `layers` stand in the same
    order as `graph.layers`.
    """

    graph: Graph
    formats: dict[str, QFormat]
    layers: tuple[FixedLayer, ...]

    def layer(self, name: str) -> FixedLayer:
        """Fixed layer called `name`; raises KeyError."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)
