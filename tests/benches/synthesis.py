"""Yosys as a module: netlists of components for the families that it knows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path

__all__ = ["library", "synthesize"]

_FLOWS = {
    "generic": "synth",
    "ecp5": "synth_ecp5",
    "ice40": "synth_ice40",
    "gowin": "synth_gowin",
    "xilinx": "synth_xilinx -family xc7 -flatten -noiopad -noclkbuf",
}
_LIBRARIES = {
    "ecp5": "lattice/cells_sim_ecp5.v",
    "ice40": "ice40/cells_sim.v",
    "gowin": "gowin/cells_sim.v",
    "xilinx": "xilinx/cells_sim.v",
}
_SCRIPT = """
import sys
from pyosys import libyosys
design = libyosys.Design()
for command in sys.argv[1:]:
    libyosys.run_pass(command, design)
"""


def synthesize(verilog: str, top: str, family: str) -> tuple[str, dict[str, int]]:
    """The netlist of a design for a family, and how many cells of each type it has."""
    with tempfile.TemporaryDirectory() as folder:
        source, netlist, cells = (Path(folder, name) for name in ("in.v", "out.v", "cells.json"))
        source.write_text(verilog)
        commands = [
            f"read_verilog {source}",
            f"{_FLOWS[family]} -top {top}",
            f"tee -q -o {cells} stat -json",
            f"write_verilog -noattr {netlist}",
        ]
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT, *commands], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        counts = json.loads(cells.read_text())["design"]["num_cells_by_type"]
        return netlist.read_text(), counts


def library(family: str) -> str:
    """Yosys's simulation models of a family's cells, with the files they include."""
    path = Path(str(resources.files("pyosys"))) / "share" / _LIBRARIES[family]
    # Unconnected ports of iCE40 then have no default, which Verilator does not know.
    return "`define NO_ICE40_DEFAULT_ASSIGNMENTS\n" + _included(path)


def _included(path: Path) -> str:
    return re.sub(
        r'`include "(.*)"', lambda found: _included(path.parent / found[1]), path.read_text()
    )
