"""Symbolic fixed-point values: calling a plain function with them records its datapath."""

from __future__ import annotations

import functools
import inspect
import operator
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from amaranth import Shape

from tilewright.errors import TilewrightError
from tilewright.hw.hls.builder import MAX_BITS, Builder
from tilewright.hw.hls.nodes import Datapath, Interval, Op
from tilewright.quant import numerics

__all__ = ["Fx", "Input", "trace"]


class Input(NamedTuple):
    """An input with values in lo..hi; `constant`: held while data is in the pipeline."""

    lo: int
    hi: int
    constant: bool = False

    @classmethod
    def of(cls, shape: Any, *, constant: bool = False) -> Input:
        """Input with all values of an Amaranth shape, or of a range."""
        if isinstance(shape, range):
            return cls(min(shape), max(shape), constant)
        shape = Shape.cast(shape)
        if shape.signed:
            return cls(-(1 << (shape.width - 1)), (1 << (shape.width - 1)) - 1, constant)
        return cls(0, (1 << shape.width) - 1, constant)


def trace(function: Callable[..., Any], inputs: Mapping[str, Any], /, **static: Any) -> Datapath:
    """Record what a function computes from symbolic integers.

    Parameters
    ----------
    function : called with each input, and everything of `static`, by keyword; returns one value
    inputs : for each, an `Input`, a pair (lo, hi), a range or an Amaranth shape
    static : values known when the hardware is made (numbers, or anything the function wants)

    Raises
    ------
    TilewrightError
        If the function does what hardware of fixed shape cannot (branch on a value, divide by one,
        use floats, shift by an amount that may be negative), naming the line and the operation.
    """
    builder = Builder()
    symbols = {}
    for name, given in inputs.items():
        bounds = Input(*given) if isinstance(given, tuple) else Input.of(given)
        if not bounds.lo <= bounds.hi:
            raise TilewrightError(
                f"Traced function: input {name!r} has the empty range {bounds.lo}..{bounds.hi}"
            )
        symbols[name] = Fx(builder, builder.input(name, *bounds[:2], constant=bounds.constant))
    try:
        result = function(**symbols, **static)
    except (TilewrightError, TypeError, AttributeError) as error:
        raise TilewrightError(f"Traced function: {_located(error)}") from error
    if not isinstance(result, Fx):
        try:
            result = Fx(builder, builder.const(operator.index(result)))
        except TypeError:
            raise TilewrightError(
                f"Traced function: {_defined(function)} returns {result!r}, not an integer; every way "
                "through it must end with one"
            ) from None
    return builder.datapath(result.index)


def _defined(function: Callable[..., Any]) -> str:
    """Where a function begins, and its name."""
    inner = inspect.unwrap(function)
    inner = getattr(inner, "func", inner)  # of functools.partial
    code = getattr(inner, "__code__", None)
    return (
        f"{code.co_filename}:{code.co_firstlineno}, `{code.co_name}`," if code else repr(function)
    )


def _located(error: Exception) -> str:
    """Reason behind the file, line and text of the innermost statement that is not ours."""
    reason = str(error)
    if not isinstance(error, TilewrightError):
        reason = (
            f"{reason} (only the arithmetic of docs/hls.md is known for values of the hardware)"
        )
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename not in _OWN and not frame.filename.startswith(_NUMPY)
    ]
    return (
        f"{frames[-1].filename}:{frames[-1].lineno}, `{frames[-1].line}`: {reason}"
        if frames
        else reason
    )


_OWN = {
    __file__,
    str(Path(__file__).with_name("builder.py")),
    numerics.__file__,
    functools.__file__,
}
_NUMPY = str(Path(np.__file__).parent)
"""Files, and a folder, whose lines say nothing about what the user wrote."""


