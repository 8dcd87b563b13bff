"""The datapath as a graph of integer operations, and its meaning on Python integers."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Datapath", "Interval", "Node", "Op", "apply", "signed_bits"]

Interval = tuple[int, int]


class Op(enum.Enum):
    """Operation of a node. Comparisons and conditions are 0 or 1."""

    INPUT = "input"
    CONST = "const"
    ADD = "add"
    SUB = "sub"
    MUL = "mul"
    SHL = "shl"
    """Left by the constant `value`: wiring."""
    SHR = "shr"
    """Right by the constant `value`, towards minus infinity: wiring."""
    VSHL = "vshl"
    """Left by a variable; lowered to selections."""
    VSHR = "vshr"
    """Right by a variable, towards minus infinity; lowered to selections."""
    LT = "lt"
    EQ = "eq"
    NOT = "not"
    SELECT = "select"
    """Second argument where the first is 1, else the third."""
    MIN = "min"
    MAX = "max"
    BIT = "bit"
    """Bit `value` of an argument that is not negative."""
    WRAP = "wrap"
    """The lowest `value` bits, read as two's complement."""
    LOW = "low"
    """The lowest `value` bits, read as a number that is not negative."""
    FITS = "fits"
    """Whether the argument is representable in `value` bits, two's complement."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operation.

    Attributes
    ----------
    op : the operation
    args : indices of earlier nodes
    lo, hi : bounds of the result, both inclusive
    value : the constant, shift distance or number of bits, as `op` says
    name : of an input
    constant : depends on nothing but constants and inputs that are held constant
    """

    op: Op
    args: tuple[int, ...]
    lo: int
    hi: int
    value: int = 0
    name: str = ""
    constant: bool = False

    @property
    def interval(self) -> Interval:
        """Bounds (lo, hi)."""
        return self.lo, self.hi

    @property
    def width(self) -> int:
        """Bits of the result: two's complement if it can be negative, else unsigned."""
        return signed_bits(self.lo, self.hi) - (self.lo >= 0)


def signed_bits(lo: int, hi: int) -> int:
    """Bits of the two's complement that holds lo..hi."""
    return max((value if value >= 0 else ~value).bit_length() for value in (lo, hi)) + 1


def apply(op: Op, args: Sequence[int], value: int) -> int:
    """Result of one operation other than INPUT on Python integers."""
    a, b, c = (*args, 0, 0, 0)[:3]
    match op:
        case Op.CONST:
            return value
        case Op.ADD:
            return a + b
        case Op.SUB:
            return a - b
        case Op.MUL:
            return a * b
        case Op.SHL:
            return a << value
        case Op.SHR:
            return a >> value
        case Op.VSHL:
            return a << b
        case Op.VSHR:
            return a >> b
        case Op.LT:
            return int(a < b)
        case Op.EQ:
            return int(a == b)
        case Op.NOT:
            return 1 - a
        case Op.SELECT:
            return b if a else c
        case Op.MIN:
            return min(a, b)
        case Op.MAX:
            return max(a, b)
        case Op.BIT:
            return (a >> value) & 1
        case Op.WRAP:
            half = 1 << (value - 1)
            return ((a + half) & (2 * half - 1)) - half
        case Op.LOW:
            return a & ((1 << value) - 1)
        case Op.FITS:
            return int(signed_bits(a, a) <= value)
    raise AssertionError(op)


@dataclass(frozen=True, slots=True)
class Datapath:
    """A function as a graph: nodes in an order in which arguments come first.

    Attributes
    ----------
    nodes : the operations
    inputs : node index of each input, in the order of their declaration
    output : node index of the result
    """

    nodes: tuple[Node, ...]
    inputs: Mapping[str, int]
    output: int

    def evaluate(self, **values: int) -> int:
        """Result for these values of the inputs.

        Raises
        ------
        ValueError
            If an input is missing, unknown or outside its declared bounds.
        """
        if values.keys() != self.inputs.keys():
            raise ValueError(f"Inputs must be {sorted(self.inputs)}, not {sorted(values)}")
        results: list[int] = []
        for node in self.nodes:
            if node.op is Op.INPUT:
                result = int(values[node.name])
                if not node.lo <= result <= node.hi:
                    raise ValueError(
                        f"Input {node.name!r} must be in {node.lo}..{node.hi}, not {result}"
                    )
            else:
                result = apply(node.op, [results[index] for index in node.args], node.value)
            assert node.lo <= result <= node.hi, (node, result)
            results.append(result)
        return results[self.output]
