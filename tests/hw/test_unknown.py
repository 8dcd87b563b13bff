# amaranth: UnusedElaboratable=no
"""The unit scenarios on Icarus Verilog, where what was never written is unknown (X)."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from targets import TINY, need

from tilewright.compiler.lower import compile_network
from tilewright.hw.verilog import generate_verilog
from tilewright.quant.reference import run_fixed
from tilewright.sim.network import compare_run, simulate
from tilewright.sim.random_layers import random_inputs, random_layer
from tilewright.sim.runner import build_simulation
from tilewright.sim.unit import run_bench

SCENARIOS = [
    *(("bus_scenarios", name) for name in ("splitter", "reader", "writer")),
    *(("array_scenarios", name) for name in ("multiplier", "array", "banks")),
    *(("feed_scenarios", name) for name in ("load", "packed_load", "weights")),
    ("coded_scenarios", "coded"),
    *(("calc_scenarios", name) for name in ("walker", "loader", "calc")),
    *(("drain_scenarios", name) for name in ("drain", "rows", "lanes", "stamp")),
    *(("word_scenarios", name) for name in ("fetch", "parameters")),
    ("accumulator_scenarios", "accumulators"),
    ("store_scenarios", "store"),
    ("control_scenarios", "registers"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("module", "scenario"), SCENARIOS)
def test_no_unknown_value_reaches_an_output_that_counts(
    module: str, scenario: str, tmp_path: Path
) -> None:
    need("icarus")
    seed = 1
    made = getattr(import_module(module), scenario)(seed)
    run_bench(
        made.dut,
        "unit_bench",
        work_dir=tmp_path,
        simulator="icarus",
        parameters={"module": module, "scenario": scenario, "seed": seed},
    )


CLEAN_SEEDS = (1, 5)
"""A convolution and a concatenation whose programs store every pixel once.

Programs that pool with padding first store whole rows, unfilled accumulators included, and then
their border again: there unknown values reach memory for a while, and do no harm.
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", CLEAN_SEEDS)
def test_a_whole_program_runs_on_memories_that_start_unknown(seed: int, tmp_path: Path) -> None:
    """The bench fails if an unknown value reaches an output of the accelerator."""
    need("icarus")
    fixed = random_layer(seed, TINY)
    inputs = random_inputs(fixed, seed)
    program = compile_network(fixed, TINY, keep=True)
    build = build_simulation(
        generate_verilog(TINY),
        TINY,
        tmp_path / "build",
        simulator="icarus",
        memory_bytes=1 << 16,
    )
    [result] = simulate(build, program, [inputs], work_dir=tmp_path / "work")
    values = run_fixed(fixed, {name: value[None] for name, value in inputs.items()})
    assert compare_run(program, result, {name: value[0] for name, value in values.items()}) == []
