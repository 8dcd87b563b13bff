"""Simulation models of the vendor cells that a target's Verilog instantiates."""

from __future__ import annotations

from importlib import resources

from tilewright.compiler.target import Target

__all__ = ["cell_models", "yosys_cells"]

_OWN = {"ecp5": "mult18x18d.v", "gowin": "gowin_multipliers.v"}
"""Files of models in sim/verilog, of cells that Yosys has no model of."""


def cell_models(target: Target) -> dict[str, str]:
    """File names and texts that must be compiled beside the Verilog of `target`."""
    if target.multiplier == "generic":
        return {}
    if target.multiplier not in _OWN:
        return {f"{target.multiplier}_cells.v": yosys_cells(target.multiplier)}
    name = _OWN[target.multiplier]
    return {name: (resources.files("tilewright.sim") / "verilog" / name).read_text()}


def yosys_cells(family: str) -> str:
    """Yosys's simulation models of a family: "ice40" or "xilinx"."""
    models = resources.files("pyosys") / "share" / family / "cells_sim.v"
    # Ports without a connection then have no default, which Verilator does not know.
    return "`define NO_ICE40_DEFAULT_ASSIGNMENTS\n" + models.read_text()
