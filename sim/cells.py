"""Simulation models of the vendor cells that a target's Verilog, or a netlist, is made of."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from tilewright.compiler.target import Target

__all__ = ["cell_models", "netlist_models", "yosys_cells"]

_MULTIPLIERS = {"ecp5": "mult18x18d.v", "gowin": "gowin_multipliers.v"}
_MEMORIES = {
    "ecp5": ("block_ram.v", "dp16kd.v"),
    "gowin": ("block_ram.v", "gowin_memories.v"),
}
"""Files of models in sim/verilog, of cells that Yosys has no model of."""

_YOSYS = {
    "ecp5": "lattice/cells_sim_ecp5.v",
    "gowin": "gowin/cells_sim.v",
    "ice40": "ice40/cells_sim.v",
    "xilinx": "xilinx/cells_sim.v",
}
_MODULE = re.compile(r"^module\s+(\w+)", re.MULTILINE)
_BLACK_BOX = re.compile(r"\(\*[^*]*\bblackbox\b[^*]*\*\)\s*module\s+(\w+).*?endmodule", re.DOTALL)


def cell_models(target: Target) -> dict[str, str]:
    """File names and texts that must be compiled beside the Verilog of `target`."""
    if target.multiplier == "generic":
        return {}
    if target.multiplier not in _MULTIPLIERS:
        return {f"{target.multiplier}_cells.v": yosys_cells(target.multiplier)}
    name = _MULTIPLIERS[target.multiplier]
    return {name: _own(name)}


def netlist_models(family: str) -> dict[str, str]:
    """File names and texts that must be compiled beside a netlist of Yosys's for `family`."""
    names = [*_MEMORIES.get(family, ()), *filter(None, [_MULTIPLIERS.get(family)])]
    own = {name: _own(name) for name in names}
    modelled = {module for text in own.values() for module in _MODULE.findall(text)}

    def without(found: re.Match[str]) -> str:
        return "" if found[1] in modelled else found[0]

    return {f"{family}_cells.v": _BLACK_BOX.sub(without, yosys_cells(family)), **own}


def yosys_cells(family: str) -> str:
    """Yosys's simulation models of a family's cells, with the files that they include."""
    # Ports without a connection then have no default, which Verilator does not know.
    path = Path(str(resources.files("pyosys"))) / "share" / _YOSYS[family]
    return "`define NO_ICE40_DEFAULT_ASSIGNMENTS\n" + _included(path)


def _own(name: str) -> str:
    return (resources.files("tilewright.sim") / "verilog" / name).read_text()


def _included(path: Path) -> str:
    return re.sub(
        r'`include "(.*)"', lambda found: _included(path.parent / found[1]), path.read_text()
    )
