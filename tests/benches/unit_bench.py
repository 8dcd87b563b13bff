"""The cocotb side of unit benches: plays a scenario on the Verilog of its component.

The bench parameters name its module, function and seed. Reading an unknown value fails.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import cocotb
from amaranth.hdl import Shape, ShapeCastable, Value
from amaranth.hdl._ast import Operator, Slice
from amaranth.lib.wiring import In
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer
from streams import Scenario, play

from tilewright.sim.unit import bench_parameters


class VerilogContext:
    """`set` and `get` of Amaranth's simulator, on ports of the same name in the Verilog."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut

    def set(self, port: Any, value: Any) -> None:
        """Set an input to an integer, or to what its layout makes of `value`."""
        target = Value.cast(port)
        shape = port.shape()
        if isinstance(shape, ShapeCastable) and not isinstance(value, int):
            value = shape.const(value)
        raw = int(Value.cast(value).value) if not isinstance(value, int) else value
        if len(target):
            self._handle(target).value = raw & ((1 << len(target)) - 1)

    def get(self, port: Any) -> Any:
        """Value of a port or of a part of it, as its shape has it; raises ValueError if unknown."""
        target = Value.cast(port)
        raw = int(self._bits(target), 2) if len(target) else 0
        shape = port.shape()
        if isinstance(shape, ShapeCastable):
            return shape.from_bits(raw)
        if Shape.cast(shape).signed and raw >> (len(target) - 1):
            raw -= 1 << len(target)
        return raw

    def _bits(self, value: Any) -> str:
        """Bits of a signal or of a part of it, the highest first."""
        if isinstance(value, Operator):  # a change between signed and unsigned
            assert value.operator in ("s", "u")
            return self._bits(value.operands[0])
        if isinstance(value, Slice):
            whole = self._bits(value.value)
            return whole[len(whole) - value.stop : len(whole) - value.start]
        return str(self._handle(value).value)

    def _handle(self, target: Any) -> Any:
        return getattr(self.dut, target.name)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def play_scenario(dut: Any) -> None:
    """Reset the component and play the scenario on it."""
    made = bench_parameters()
    scenario: Scenario = getattr(import_module(made["module"]), made["scenario"])(made["seed"])
    ctx = VerilogContext(dut)
    for _, member, value in scenario.dut.signature.flatten(scenario.dut):
        if member.flow == In:
            ctx.set(value, 0)
    Clock(dut.clk, 10, unit="ns").start()
    dut.rst.value = 1
    for _ in range(3):
        await FallingEdge(dut.clk)
    dut.rst.value = 0
    await play(scenario, ctx, lambda: FallingEdge(dut.clk), lambda: Timer(1, unit="ns"))
