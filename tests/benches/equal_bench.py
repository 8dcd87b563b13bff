"""The cocotb side of equal_bench.v: waits for its end and reads what it counted."""

from __future__ import annotations

from typing import Any

import cocotb
from cocotb.triggers import RisingEdge

from tilewright.sim.unit import bench_parameters


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def both_are_equal(dut: Any) -> None:
    """No mismatch in thousands of cycles, and many where the weights differ."""
    await RisingEdge(dut.done)
    assert dut.compared.value.to_signed() >= bench_parameters()["cycles"]
    assert dut.mismatches.value.to_signed() == 0
    assert dut.noticed.value.to_signed() > 50