def _integer(value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TilewrightError(
            f"{value!r} is used as a value; only integers and the function's "
            f"inputs are allowed, so scale constants to integers"
        ) from None


class Fx:
    """An integer that the hardware will compute; Python's arithmetic on it records operations.

    Supported: + - * << >> (towards minus infinity), // and % by constants, comparisons, unary - and
    abs(), & | between conditions, and `tilewright.quant.numerics.where` instead of branches, `lookup`
    instead of indexing. The range of every result is known, so nothing can overflow.
    """

    __slots__ = ("builder", "index")
    __array_ufunc__ = None  # NumPy leaves mixed operations to this class
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, builder: Builder, index: int) -> None:
        self.builder = builder
        self.index = index

    @property
    def interval(self) -> Interval:
        """Least and greatest possible value."""
        return self.builder.nodes[self.index].interval

    def __repr__(self) -> str:
        return f"Fx({self.interval[0]}..{self.interval[1]})"

    def _lift(self, value: Any) -> int:
        """Node of an operand."""
        if isinstance(value, Fx):
            assert value.builder is self.builder, "a value of another trace"
            return value.index
        return self.builder.const(_integer(value))

    def _make(self, op: Op, *operands: Any) -> Fx:
        args = [self._lift(operand) for operand in operands]
        return Fx(self.builder, self.builder.make(op, *args))

    def __add__(self, other: Any) -> Fx:
        return self._make(Op.ADD, self, other)

    def __sub__(self, other: Any) -> Fx:
        return self._make(Op.SUB, self, other)

    def __mul__(self, other: Any) -> Fx:
        return self._make(Op.MUL, self, other)

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other: Any) -> Fx:
        return self._make(Op.SUB, other, self)

    def __neg__(self) -> Fx:
        return self._make(Op.SUB, 0, self)

    def __abs__(self) -> Fx:
        most = max(abs(bound) for bound in self.interval)
        args = (self.index, (-self).index)
        return Fx(self.builder, self.builder.make(Op.MAX, *args, within=(0, most)))

    def _shift(self, op: Op, value: Any, distance: Any) -> Fx:
        lo, hi = self.builder.nodes[self._lift(distance)].interval
        if lo < 0:
            raise TilewrightError(
                f"a shift distance can be {lo}, but must not be negative; add a "
                f"bias to it, as tilewright.quant.numerics.requantize does"
            )
        if op is Op.VSHL and hi > MAX_BITS:
            raise TilewrightError(
                f"a shift to the left by up to {hi} bits is more than {MAX_BITS}; "
                f"declare a narrower distance or limit it with minimum"
            )
        return self._make(op, value, distance)

    def __lshift__(self, other: Any) -> Fx:
        return self._shift(Op.VSHL, self, other)

    def __rlshift__(self, other: Any) -> Fx:
        return self._shift(Op.VSHL, other, self)

    def __rshift__(self, other: Any) -> Fx:
        return self._shift(Op.VSHR, self, other)

    def __rrshift__(self, other: Any) -> Fx:
        return self._shift(Op.VSHR, other, self)

    def __lt__(self, other: Any) -> Fx:
        return self._make(Op.LT, self, other)

    def __gt__(self, other: Any) -> Fx:
        return self._make(Op.LT, other, self)

    def __le__(self, other: Any) -> Fx:
        return self._make(Op.NOT, self > other)

    def __ge__(self, other: Any) -> Fx:
        return self._make(Op.NOT, self < other)

    def __eq__(self, other: object) -> Fx:  # type: ignore[override]
        return self._make(Op.EQ, self, other)

    def __ne__(self, other: object) -> Fx:  # type: ignore[override]
        return self._make(Op.NOT, self == other)

    def _condition(self, value: Any) -> int:
        """Node of an operand of & and |, which must be 0 or 1."""
        index = self._lift(value)
        lo, hi = self.builder.nodes[index].interval
        if lo < 0 or hi > 1:
            raise TilewrightError(f"& and | join conditions (0 or 1), not a value in {lo}..{hi}")
        return index

    def __and__(self, other: Any) -> Fx:
        a, b = self._condition(self), self._condition(other)
        return Fx(self.builder, self.builder.make(Op.SELECT, a, b, self.builder.const(0)))

    def __or__(self, other: Any) -> Fx:
        a, b = self._condition(self), self._condition(other)
        return Fx(self.builder, self.builder.make(Op.SELECT, a, self.builder.const(1), b))

    __rand__ = __and__
    __ror__ = __or__

    def __fx_where__(self, condition: Any, then: Any, otherwise: Any) -> Fx:
        """`then` where `condition` is not 0, else `otherwise`; called by numerics.where."""
        make, nodes = self.builder.make, self.builder.nodes
        choice, yes, no = (self._lift(value) for value in (condition, then, otherwise))
        if not 0 <= nodes[choice].lo <= nodes[choice].hi <= 1:
            choice = make(Op.NOT, make(Op.EQ, choice, self.builder.const(0)))
        if nodes[choice].op is Op.NOT:
            choice, yes, no = nodes[choice].args[0], no, yes
        if nodes[choice].op is Op.LT and {yes, no} == set(nodes[choice].args):
            smaller = yes == nodes[choice].args[0]
            return Fx(self.builder, make(Op.MIN if smaller else Op.MAX, yes, no))
        return Fx(self.builder, make(Op.SELECT, choice, yes, no))

    def __bool__(self) -> bool:
        raise TilewrightError(
            "a Python branch (if, and, or, not, min, max, while) depends on a "
            "value that only the hardware knows; use tilewright.quant.numerics.where, minimum or "
            "maximum, and & | between conditions"
        )

    def __fx_lookup__(self, table: Sequence[Any]) -> Fx:
        """Entry of a table of constants, selected bit by bit; called by numerics.lookup."""
        make, (lo, hi) = self.builder.make, self.interval
        if lo < 0 or hi >= len(table):
            raise TilewrightError(
                f"an index can be {lo}..{hi}, but the table has entries 0..{len(table) - 1}; limit "
                f"the index with clip, or give the table more entries"
            )
        level = [self.builder.const(_integer(entry)) for entry in table[: hi + 1]]
        for bit in range(hi.bit_length()):
            odd = make(Op.BIT, self.index, value=bit)
            pairs = zip(level[::2], [*level[1::2], level[-1]], strict=False)
            level = [make(Op.SELECT, odd, second, first) for first, second in pairs]
        return Fx(self.builder, level[0])

    def __floordiv__(self, other: Any) -> Any:
        """Quotient by a constant, exactly: a multiplication by its reciprocal and a shift.

        Granlund and Montgomery, "Division by Invariant Integers using Multiplication" (PLDI 1994),
        theorem 4.2, on a dividend to which a multiple of the divisor is added if it can be negative.
        """
        if isinstance(other, Fx):
            return self._refuse("division by a value", "multiply by a reciprocal from a table")
        divisor, (lo, hi) = _integer(other), self.interval
        if divisor <= 0:
            return self._refuse(f"division by {divisor}", "divide by a positive constant")
        raised = max(0, -(lo // divisor))
        bits = (hi + raised * divisor).bit_length() + (divisor - 1).bit_length()
        reciprocal = -(-(1 << bits) // divisor)
        return ((self + raised * divisor) * reciprocal >> bits) - raised

    def __mod__(self, other: Any) -> Any:
        return self - (self // other) * other

    def _refuse(self, operation: str, instead: str) -> Any:
        raise TilewrightError(f"{operation} has no hardware here; {instead}")

    def __truediv__(self, other: Any) -> Any:
        return self._refuse("division into a float", "write // and scale to integers")

    __rtruediv__ = __truediv__

    def __rfloordiv__(self, other: Any) -> Any:
        return self._refuse("division by a value", "multiply by a reciprocal from a table")

    __rmod__ = __rfloordiv__

    def __pow__(self, other: Any) -> Any:
        return self._refuse("the power **", "write out the multiplications")

    def __float__(self) -> Any:
        return self._refuse("conversion to float", "scale to integers")

    def __index__(self) -> Any:
        return self._refuse(
            "an index or a loop's bound that only the hardware knows",
            "look tables up with tilewright.quant.numerics.lookup, and loop a constant number of "
            "times",
        )

    __int__ = __index__
