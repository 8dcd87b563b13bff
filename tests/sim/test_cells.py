"""The models of vendors' block RAMs against memories in plain Verilog."""

from __future__ import annotations

from pathlib import Path

import pytest
from beside_plain import run_beside_plain
from synthesis import synthesize
from targets import need

BENCHES = Path(__file__).parents[1] / "benches"
SHAPES = (BENCHES / "memory_shapes.v").read_text()
CYCLES = 4000
BLOCKS = {
    "ecp5": {"DP16KD": 16},
    "gowin": {"SP": 1, "SPX9": 4, "SDPX9B": 2, "DPB": 3, "DPX9B": 6},
}


def run_beside_plain_verilog(family, netlist, folder, simulations):
    """Run equal_memories with a module `gate` from `netlist`."""
    golden = SHAPES.replace("SHAPES", "golden")
    run_beside_plain(golden, netlist, family, CYCLES, folder, simulations)


@pytest.mark.parametrize("family", BLOCKS)
def test_synthesized_memories_do_what_plain_verilog_does(family, tmp_path, simulations):
    """In all shapes; a word that is read while it is written is the exception, and shows."""
    need("verilator")
    netlist, counts = synthesize(SHAPES.replace("SHAPES", "gate"), "gate", family, "-no-rw-check")
    assert {cell: counts.get(cell, 0) for cell in BLOCKS[family]} == BLOCKS[family]
    run_beside_plain_verilog(family, netlist, tmp_path, simulations)
