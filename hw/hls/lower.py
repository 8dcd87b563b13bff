"""Turning a traced datapath into operations that hardware has, none wider than it must be.

Barrel shifts become one selection per bit of the distance, minimum and maximum a comparison and a
selection, a product wider than a multiplier block several products and their sum. What a value is used for tells how far it matters: a result that is clipped to 8 bits
later need not be right beyond them, only still out of range. A right shift whose result is clipped
so can drop, before each of its steps, the upper bits that no later step could bring back into
range; a flag remembers that they mattered. The result of the whole is the same for every input.
"""

from __future__ import annotations

from tilewright.hw.hls.builder import Builder
from tilewright.hw.hls.nodes import Datapath, Interval, Node, Op, signed_bits

__all__ = ["BLOCK_BITS", "demands", "lower"]

BLOCK_BITS = 18
"""Bits of a multiplier block's operands, two's complement: of an ECP5, a GW2A and a DSP48's smaller."""


def lower(datapath: Datapath) -> Datapath:
    """Equal datapath without VSHL, VSHR, MIN and MAX, each MUL for one multiplier block."""
    builder = Builder()
    relevant = demands(datapath)
    new: list[int] = []
    for node, bounds in zip(datapath.nodes, relevant, strict=True):
        args = [new[arg] for arg in node.args]
        match node.op:
            case Op.INPUT:
                result = builder.input(node.name, node.lo, node.hi, constant=node.constant)
            case Op.CONST:
                result = builder.const(node.value)
            case Op.VSHL:
                result = _barrel_left(builder, *args)
            case Op.VSHR:
                result = _barrel_right(builder, *args, bits=signed_bits(*bounds))
            case Op.MIN | Op.MAX:
                result = _extreme(builder, node.op, *args)
            case Op.MUL:
                result = _product(builder, *args)
            case _:
                result = builder.make(node.op, *args, value=node.value)
        new.append(result)
    return builder.datapath(new[datapath.output])


def _extreme(builder: Builder, op: Op, a: int, b: int) -> int:
    """Minimum or maximum; against a constant, by the comparison that is cheapest."""
    if builder.nodes[a].op is Op.CONST:
        a, b = b, a
    limit = builder.nodes[b]
    if limit.op is Op.CONST and op is Op.MIN:
        less = builder.make(Op.LT, a, builder.const(limit.value + 1))
    else:
        less = builder.make(Op.LT, a, b)
    simple = builder.make(op, a, b)  # decided by the ranges alone?
    if builder.nodes[simple].op is not op:
        return simple
    within = builder.nodes[simple].interval
    choice = (a, b) if op is Op.MIN else (b, a)
    return builder.make(Op.SELECT, less, *choice, within=within)


def _product(builder: Builder, a: int, b: int) -> int:
    """Product of factors as wide as a multiplier block takes them, and sums of such products.

    Left to synthesis, the blocks of a wide product and the additions behind them have no register
    between them.
    """
    make = builder.make
    whole = make(Op.MUL, a, b)
    if builder.nodes[whole].op is not Op.MUL:
        return whole
    parts = [(one, other) for one in _digits(builder, a) for other in _digits(builder, b)]
    if len(parts) == 1:
        return whole
    within = builder.nodes[whole].interval
    shifted = [
        make(Op.SHL, make(Op.MUL, one, other), value=left + right)
        for (left, one), (right, other) in parts
    ]
    result, *rest = shifted
    for place, term in enumerate(rest, 1):
        known = within if place == len(rest) else None
        result = make(Op.ADD, result, term, within=known)
    return result


def _digits(builder: Builder, value: int) -> list[tuple[int, int]]:
    """A value as a sum of numbers that fit a multiplier block: the place of each, and its node."""
    found, place = [], 0
    while signed_bits(*builder.nodes[value].interval) > BLOCK_BITS:
        found.append((place, builder.make(Op.LOW, value, value=BLOCK_BITS - 1)))
        value = builder.make(Op.SHR, value, value=BLOCK_BITS - 1)
        place += BLOCK_BITS - 1
    return [*found, (place, value)]


def _barrel_left(builder: Builder, value: int, distance: int) -> int:
    make = builder.make
    lo, hi = builder.nodes[value].interval
    most = builder.nodes[distance].hi
    for index in range(most.bit_length()):
        reach = min((2 << index) - 1, most)
        value = make(
            Op.SELECT,
            make(Op.BIT, distance, value=index),
            make(Op.SHL, value, value=1 << index),
            value,
            within=(min(lo, lo << reach), max(hi, hi << reach)),
        )
    return value


