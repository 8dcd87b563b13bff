"""The intermediate representation: layers between feature maps of shape (C, H, W).

The importers produce it, every later stage reads it, nothing else describes a network. A layer
produces exactly one tensor, which carries the layer's name. Batch is never a dimension.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

__all__ = [
    "Activation",
    "ActivationKind",
    "Conv",
    "Graph",
    "Input",
    "Layer",
    "Op",
    "Output",
    "Pool",
    "Shape",
    "output_shape",
]

Shape = tuple[int, int, int]
"""Channels, height, width."""


class Op(enum.Enum):
    """What a layer computes before its bias, activation and fused pooling."""

    CONV = "conv"
    """Convolution; a fully connected layer is one whose kernel covers its whole input."""
    ADD = "add"
    """Sum of two or more tensors of one shape."""
    CONCAT = "concat"
    """Concatenation along the channels."""
    MAX_POOL = "max_pool"
    AVG_POOL = "avg_pool"
    IDENTITY = "identity"
    """The input itself: an activation that could not be fused into its producer."""


class ActivationKind(enum.Enum):
    """The element-wise function applied after the bias."""

    NONE = "none"
    CLIP = "clip"
    """Clip to [lo, hi]: ReLU is [0, inf], ReLU6 is [0, 6]."""
    LEAKY = "leaky"
    """x for x >= 0, slope * x otherwise, 0 <= slope <= 1."""
    FUNCTION = "function"
    """A registered function of one value; see `tilewright.graph.functions`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """An element-wise activation; `function` names the registered one of kind FUNCTION."""

    kind: ActivationKind = ActivationKind.NONE
    lo: float = float("-inf")
    hi: float = float("inf")
    slope: float = 1.0
    function: str = ""

    def __post_init__(self) -> None:
        if not self.lo < self.hi:
            raise ValueError(f"Clip range must be increasing, not [{self.lo}, {self.hi}]")
        if not 0.0 <= self.slope <= 1.0:
            raise ValueError(f"LeakyReLU slope must lie in [0, 1], not {self.slope}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conv:
    """Weights and geometry of a convolution.

    Attributes
    ----------
    weight : float32 [out channels, in channels / groups, kernel height, kernel width]
    bias : float32 [out channels]
    stride, dilation : (vertical, horizontal)
    pads : zeros added (top, bottom, left, right)
    linear : whether the user wrote it as a fully connected layer
    """

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    linear: bool = False

    @property
    def kernel(self) -> tuple[int, int]:
        """Kernel height and width."""
        return self.weight.shape[2], self.weight.shape[3]

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the convolution's result for an input of `shape`, before any fused pooling."""
        top, bottom, left, right = self.pads
        kh, kw = self.kernel
        height = shape[1] + top + bottom - self.dilation[0] * (kh - 1) - 1
        width = shape[2] + left + right - self.dilation[1] * (kw - 1) - 1
        return self.weight.shape[0], height // self.stride[0] + 1, width // self.stride[1] + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A pooling window.

    `pads` are (top, bottom, left, right). Maxima never see padding. An average divides by the
    number of real pixels in the window, plus the `pads` pixels in it if `count_pads`; `extra`
    (bottom, right) is what ceil-mode rounding added beyond `pads`, and is never counted.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    extra: tuple[int, int] = (0, 0)
    count_pads: bool = False

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the pooled map."""
        full_h = height + self.pads[0] + self.pads[1] + self.extra[0]
        full_w = width + self.pads[2] + self.pads[3] + self.extra[1]
        return (
            (full_h - self.kernel[0]) // self.stride[0] + 1,
            (full_w - self.kernel[1]) // self.stride[1] + 1,
        )

    def windows(self, axis: int, size: int) -> list[tuple[int, int, int]]:
        """Windows along one axis: (first real index, one past the last, counted length).

        `axis` is 0 for rows, 1 for columns; `size` is the unpadded extent of that axis. The
        divisor of an average is the product of the counted lengths of its row and column window.
        """
        before, after = self.pads[2 * axis], self.pads[2 * axis + 1]
        count = self.output_size(size, size)[axis]
        result = []
        for index in range(count):
            start = index * self.stride[axis] - before
            stop = start + self.kernel[axis]
            real = (max(start, 0), min(stop, size))
            counted = min(stop, size + after) - start if self.count_pads else real[1] - real[0]
            result.append((*real, counted))
        return result


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layer:
    """One layer: op, then bias, residual, activation, and a fused max pooling, in this order.

    Attributes
    ----------
    name : the layer's name and the name of the tensor that it produces
    inputs : names of layers or graph inputs; one for CONV, pools and IDENTITY
    conv : for CONV
    pool : for MAX_POOL and AVG_POOL
    residual : tensor added to the convolution's result before the activation (CONV only)
    max_pool : max pooling fused behind the activation (CONV only)
    source : the user's source line or node name, for messages
    """

    name: str
    op: Op
    inputs: tuple[str, ...]
    conv: Conv | None = None
    pool: Pool | None = None
    residual: str | None = None
    activation: Activation = Activation()
    max_pool: Pool | None = None
    source: str = ""

    @property
    def all_inputs(self) -> tuple[str, ...]:
        """Every tensor that the layer reads."""
        return self.inputs if self.residual is None else (*self.inputs, self.residual)

    @property
    def kind(self) -> str:
        """Kind shown to users: conv, depthwise, fc, add, concat, max_pool, avg_pool, identity."""
        if self.conv is None:
            return self.op.value
        if self.conv.linear:
            return "fc"
        return "depthwise" if 1 < self.conv.groups == self.conv.weight.shape[0] else "conv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A graph input; the network sees (raw - mean) * scale, per channel (or one for all).

    `layout` is how the user's model takes one image: "nchw" as [C, H, W]; "nhwc" as [H, W, C];
    "flat" in another shape whose values are in the order of [C, H, W].
    """

    name: str
    shape: Shape
    mean: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)
    layout: str = "nchw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A graph output: the tensor, its shape in the user's model and what is left to the host.

    `shape` is without the batch; its values are in the order of the tensor's (C, H, W). `host_ops`
    are as "Softmax(axes=1)", "LogSoftmax(axes=1)" (axis 0 is the batch) or "Sigmoid()", applied by
    `graph.host_side.apply_host_ops`.
    """

    name: str
    tensor: str
    shape: tuple[int, ...]
    host_ops: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Graph:
    """A network: layers in topological order.

    `shapes` gives (C, H, W) of every tensor by name and is derived when the graph is made.
    """

    name: str
    inputs: tuple[Input, ...]
    layers: tuple[Layer, ...]
    outputs: tuple[Output, ...]
    shapes: dict[str, Shape] = field(init=False)

    def __post_init__(self) -> None:
        shapes = {i.name: i.shape for i in self.inputs}
        for layer in self.layers:
            if layer.name in shapes:
                raise ValueError(f"Tensor name {layer.name!r} is used twice")
            shapes[layer.name] = output_shape(layer, [shapes[n] for n in layer.all_inputs])
        object.__setattr__(self, "shapes", shapes)

    def layer(self, name: str) -> Layer:
        """Layer called `name`; raises KeyError."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)

    def macs(self, layer: Layer) -> int:
        """Useful multiply-accumulates of one layer for one image (0 for ops without weights).

        Results that no window of the fused pooling covers are not useful, padding's zeros are.
        """
        if layer.conv is None:
            return 0
        _, *sizes = layer.conv.output_shape(self.shapes[layer.inputs[0]])
        if layer.max_pool is not None:
            sizes = [_covered(layer.max_pool, axis, size) for axis, size in enumerate(sizes)]
        return int(layer.conv.weight.size) * sizes[0] * sizes[1]


def _covered(pool: Pool, axis: int, size: int) -> int:
    """How many of `size` rows or columns lie in any window."""
    return len({at for start, stop, _ in pool.windows(axis, size) for at in range(start, stop)})


def output_shape(layer: Layer, shapes: list[Shape]) -> Shape:
    """Shape of a layer's result for inputs of `shapes`; raises ValueError if it is empty."""
    channels, height, width = shapes[0]
    if layer.conv is not None:
        channels, height, width = layer.conv.output_shape(shapes[0])
    elif layer.op is Op.CONCAT:
        channels = sum(s[0] for s in shapes)
    for pool in (layer.pool, layer.max_pool):
        if pool is not None:
            height, width = pool.output_size(height, width)
    if min(channels, height, width) < 1:
        raise ValueError(f"Layer {layer.name!r} has an empty output: {(channels, height, width)}")
    return channels, height, width
