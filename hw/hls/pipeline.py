"""A scheduled datapath as Amaranth hardware."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amaranth import Const, Module, Mux, Shape, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tilewright.hw.hls.lower import lower
from tilewright.hw.hls.nodes import Datapath, Node, Op
from tilewright.hw.hls.schedule import (
    WIRING,
    DelayTable,
    Schedule,
    is_power_test,
    schedule,
)

__all__ = ["Pipeline", "PipelineCore", "combinational", "shape_of"]


def shape_of(node: Node) -> Shape:
    """Narrowest Amaranth shape of a node's values."""
    return Shape(node.width, signed=node.lo < 0)


class PipelineCore(wiring.Component):
    """The datapath with its registers, and nothing else.

    When `enable` is 1, everything moves on by one stage; the result of what stands at the inputs
    appears at `o` after `latency` such cycles. Data registers are not reset.

    Parameters
    ----------
    plan : the scheduled datapath

    Members
    -------
    enable : ``In(1)``
    i : ``In(struct with a field for each input)``; constant ones are held while data is inside
    o : ``Out(shape of the result)``

    Attributes
    ----------
    latency : cycles
    """

    enable: Any
    i: Any
    o: Any

    def __init__(self, plan: Schedule) -> None:
        self._plan = plan
        self.latency = plan.latency
        nodes = plan.datapath.nodes
        inputs = {name: shape_of(nodes[index]) for name, index in plan.datapath.inputs.items()}
        super().__init__(
            {
                "enable": In(1),
                "i": In(data.StructLayout(inputs)),
                "o": Out(shape_of(nodes[plan.datapath.output])),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        values = {name: self.i[name] for name in self._plan.datapath.inputs}
        result = _Placement(m, self._plan, values, self.enable).result()
        m.d.comb += self.o.eq(result)
        return m


class Pipeline(wiring.Component):
    """A traced function as a stream component: one result per beat, one beat per cycle.

    When the result is not taken, the whole pipeline stands still, so that `i.ready` depends
    combinationally on `o.ready`.

    Parameters
    ----------
    datapath : traced
    period_ns : clock period
    delays : of the FPGA

    Members
    -------
    i : ``In(stream of a struct with a field for each input that is not constant)``
    o : ``Out(stream of the result)``
    held : ``In(struct with a field for each constant input)``; constant while data is inside

    Attributes
    ----------
    latency : cycles from a beat at `i` to its result at `o`
    """

    i: Any
    held: Any
    o: Any

    def __init__(
        self, datapath: Datapath, *, period_ns: float = 10.0, delays: DelayTable | None = None
    ) -> None:
        self._plan = schedule(datapath, period_ns=period_ns, delays=delays)
        self.latency = self._plan.latency
        nodes = {name: datapath.nodes[index] for name, index in datapath.inputs.items()}
        result = shape_of(self._plan.datapath.nodes[self._plan.datapath.output])
        held = {name: shape_of(node) for name, node in nodes.items() if node.constant}
        moving = {name: shape_of(node) for name, node in nodes.items() if not node.constant}
        super().__init__(
            {
                "i": In(stream.Signature(data.StructLayout(moving))),
                "held": In(data.StructLayout(held)),
                "o": Out(stream.Signature(result)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.core = core = PipelineCore(self._plan)
        valid = Signal(self.latency)
        m.d.comb += [
            core.enable.eq(self.o.ready | ~self.o.valid),
            self.i.ready.eq(core.enable),
            self.o.valid.eq(valid[-1]),
            self.o.p.eq(core.o),
        ]
        for view in (self.held, self.i.p):
            for name in view.shape().members:
                m.d.comb += core.i[name].eq(view[name])
        with m.If(core.enable):
            m.d.sync += valid.eq((valid << 1) | self.i.valid)
        return m


def combinational(m: Module, datapath: Datapath, values: Mapping[str, Any]) -> Value:
    """Result of a datapath without any register, for loops that close within a cycle."""
    lowered = lower(datapath)
    unstaged = Schedule(lowered, (0,) * len(lowered.nodes), 0)
    return _Placement(m, unstaged, values, Const(0, 1)).result()


class _Placement:
    """Puts the nodes of a schedule into a module, and delays their values where needed."""

    def __init__(self, m: Module, plan: Schedule, values: Mapping[str, Any], enable: Value) -> None:
        self._m = m
        self._plan = plan
        self._values = values
        self._enable = enable
        self._placed: dict[tuple[int, int], Value] = {}

    def result(self) -> Value:
        """The output behind its last register."""
        return self._at(self._plan.datapath.output, self._plan.latency)

    def _at(self, index: int, stage: int) -> Value:
        """Value of a node as seen in a stage not before its own."""
        node = self._plan.datapath.nodes[index]
        if node.constant:
            stage = self._plan.stages[index]
        key = (index, stage)
        if key not in self._placed:
            self._placed[key] = self._place(index, node, stage)
        return self._placed[key]

    def _place(self, index: int, node: Node, stage: int) -> Value:
        if node.op is Op.CONST:
            return Const(node.value, shape_of(node))
        own = self._plan.stages[index]
        if node.op in WIRING or stage == own:
            # Wires are drawn where they are used: only their argument needs registers.
            if node.op is Op.INPUT:
                return Value.cast(self._values[node.name])
            args = [self._at(arg, stage) for arg in node.args]
            nodes = [self._plan.datapath.nodes[arg] for arg in node.args]
            signal = Signal(shape_of(node), name=f"s{stage}_{node.op.value}{index}")
            self._m.d.comb += signal.eq(_expression(node, nodes, args))
            return signal
        earlier = self._at(index, stage - 1)
        register = Signal(shape_of(node), name=f"r{stage}_{node.op.value}{index}", reset_less=True)
        with self._m.If(self._enable):
            self._m.d.sync += register.eq(earlier)
        return register


def _expression(node: Node, nodes: list[Node], args: list[Value]) -> Value:
    """Hardware of one operation; it is exact, or truncated to where the result is known to be."""
    match node.op:
        case Op.ADD:
            return args[0] + args[1]
        case Op.SUB:
            return args[0] - args[1]
        case Op.MUL:
            return args[0] * args[1]
        case Op.SHL:
            return args[0].shift_left(node.value)
        case Op.SHR:
            return args[0].shift_right(node.value)
        case Op.LT if is_power_test(nodes[1]):
            return _below_power(args[0], nodes[1].value)
        case Op.LT:
            return args[0] < args[1]
        case Op.EQ:
            return args[0] == args[1]
        case Op.NOT:
            return ~args[0]
        case Op.SELECT:
            return Mux(*args)
        case Op.BIT:
            return args[0][node.value]
        case Op.WRAP:
            return args[0][: node.value].as_signed()
        case Op.LOW:
            return args[0][: node.value]
        case Op.FITS:
            upper = args[0][node.value - 1 :]
            return ~upper.any() | (upper.all() if args[0].shape().signed else 0)
    raise AssertionError(f"{node.op} is not lowered")


def _below_power(value: Value, limit: int) -> Value:
    """Whether value < limit, for a limit of 0 or ±2**n, from the bits at and above n only."""
    signed = value.shape().signed
    if limit <= 0:
        inside = value[limit.bit_length() - 1 if limit else len(value) - 1 :]
        return value[-1] & (~inside.all() if limit else 1) if signed else Const(0)
    over = value[limit.bit_length() - 1 :].any()
    return (value[-1] | ~over) if signed else ~over
