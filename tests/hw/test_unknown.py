# amaranth: UnusedElaboratable=no
"""The unit scenarios on Icarus Verilog, where what was never written is unknown (X)."""

from __future__ import annotations

import shutil
from importlib import import_module
from pathlib import Path

import pytest

from tilewright.sim.unit import run_bench

SCENARIOS = [
    *(("bus_scenarios", name) for name in ("splitter", "reader", "writer")),
    *(("array_scenarios", name) for name in ("multiplier", "array", "banks", "accumulators")),
    *(("feed_scenarios", name) for name in ("load", "weights", "fetch", "parameters")),
    *(("calc_scenarios", name) for name in ("walker", "loader", "calc")),
    *(("store_scenarios", name) for name in ("drain", "rows", "lanes", "stamp", "store")),
    ("control_scenarios", "registers"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("module", "scenario"), SCENARIOS)
def test_no_unknown_value_reaches_an_output_that_counts(
    module: str, scenario: str, tmp_path: Path
) -> None:
    if shutil.which("iverilog") is None:
        pytest.skip("iverilog is not installed")
    pytest.importorskip("cocotb")
    seed = 1
    made = getattr(import_module(module), scenario)(seed)
    run_bench(
        made.dut,
        "unit_bench",
        work_dir=tmp_path,
        simulator="icarus",
        parameters={"module": module, "scenario": scenario, "seed": seed},
    )
