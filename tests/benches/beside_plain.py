"""A synthesized module beside plain Verilog: equal_memories.v holds the two together."""

from __future__ import annotations

import json
from pathlib import Path

from tilewright.sim.cells import netlist_models
from tilewright.sim.process import run_module
from tilewright.sim.runner import Source, compile_verilog

__all__ = ["run_beside_plain"]

BENCH = Path(__file__).with_name("equal_memories.v")


def run_beside_plain(
    golden: str, gate: str, family: str, cycles: int, folder: Path, simulations: Path
) -> None:
    """Run modules `golden` and `gate`, the latter of a family's cells, for so many cycles.

    Raises
    ------
    SimulationError
        If their outputs differ.
    """
    sources = {
        "golden.v": golden,
        "gate.v": gate,
        "bench.v": BENCH.read_text(),
        **netlist_models(family),
    }
    build = compile_verilog(
        [Source(*source) for source in sources.items()],
        top="equal_memories",
        build_dir=simulations,
        parameters={"CYCLES": cycles},
        optimise=0,
    )
    run_module(
        build,
        "equal_bench",
        work_dir=folder,
        environment={"TILEWRIGHT_BENCH": json.dumps({"cycles": cycles})},
    )
