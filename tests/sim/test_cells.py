"""The models of vendors' block RAMs against memories in plain Verilog."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from synthesis import synthesize
from targets import need

from tilewright.sim.cells import netlist_models
from tilewright.sim.process import run_module
from tilewright.sim.runner import Source, compile_verilog

BENCHES = Path(__file__).parents[1] / "benches"
SHAPES = (BENCHES / "memory_shapes.v").read_text()
CYCLES = 4000
BLOCKS = {
    "ecp5": {"DP16KD": 16},
    "gowin": {"SP": 1, "SPX9": 4, "SDPX9B": 2, "DPB": 3, "DPX9B": 6},
}


def run_beside_plain_verilog(family, netlist, folder, simulations):
    """Run equal_memories with a module `gate` from `netlist`."""
    sources = {
        "golden.v": SHAPES.replace("SHAPES", "golden"),
        "gate.v": netlist,
        "bench.v": (BENCHES / "equal_memories.v").read_text(),
        **netlist_models(family),
    }
    build = compile_verilog(
        [Source(*source) for source in sources.items()],
        top="equal_memories",
        build_dir=simulations,
        parameters={"CYCLES": CYCLES},
        optimise=0,
    )
    run_module(
        build,
        "equal_bench",
        work_dir=folder,
        environment={"TILEWRIGHT_BENCH": json.dumps({"cycles": CYCLES})},
    )


@pytest.mark.parametrize("family", BLOCKS)
def test_synthesized_memories_do_what_plain_verilog_does(family, tmp_path, simulations):
    """In all shapes; a word that is read while it is written is the exception, and shows."""
    need("verilator")
    netlist, counts = synthesize(SHAPES.replace("SHAPES", "gate"), "gate", family, "-no-rw-check")
    assert {cell: counts.get(cell, 0) for cell in BLOCKS[family]} == BLOCKS[family]
    run_beside_plain_verilog(family, netlist, tmp_path, simulations)
