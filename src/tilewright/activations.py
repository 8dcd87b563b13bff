"""Activations in Python HLS: one function over fixed-point values, for reference and hardware."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from tilewright.errors import TilewrightError
from tilewright.graph.functions import MAX_FUNCTION_BITS, Function, register

__all__ = ["activation"]

_RESULT_BITS = 32
"""Widest result of an activation."""

Fixed = Callable[..., Any]


def activation(
    *,
    onnx: str,
    reference: Callable[[Any], Any],
    bits: int = 16,
    frac: int = 10,
    attributes: Collection[str] = (),
) -> Callable[[Fixed], Fixed]:
    """Register the decorated function as an activation of networks and of the accelerator.

    The function is called as `function(x, frac)` with an integer that stands for x * 2**-frac, and
    returns the integer of its result at the same `frac`. It is called with NumPy arrays as the
    reference and with symbolic values for the hardware; docs/hls.md says what it may do. It is named
    in a target's `activations`, and networks import the ONNX operator `onnx` as it.

    Parameters
    ----------
    onnx : ONNX operator that it computes, as "HardSwish"; before Tilewright's own import of it
    reference : the exact function, from torch.Tensor to torch.Tensor, differentiable
    bits : of the argument, two's complement (2..18); what does not fit is saturated
    frac : fractional bits of argument and result (0..24)
    attributes : of the operator, that `reference` takes into account; others are refused

    Raises
    ------
    TilewrightError
        If the function cannot be hardware (its line and the reason), its result has more than 32
        bits, it differs between NumPy and the traced hardware, or an option is out of range.
    """

    def registered(function: Fixed) -> Fixed:
        name = function.__name__
        _check(name, bits, frac)
        compute = functools.partial(function, frac=frac)
        cycles = _cycles(name, compute, bits)
        register(
            Function(
                name=name,
                compute=compute,
                reference=reference,
                onnx=onnx,
                attributes=frozenset(attributes),
                bits=bits,
                frac=frac,
                table=_table(name, compute, bits),
                cycles=cycles,
            )
        )
        return function

    return registered


def _check(name: str, bits: int, frac: int) -> None:
    if not name.isidentifier():
        raise TilewrightError(f"Activation {name!r} must have a name; use def instead of lambda")
    for option, value, low, high in (
        ("bits", bits, 2, MAX_FUNCTION_BITS),
        ("frac", frac, 0, 24),
    ):
        if type(value) is not int or not low <= value <= high:
            raise TilewrightError(
                f"Activation {name!r}: {option} must be an integer in {low}..{high}, not {value!r}"
            )


def _table(name: str, compute: Callable[[Any], Any], bits: int) -> Any:
    """The function's result for every argument."""
    half = 1 << (bits - 1)
    arguments = np.arange(-half, half, dtype=np.int64)
    try:
        found = np.asarray(compute(arguments))
    except Exception as error:
        place = inspect.trace()[-1]
        raise TilewrightError(
            f"Activation {name!r} raised {type(error).__name__} on NumPy integers: {error} "
            f"({place.filename}:{place.lineno})"
        ) from error
    if found.dtype.kind not in "iub" or found.shape not in ((), arguments.shape):
        raise TilewrightError(
            f"Activation {name!r} must return one integer for each argument, not {found.dtype} "
            f"{list(found.shape)}; scale constants to integers and use // instead of /"
        )
    table = np.broadcast_to(found.astype(np.int64), arguments.shape).copy()
    if np.abs(table).max() >= 1 << (_RESULT_BITS - 1):
        raise TilewrightError(
            f"Activation {name!r}: its result reaches {int(np.abs(table).max())}, more than "
            f"{_RESULT_BITS} bits; shift it back to its argument's fractional bits"
        )
    table.setflags(write=False)
    return table


def _cycles(name: str, compute: Callable[[Any], Any], bits: int) -> int:
    """Stages of the function's pipeline."""
    from tilewright.hw.hls import Input, schedule, trace
    from tilewright.hw.postprocess import FUNCTION_PERIOD_NS

    half = 1 << (bits - 1)
    try:
        step = functools.wraps(compute)(lambda x: compute(x))  # whatever its argument is called
        datapath = trace(step, {"x": Input(-half, half - 1)})
    except TilewrightError as error:
        raise TilewrightError(f"Activation {name!r}: {error}") from error
    return schedule(datapath, period_ns=FUNCTION_PERIOD_NS).latency
