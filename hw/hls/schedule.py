"""Where the registers of a pipeline go: a delay for every operation, and a budget per stage."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tilewright.hw.hls.lower import lower
from tilewright.hw.hls.nodes import Datapath, Node, Op

__all__ = ["WIRING", "DelayTable", "Schedule", "is_power_test", "schedule"]

WIRING = frozenset({Op.SHL, Op.SHR, Op.WRAP, Op.LOW, Op.BIT, Op.NOT})
"""Operations without logic of their own (an inversion merges into what uses it)."""


@dataclass(frozen=True, slots=True)
class DelayTable:
    """Delays in nanoseconds, routing included; the default is for a Lattice ECP5 of grade 6.

    The default is what lanes of the post-processing took after routing (benchmarks/activation_cost.py):
    half of it and more is wire.

    Attributes
    ----------
    lut : a 4-input look-up table and the wire to it
    carry : entering and leaving a carry chain
    carry_bit : each bit that a carry travels
    register : clock to output, setup and clock skew together, taken off every stage
    """

    lut: float = 1.65
    carry: float = 2.805
    carry_bit: float = 0.066
    register: float = 1.0

    def of(self, node: Node, args: list[Node]) -> float:
        """Delay of one operation. A multiplication has a stage of its own whatever it takes."""
        width = max((arg.width for arg in args), default=0)
        match node.op:
            case Op.INPUT | Op.CONST:
                return 0.0
            case op if op in WIRING:
                return 0.0
            case Op.SELECT:
                return self.lut
            case Op.FITS:
                return self.tree(width - node.value + 1)
            case Op.EQ:
                return self.tree(width * (1 if Op.CONST in {arg.op for arg in args} else 2))
            case Op.LT if is_power_test(args[1]):
                return self.tree(width - abs(args[1].value).bit_length() + 1)
            case Op.ADD | Op.SUB | Op.LT:
                return self.carry + self.carry_bit * max(width, node.width)
            case Op.MUL:
                return math.inf
        raise AssertionError(f"{node.op} is not lowered")

    def tree(self, inputs: int) -> float:
        """Delay of a function that look-up tables can reduce, four inputs at a time."""
        return self.lut * math.ceil(math.log(max(inputs, 2), 4))


def is_power_test(limit: Node) -> bool:
    """Whether comparing below this only looks at the upper bits: the constants 0 and ±2**n."""
    return limit.op is Op.CONST and abs(limit.value).bit_count() <= 1


@dataclass(frozen=True, slots=True)
class Schedule:
    """A datapath cut into stages.

    Attributes
    ----------
    datapath : lowered
    stages : of each node, the stage in which it is computed, counted from 0
    latency : registers between input and output
    """

    datapath: Datapath
    stages: tuple[int, ...]
    latency: int


def schedule(
    datapath: Datapath, *, period_ns: float = 10.0, delays: DelayTable | None = None
) -> Schedule:
    """Lower a traced datapath and assign each operation the earliest stage in which it fits.

    An operation slower than the period gets a stage for itself; a multiplication always does,
    with registers at its operands and at its result, as FPGA multiplier blocks want. The result
    is registered. What depends only on constant inputs is computed beside the pipeline: its delay
    counts, but it is in no stage.

    Raises
    ------
    ValueError
        If the period leaves nothing after the registers' own delay.
    """
    delays = delays or DelayTable()
    datapath = lower(datapath)
    budget = period_ns - delays.register
    if not budget > 0:
        raise ValueError(
            f"period_ns must be more than the registers' {delays.register} ns, not {period_ns}"
        )
    stages: list[int] = []
    times: list[float] = []
    for node in datapath.nodes:
        args = [datapath.nodes[arg] for arg in node.args]
        delay = delays.of(node, args)
        stage = max((stages[arg] for arg in node.args), default=0)
        # Data from earlier stages comes out of registers; what is held comes from beside.
        held = max((times[arg] for arg in node.args if datapath.nodes[arg].constant), default=0.0)
        moving = [arg for arg in node.args if not datapath.nodes[arg].constant]
        ready = max((times[arg] for arg in moving if stages[arg] == stage), default=0.0)
        start = max(held, ready)
        if node.constant:
            delay = 0.0 if delay == math.inf else delay
        elif node.op is Op.MUL:
            stage, start = stage + 1, 0.0
        elif delay > 0 and ready > 0 and start + delay > budget:
            stage, start = stage + 1, held
        stages.append(stage)
        times.append(start + delay)
    return Schedule(datapath, tuple(stages), stages[datapath.output] + 1)
