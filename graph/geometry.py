"""Windows of convolutions and pools: kernel, stride, dilation and padding from ONNX attributes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tilewright.graph.findings import Problem, Unsupported
from tilewright.graph.lowering import Pads
from tilewright.graph.onnx_model import Node

__all__ = ["Window", "add_pads", "ceil_extra", "window"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A sliding window; pads are (top, bottom, left, right)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pads: Pads


def window(node: Node, size: tuple[int, int], kernel: tuple[int, ...]) -> Window:
    """Geometry of a Conv or pool node over a map of `size` (height, width).

    Raises
    ------
    Unsupported : with one problem for each attribute out of range.
    """
    problems: list[Problem] = []

    def read(attribute: str, default: list[int], least: int) -> list[int]:
        found = list(node.attrs.get(attribute, default))
        if len(found) != len(default) or min(found) < least:
            reason = f"{found} found, {len(default)} integers of at least {least} are allowed"
            problems.append(Problem(reason, "change the layer's geometry", attribute))
            return default
        return found

    shape = read("kernel_shape", list(kernel), 1)
    if tuple(shape) != kernel:
        reason = f"{shape} found, but the weights have a kernel of {list(kernel)}"
        problems.append(Problem(reason, "export the model again", "kernel_shape"))
    stride, dilation = read("strides", [1, 1], 1), read("dilations", [1, 1], 1)
    top, left, bottom, right = read("pads", [0, 0, 0, 0], 0)
    made = Window(
        kernel=(shape[0], shape[1]),
        stride=(stride[0], stride[1]),
        dilation=(dilation[0], dilation[1]),
        pads=(top, bottom, left, right),
    )
    made = _auto_pad(node, size, made, problems)
    Unsupported.collect(problems)
    return made


def _auto_pad(node: Node, size: tuple[int, int], given: Window, problems: list[Problem]) -> Window:
    """The window with the pads that `auto_pad` asks for."""
    mode = node.attrs.get("auto_pad", b"NOTSET").decode()
    pads = given.pads
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        vertical, horizontal = (
            _same(size[a], given.kernel[a], given.stride[a], given.dilation[a], mode[5:])
            for a in (0, 1)
        )
        pads = (*vertical, *horizontal)
    elif mode not in ("NOTSET", "VALID"):
        reason = f"{mode!r} found; NOTSET, VALID, SAME_UPPER, SAME_LOWER are allowed"
        problems.append(Problem(reason, "give explicit pads", "auto_pad"))
    if mode != "NOTSET" and any(given.pads):
        reason = f"{node.attrs['pads']} found together with auto_pad={mode}"
        problems.append(Problem(reason, "give one of the two", "pads"))
    return replace(given, pads=pads)


def _same(size: int, kernel: int, stride: int, dilation: int, side: str) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    small, large = total // 2, total - total // 2
    return (small, large) if side == "UPPER" else (large, small)


def add_pads(first: Pads, second: Pads) -> Pads:
    """Sum of two borders."""
    return (
        first[0] + second[0],
        first[1] + second[1],
        first[2] + second[2],
        first[3] + second[3],
    )


def ceil_extra(size: int, kernel: int, stride: int, before: int, after: int) -> int:
    """Pixels that ceil-mode rounding adds behind `after`.

    A last window that would start beyond the map and its leading pad is dropped, as in PyTorch
    and in ONNX Runtime.
    """
    span = size + before + after
    count = -(-(span - kernel) // stride) + 1
    if (count - 1) * stride >= size + before:
        count -= 1
    return max((count - 1) * stride + kernel - span, 0)
