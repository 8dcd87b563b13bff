"""Activations that a user has registered: what every stage must know of them.

`tilewright.activation` makes and registers them; nothing else of a network refers to Python code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tilewright.errors import TilewrightError, nearest

__all__ = [
    "MAX_FUNCTION_BITS",
    "Function",
    "find_function",
    "for_operator",
    "register",
    "registered",
]

MAX_FUNCTION_BITS = 18
"""Widest argument: what one 18x18 multiplier takes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Function:
    """A function of one fixed-point value, for integers and for the hardware.

    Attributes
    ----------
    name : by which networks and targets refer to it
    compute : integers, NumPy's or symbolic, to integers; argument and result have `frac`
    reference : what it approximates: torch.Tensor to torch.Tensor, differentiable
    onnx : operator that it is imported from
    attributes : of that operator, that `reference` takes into account
    bits : of its argument, two's complement; what is larger is saturated
    frac : fractional bits of its argument and its result
    table : its result for every argument, int64 [2**bits], from the least argument on
    cycles : stages of its pipeline
    """

    name: str
    compute: Callable[[Any], Any]
    reference: Callable[[Any], Any]
    onnx: str
    attributes: frozenset[str]
    bits: int
    frac: int
    table: npt.NDArray[np.int64]
    cycles: int

    @property
    def identity(self) -> str:
        """Hash of everything that a program relies on."""
        head = f"{self.bits} {self.frac} {self.cycles}".encode()
        return hashlib.sha256(head + self.table.astype("<i8").tobytes()).hexdigest()[:8]


_functions: dict[str, Function] = {}


def register(function: Function) -> None:
    """Make a function known, in the place of an earlier one of that name or operator."""
    for name, other in list(_functions.items()):
        if name == function.name or other.onnx == function.onnx:
            del _functions[name]
    _functions[function.name] = function


def registered() -> dict[str, Function]:
    """All registered functions by name, in the order of their registration."""
    return dict(_functions)


def find_function(name: str) -> Function:
    """Registered function called `name`.

    Raises
    ------
    TilewrightError : there is none.
    """
    if name not in _functions:
        hint = nearest(name, _functions).rstrip("?") if _functions else "none is"
        raise TilewrightError(
            f"Activation {name!r} is not registered; {hint}; import the file that registers it with "
            "tilewright.activation, or name that file with --activations"
        )
    return _functions[name]


def for_operator(onnx: str) -> Function | None:
    """Registered function that an ONNX operator is imported as."""
    return next((f for f in _functions.values() if f.onnx == onnx), None)
