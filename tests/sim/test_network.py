"""The whole-network harness, on a toy accelerator that can break every rule."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from toy import TARGET, toy_expected, toy_input, toy_program, toy_verilog

from tilewright.sim.memory import MemoryConfig
from tilewright.sim.network import Job, compare_run, simulate, simulate_jobs
from tilewright.sim.runner import SimBuild, build_simulation

MEMORY = 1 << 20
NEEDS = {"verilator": ("g++", "make", "perl"), "icarus": ("iverilog",)}


def need(simulator: str) -> None:
    """Skip the test if `simulator` cannot work here."""
    for tool in NEEDS[simulator]:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    pytest.importorskip("cocotb")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("simulations")


@pytest.fixture(params=["verilator", "icarus"])
def build(request: pytest.FixtureRequest, cache: Path) -> SimBuild:
    need(request.param)
    return build_simulation(
        toy_verilog(), TARGET, cache, simulator=request.param, memory_bytes=MEMORY
    )


def test_several_inferences_and_programs_run_in_one_simulation(
    build: SimBuild, tmp_path: Path
) -> None:
    shapes = [(4, 9, 10), (3, 1, 1), (9, 4, 3)]
    jobs = [
        Job(
            program=toy_program(shape, repeats),
            inputs=[toy_input(shape, seed) for seed in range(2)],
            memory=MemoryConfig(base=0x4000 * repeats, read_latency=repeats * 3),
            keep_memory=repeats == 2,
        )
        for repeats, shape in enumerate(shapes, 1)
    ]
    seen = []
    results = simulate_jobs(build, jobs, work_dir=tmp_path, progress=lambda *at: seen.append(at))
    assert seen == [(n, 6) for n in range(1, 7)]
    for repeats, (job, runs) in enumerate(zip(jobs, results, strict=True), 1):
        for inputs, run in zip(job.inputs, runs, strict=True):
            assert compare_run(job.program, run, toy_expected(inputs["x"], repeats)) == []
            assert len(run.stamps) == repeats
            assert run.counters["READ_BEATS"] == run.bus_reads
            assert run.counters["WRITE_BEATS"] == run.bus_writes
            assert run.stamps[-1][0] < run.cycles <= run.elapsed


@pytest.mark.parametrize("seed", range(8))
def test_results_do_not_depend_on_the_memorys_behaviour(
    build: SimBuild, tmp_path: Path, seed: int
) -> None:
    program, inputs = toy_program(repeats=2), toy_input()
    config = MemoryConfig.chaotic(seed)
    (run,) = simulate(build, program, [inputs], memory=config, work_dir=tmp_path)
    assert compare_run(program, run, toy_expected(inputs["x"], 2)) == []
