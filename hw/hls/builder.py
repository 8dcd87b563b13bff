"""Building a datapath: ranges, constant folding, identities and common subexpressions."""

from __future__ import annotations

from tilewright.errors import TilewrightError
from tilewright.hw.hls.nodes import Datapath, Interval, Node, Op, apply, signed_bits

__all__ = ["MAX_BITS", "Builder"]

MAX_BITS = 256
"""Widest value a datapath may contain; more is taken for a mistake in the function."""

_COMMUTATIVE = {Op.ADD, Op.MUL, Op.EQ, Op.MIN, Op.MAX}
_BOOLEAN = {Op.LT, Op.EQ, Op.NOT, Op.BIT, Op.FITS}


class Builder:
    """Nodes of a datapath under construction; every method returns the index of a node.

    A node whose range is a single number becomes a constant; equal nodes are one node.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.inputs: dict[str, int] = {}
        self._known: dict[tuple[Op, tuple[int, ...], int], int] = {}

    def input(self, name: str, lo: int, hi: int, *, constant: bool) -> int:
        """Declare an input with values in lo..hi."""
        self.nodes.append(Node(Op.INPUT, (), lo, hi, name=name, constant=constant))
        self.inputs[name] = len(self.nodes) - 1
        return self.inputs[name]

    def const(self, value: int) -> int:
        """Node of an integer constant."""
        return self._intern(Node(Op.CONST, (), value, value, value, constant=True))

    def datapath(self, output: int) -> Datapath:
        """Graph of what `output` depends on, and of all inputs."""
        needed = {output, *self.inputs.values()}
        for index in range(len(self.nodes) - 1, -1, -1):
            if index in needed:
                needed.update(self.nodes[index].args)
        order = {old: new for new, old in enumerate(sorted(needed))}
        nodes = []
        for old in order:
            node = self.nodes[old]
            args = tuple(order[arg] for arg in node.args)
            nodes.append(
                Node(node.op, args, node.lo, node.hi, node.value, node.name, node.constant)
            )
        return Datapath(
            tuple(nodes), {name: order[old] for name, old in self.inputs.items()}, order[output]
        )

    def make(self, op: Op, *args: int, value: int = 0, within: Interval | None = None) -> int:
        """Node of an operation, simplified.

        `within` are bounds of the result that the caller knows and range analysis does not see.
        """
        if op in _COMMUTATIVE:
            args = tuple(sorted(args))
        simple = self._simplify(op, args, value)
        if simple is not None:
            return simple
        lo, hi = self._interval(op, args, value)
        if within is not None:
            lo, hi = max(lo, within[0]), min(hi, within[1])
        if lo == hi:
            return self.const(lo)
        if signed_bits(lo, hi) > MAX_BITS:
            raise TilewrightError(
                f"a {op.value} has a result of {signed_bits(lo, hi)} bits, more than "
                f"{MAX_BITS}; declare narrower inputs or saturate before it"
            )
        constant = all(self.nodes[arg].constant for arg in args)
        return self._intern(Node(op, args, lo, hi, value, constant=constant))

    def _intern(self, node: Node) -> int:
        key = (node.op, node.args, node.value)
        if key not in self._known:
            self._known[key] = len(self.nodes)
            self.nodes.append(node)
        return self._known[key]

    def _fixed(self, index: int) -> int | None:
        """Value of a constant node, else None."""
        node = self.nodes[index]
        return node.value if node.op is Op.CONST else None

    def _simplify(self, op: Op, args: tuple[int, ...], value: int) -> int | None:
        """A node that is the same, if there is a simpler one."""
        fixed = [self._fixed(arg) for arg in args]
        if args and None not in fixed:
            return self.const(apply(op, [number or 0 for number in fixed], value))
        match op:
            case Op.ADD | Op.SUB | Op.MUL:
                return self._simplify_arithmetic(op, args, fixed)
            case Op.SHL | Op.SHR:
                return self._simplify_shift(op, args[0], value)
            case Op.VSHL | Op.VSHR if fixed[1] is not None:
                return self.make(Op.SHL if op is Op.VSHL else Op.SHR, args[0], value=fixed[1])
            case Op.NOT if self.nodes[args[0]].op is Op.NOT:
                return self.nodes[args[0]].args[0]
            case Op.SELECT:
                return self._simplify_select(*args)
            case Op.MIN | Op.MAX:
                a, b = (self.nodes[arg] for arg in args)
                if a.hi <= b.lo or args[0] == args[1]:
                    return args[0] if op is Op.MIN else args[1]
                if b.hi <= a.lo:
                    return args[1] if op is Op.MIN else args[0]
            case Op.WRAP if signed_bits(*self.nodes[args[0]].interval) <= value:
                return args[0]
            case Op.LOW if 0 <= self.nodes[args[0]].lo and self.nodes[args[0]].width <= value:
                return args[0]
        return None

    def _simplify_arithmetic(
        self, op: Op, args: tuple[int, ...], fixed: list[int | None]
    ) -> int | None:
        for one, other in ((args[1], fixed[0]), (args[0], fixed[1])):
            if other is None:
                continue
            if op is Op.MUL and other > 0 and other.bit_count() == 1:
                return self.make(Op.SHL, one, value=other.bit_length() - 1)
            if other == 0 and (op is Op.ADD or (op is Op.SUB and one == args[0])):
                return one
        return None

    def _simplify_shift(self, op: Op, arg: int, distance: int) -> int | None:
        if distance == 0:
            return arg
        inner = self.nodes[arg]
        if inner.op is op:
            return self.make(op, inner.args[0], value=inner.value + distance)
        if op is Op.SHR and inner.op is Op.SHL:
            left = inner.value - distance
            return self.make(Op.SHL if left > 0 else Op.SHR, inner.args[0], value=abs(left))
        return None

    def _simplify_select(self, condition: int, then: int, otherwise: int) -> int | None:
        chosen = self._fixed(condition)
        if chosen is not None:
            return then if chosen else otherwise
        if then == otherwise:
            return then
        node = self.nodes[condition]
        if node.op is Op.NOT:
            return self.make(Op.SELECT, node.args[0], otherwise, then)
        if (self._fixed(then), self._fixed(otherwise)) == (1, 0):
            return condition
        if (self._fixed(then), self._fixed(otherwise)) == (0, 1):
            return self.make(Op.NOT, condition)
        return None

    def _interval(self, op: Op, args: tuple[int, ...], value: int) -> Interval:
        """Bounds of an operation's result."""
        ranges = [self.nodes[arg].interval for arg in args]
        if op in (Op.LT, Op.EQ):
            return self._comparison(op, args)
        if op in _BOOLEAN:
            fits = op is Op.FITS and signed_bits(*ranges[0]) <= value
            zero = op is Op.BIT and ranges[0][1] >> value == 0
            return int(fits), int(not zero)
        if op is Op.SELECT:
            return self._selection(*args)
        if op is Op.WRAP:
            return -(1 << (value - 1)), (1 << (value - 1)) - 1
        if op is Op.LOW:
            return 0, (1 << value) - 1
        if op is Op.SUB and args[0] == args[1]:
            return 0, 0
        if op is Op.MUL and args[0] == args[1]:
            squares = [bound * bound for bound in ranges[0]]
            return (0 if ranges[0][0] < 0 < ranges[0][1] else min(squares)), max(squares)
        # The rest is monotone in each argument, so the extremes are among the corners.
        corners = [()] if not ranges else [(bound,) for bound in ranges[0]]
        for bounds in ranges[1:]:
            corners = [(*corner, bound) for corner in corners for bound in bounds]
        results = [apply(op, corner, value) for corner in corners]
        return min(results), max(results)

    def _comparison(self, op: Op, args: tuple[int, ...]) -> Interval:
        a, b = (self.nodes[arg] for arg in args)
        apart = a.hi < b.lo or b.hi < a.lo
        if op is Op.EQ:
            return (1, 1) if args[0] == args[1] else (0, int(not apart))
        return int(a.hi < b.lo), int(a.lo < b.hi and args[0] != args[1])

    def _selection(self, condition: int, then: int, otherwise: int) -> Interval:
        """Hull of both branches, each under what the condition says about it."""
        then_lo, then_hi = self.nodes[then].interval
        else_lo, else_hi = self.nodes[otherwise].interval
        if self.nodes[condition].op is Op.LT:
            a, b = self.nodes[condition].args
            low, high = self.nodes[a], self.nodes[b]
            if then == a:
                then_hi = min(then_hi, high.hi - 1)
            if then == b:
                then_lo = max(then_lo, low.lo + 1)
            if otherwise == a:
                else_lo = max(else_lo, high.lo)
            if otherwise == b:
                else_hi = min(else_hi, low.hi)
        return min(then_lo, else_lo), max(then_hi, else_hi)
