"""Simulation models of the vendor cells that a target's Verilog instantiates."""

from __future__ import annotations

from importlib import resources

from tilewright.compiler.target import Target

__all__ = ["cell_models"]

_OWN = {"ecp5": "mult18x18d.v"}


def cell_models(target: Target) -> dict[str, str]:
    """File names and texts that must be compiled beside the Verilog of `target`."""
    if target.multiplier == "generic":
        return {}
    name = _OWN[target.multiplier]
    return {name: (resources.files("tilewright.sim") / "verilog" / name).read_text()}
