"""The check of the hardware can fail: designs with one fault each are caught.

Each mutant is the true design's Verilog with one expression changed. It runs the same programs as
the true one, which passes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from targets import TINY, need

from tilewright.compiler.lower import compile_network
from tilewright.hw.verilog import generate_verilog
from tilewright.quant.reference import run_fixed
from tilewright.sim.network import Job, compare_run, simulate_jobs
from tilewright.sim.random_layers import random_inputs, random_layer
from tilewright.sim.runner import SimulationError, build_simulation

SEEDS = (0, 1, 3)
"""Random layers: an average pool, a convolution of several tiles, a maximum pool."""

MUTANTS = {
    # Half a unit of the result is not added to the bias: requantizing truncates.
    "rounding": ("store_unit_parameters", r"\$signed\(\{ 1'h0, s0_select\d+ \}\)", "$signed(2'h0)"),
    # An innermost loop of tiles ends one tile early.
    "dropped tile": ("calc_unit_tiles", r"count0 == (\S+ \[28:13\])", r"count0 == (\1 - 1'h1)"),
    # Column 1 of the array captures its weight in the cycle of column 0.
    "capture": ("array_row(_2)?", r"capture_0( \? weights_in\[15:8\])", r"capture\g<1>"),
    # The first tile adds to what the accumulators held before.
    "overwrite": ("accumulators_column(_2)?", r"control_add\[6\] \?", r"1'h0 ?"),
}


REASONS = r"values differ|too many cycles"
"""What a fault may show as; a simulation that cannot run at all is no proof."""


def mutated(name: str) -> str:
    """The Verilog of TINY with a fault; it must have been possible to put it in."""
    module, pattern, replacement = MUTANTS[name]
    count = 0

    def change(match: re.Match[str]) -> str:
        nonlocal count
        text, found = re.subn(pattern, replacement, match[0])
        count += found
        return text

    text = re.sub(
        rf"^module {TINY.prefix}_{module} .*?^endmodule$",
        change,
        generate_verilog(TINY),
        flags=re.MULTILINE | re.DOTALL,
    )
    assert count, f"{name}: the Verilog has changed, write the mutation anew"
    return text


@cache
def programs() -> list[tuple[Job, dict[str, Any]]]:
    """What every design runs, and the values that must come out."""
    found = []
    for seed in SEEDS:
        fixed = random_layer(seed, TINY)
        inputs = random_inputs(fixed, seed)
        program = compile_network(fixed, TINY, keep=True)
        values = run_fixed(fixed, {name: value[None] for name, value in inputs.items()})
        job = Job(program=program, inputs=[inputs], max_cycles=20_000)
        found.append((job, {name: value[0] for name, value in values.items()}))
    return found


def faults(verilog: str, build_dir: Path, work_dir: Path) -> list[str]:
    """What the checker has against a design; nothing for a true one."""
    build = build_simulation(verilog, TINY, build_dir, memory_bytes=1 << 16, optimise=0)
    found = []
    for job, expected in programs():
        try:
            [[result]] = simulate_jobs(build, [job], work_dir=work_dir)
        except SimulationError as error:
            found.append(str(error))
        else:
            found += map(str, compare_run(job.program, result, expected))
    return found


@pytest.fixture(scope="module")
def check(
    simulations: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], list[str]]:
    need("verilator")
    return lambda verilog: faults(verilog, simulations, tmp_path_factory.mktemp("mutant"))


@pytest.mark.slow
def test_the_true_design_passes(check: Callable[[str], list[str]]) -> None:
    assert check(generate_verilog(TINY)) == []


@pytest.mark.parametrize(
    "name",
    ["rounding", *(pytest.param(name, marks=pytest.mark.slow) for name in list(MUTANTS)[1:])],
)
def test_a_fault_in_the_hardware_is_caught(check: Callable[[str], list[str]], name: str) -> None:
    found = check(mutated(name))
    assert any(re.search(REASONS, reason) for reason in found), found
