"""Yosys as a module: netlists of components for the families that it knows."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["synthesize"]

_FLOWS = {
    "generic": "synth",
    "ecp5": "synth_ecp5",
    "ice40": "synth_ice40",
    "gowin": "synth_gowin",
    "xilinx": "synth_xilinx -family xc7 -flatten -noiopad -noclkbuf",
}
_SCRIPT = """
import sys
from pyosys import libyosys
design = libyosys.Design()
for command in sys.argv[1:]:
    libyosys.run_pass(command, design)
"""


def synthesize(
    verilog: str, top: str, family: str, options: str = ""
) -> tuple[str, dict[str, int]]:
    """The netlist of a design for a family, and how many cells of each type it has."""
    with tempfile.TemporaryDirectory() as folder:
        source, netlist, cells = (Path(folder, name) for name in ("in.v", "out.v", "cells.json"))
        source.write_text(verilog)
        commands = [
            f"read_verilog {source}",
            f"{_FLOWS[family]} {options} -top {top}",
            f"tee -q -o {cells} stat -json",
            f"write_verilog -noattr {netlist}",
        ]
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT, *commands], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        counts = json.loads(cells.read_text())["design"]["num_cells_by_type"]
        return netlist.read_text(), counts