def _barrel_right(builder: Builder, value: int, distance: int, *, bits: int) -> int:
    """Right shift, exact where the result fits in `bits` bits, else saturated to them.

    What the largest step and the smaller ones exclude of each other is not selected: the largest
    one comes when only those are left that can go with it.
    """
    make = builder.make
    most = builder.nodes[distance].hi
    top = max(most.bit_length() - 1, 0)
    beside = (most - (1 << top)).bit_length() if most else 0  # steps that can go with the largest
    near, over = _narrowed(builder, value, bits + (1 << top) - 1)
    for index in range(top - 1, beside - 1, -1):
        near, over = _stepped(builder, near, over, distance, index, bits)
    if most:
        far = make(Op.SHR, value, value=1 << top)
        far, far_over = _narrowed(builder, far, bits + (1 << beside) - 1)
        step = make(Op.BIT, distance, value=top)
        near, over = make(Op.SELECT, step, far, near), make(Op.SELECT, step, far_over, over)
    for index in range(beside - 1, -1, -1):
        near, over = _stepped(builder, near, over, distance, index, bits)
    negative = make(Op.LT, value, builder.const(0))
    low, high = builder.const(-(1 << (bits - 1))), builder.const((1 << (bits - 1)) - 1)
    return make(Op.SELECT, over, make(Op.SELECT, negative, low, high), near)


def _narrowed(builder: Builder, value: int, keep: int) -> tuple[int, int]:
    """The lowest `keep` bits of a value, and whether the others mattered."""
    make = builder.make
    return make(Op.WRAP, value, value=keep), make(Op.NOT, make(Op.FITS, value, value=keep))


def _stepped(
    builder: Builder, value: int, over: int, distance: int, index: int, bits: int
) -> tuple[int, int]:
    """A value and its flag behind one step of a right shift, with what later steps can reach."""
    make = builder.make
    keep = bits + (1 << index) - 1
    step = make(Op.BIT, distance, value=index)
    lost = make(Op.SELECT, make(Op.FITS, value, value=keep), over, builder.const(1))
    far = make(Op.WRAP, make(Op.SHR, value, value=1 << index), value=keep)
    near = make(Op.WRAP, value, value=keep)
    return make(Op.SELECT, step, far, near), make(Op.SELECT, step, over, lost)


def demands(datapath: Datapath) -> list[Interval]:
    """Interval to which each node's value may be clipped without changing the output."""
    relevant: list[Interval | None] = [None] * len(datapath.nodes)
    relevant[datapath.output] = datapath.nodes[datapath.output].interval
    for index in range(len(datapath.nodes) - 1, -1, -1):
        node = datapath.nodes[index]
        bounds = relevant[index]
        if bounds is None:  # an input that is not used
            bounds = relevant[index] = node.interval
        bounds = max(bounds[0], node.lo), min(bounds[1], node.hi)
        if bounds[0] > bounds[1]:
            bounds = node.interval
        relevant[index] = bounds
        args = [datapath.nodes[arg] for arg in node.args]
        wanted = _argument_demands(node, bounds, args)
        for arg, (lo, hi) in zip(node.args, wanted, strict=True):
            before = relevant[arg]
            relevant[arg] = (lo, hi) if before is None else (min(lo, before[0]), max(hi, before[1]))
    return [bounds or node.interval for bounds, node in zip(relevant, datapath.nodes, strict=True)]


def _argument_demands(node: Node, bounds: Interval, args: list[Node]) -> list[Interval]:
    """What of its arguments matters if of the node only `bounds` does.

    Each rule holds whatever the other arguments are, so that they can be applied one by one.
    """
    lo, hi = bounds
    whole = [arg.interval for arg in args]
    match node.op, args:
        case Op.SHR, [_]:
            return [(lo << node.value, ((hi + 1) << node.value) - 1)]
        case Op.SHL, [_]:
            return [(lo >> node.value, -(-hi >> node.value))]
        case Op.ADD, [a, b] if a.op is Op.CONST or b.op is Op.CONST:
            return (
                [(lo - b.lo, hi - b.lo), b.interval]
                if b.op is Op.CONST
                else [
                    a.interval,
                    (lo - a.lo, hi - a.lo),
                ]
            )
        case Op.SUB, [_, b] if b.op is Op.CONST:
            return [(lo + b.lo, hi + b.lo), b.interval]
        case Op.SELECT, [condition, _, _]:
            return [condition.interval, bounds, bounds]
        case Op.MIN, [a, b]:
            return [(lo, max(lo, min(hi, b.hi))), (lo, max(lo, min(hi, a.hi)))]
        case Op.MAX, [a, b]:
            return [(min(hi, max(lo, b.lo)), hi), (min(hi, max(lo, a.lo)), hi)]
        case Op.LT, [a, b]:
            return [(b.lo - 1, b.hi), (a.lo, a.hi + 1)]
        case Op.EQ, [a, b]:
            return [(b.lo - 1, b.hi + 1), (a.lo - 1, a.hi + 1)]
        case Op.VSHR, [_, distance]:
            shifts = distance.interval
            least = min(lo << shift for shift in shifts)
            most = max(((hi + 1) << shift) - 1 for shift in shifts)
            return [(least, most), distance.interval]
    return whole
