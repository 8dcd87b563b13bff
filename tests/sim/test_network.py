"""The whole-network harness, on a toy accelerator that can break every rule."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from targets import need
from toy import TARGET, toy_expected, toy_input, toy_program, toy_verilog

from tilewright.errors import TilewrightError
from tilewright.sim.memory import MemoryConfig
from tilewright.sim.network import Job, compare_run, simulate, simulate_jobs
from tilewright.sim.runner import SimBuild, SimulationError, build_simulation

MEMORY = 1 << 20


@pytest.fixture(scope="session", params=["verilator", "icarus"])
def build(request: pytest.FixtureRequest, simulations: Path) -> SimBuild:
    need(request.param)
    return build_simulation(
        toy_verilog(), TARGET, simulations, simulator=request.param, memory_bytes=MEMORY
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


FAULTS = {
    1: "AR burst crosses a 4 KiB boundary",
    2: "AR burst is not INCR",
    3: "ARSIZE is not the bus width",
    4: "WLAST came before the burst's last beat",
    5: "WLAST is missing at the burst's last beat",
    6: "AR burst is outside the program's memory",
    7: "W changed while it waited for WREADY",
    8: "AR address is not aligned to the bus",
    9: "ARVALID was dropped before ARREADY",
    10: "AR changed while it waited for ARREADY",
    11: "AWVALID was dropped before AWREADY",
    12: "AW burst is not INCR",
    13: "AWSIZE is not the bus width",
    14: "AW changed while it waited for AWREADY",
    15: "WVALID was dropped before WREADY",
    16: "AW burst is outside the program's memory",
    17: "AW burst crosses a 4 KiB boundary",
    18: "AW address is not aligned to the bus",
    19: "memory is read that nobody wrote",
    20: "the watchdog: too many cycles went by .0x1388. without an interrupt: no unit has",
    21: "AXI-Lite write was answered with an error",
    22: "Register ID reads 0x00000000, not 0x54574731: this is not a Tilewright accelerator",
    23: "the watchdog: too many cycles went by",
    27: "AXI-Lite BVALID was dropped before BREADY",
    28: "AXI-Lite RVALID was dropped before RREADY",
    29: "irq stays high after ISR was cleared",
    30: "run_jobs failed|without results",
    31: "irq came with STATUS 0 but without done",
}
UNKNOWNS = {
    25: "a valid or ready of the master is unknown",
    26: "W has an unknown",
}


def run_fault(build: SimBuild, fault: int, work_dir: Path) -> None:
    memory = MemoryConfig(
        stall_ar=128, stall_aw=128, stall_w=128, stall_host=128, refuse_unwritten=True
    )
    program = toy_program(fault=fault)
    job = Job(program=program, inputs=[toy_input()], memory=memory, max_cycles=5000)
    simulate_jobs(build, [job, job], work_dir=work_dir, timeout_s=60)


@pytest.mark.parametrize("fault", FAULTS)
def test_every_broken_rule_ends_the_simulation(build: SimBuild, tmp_path: Path, fault: int) -> None:
    with pytest.raises(SimulationError, match=FAULTS[fault]):
        run_fault(build, fault, tmp_path)


def test_the_toy_without_fault_breaks_no_rule(build: SimBuild, tmp_path: Path) -> None:
    run_fault(build, 0, tmp_path)


@pytest.mark.parametrize("fault", UNKNOWNS)
def test_unknown_signals_end_the_simulation(simulations: Path, tmp_path: Path, fault: int) -> None:
    need("icarus")
    build = build_simulation(
        toy_verilog(), TARGET, simulations, simulator="icarus", memory_bytes=MEMORY
    )
    with pytest.raises(SimulationError, match=UNKNOWNS[fault]):
        run_fault(build, fault, tmp_path)


def test_wrong_values_are_named(build: SimBuild, tmp_path: Path) -> None:
    program, inputs = toy_program(fault=24), toy_input()
    (run,) = simulate(build, program, [inputs], work_dir=tmp_path, max_cycles=5000)
    expected = toy_expected(inputs["x"])
    (found,) = compare_run(program, run, expected)
    differs = np.argwhere(run.tensors["y0"] != expected["y0"])
    assert found.count == len(differs) > 0
    assert found.coordinates == tuple(differs[0])
    assert f"y0: {found.count} of 360 values differ, first at [" in str(found)


def test_bus_errors_are_reported_as_status(build: SimBuild, tmp_path: Path) -> None:
    program = toy_program()
    for channel, text in (("read", "2 .read error."), ("write", "3 .write error.")):
        options: dict[str, Any] = {f"{channel}_errors": (0, program.memory_bytes)}
        config = MemoryConfig(**options)
        with pytest.raises(SimulationError, match=f"STATUS {text}"):
            simulate(build, program, [toy_input()], memory=config, work_dir=tmp_path)


def test_memory_is_poisoned_where_nobody_wrote(build: SimBuild, tmp_path: Path) -> None:
    program = toy_program()
    more = dataclasses.replace(
        program.tensors["y0"], name="extra", address=program.tensors["y0"].address + 384
    )
    program = dataclasses.replace(
        program,
        tensors={**program.tensors, "extra": more},
        memory_bytes=program.memory_bytes + 384,
    )
    config = MemoryConfig(poison=0x77)
    (run,) = simulate(build, program, [toy_input()], memory=config, work_dir=tmp_path)
    assert (run.tensors["extra"] == 0x77).all()


def test_waveform_is_written(simulations: Path, tmp_path: Path) -> None:
    need("icarus")
    build = build_simulation(
        toy_verilog(), TARGET, simulations, simulator="icarus", waves=True, memory_bytes=1 << 14
    )
    (run,) = simulate(build, toy_program(), [toy_input()], work_dir=tmp_path, waves=True)
    assert run.waves is not None and run.waves.stat().st_size > 1000


@pytest.mark.slow
def test_waveform_is_written_by_verilator(simulations: Path, tmp_path: Path) -> None:
    need("verilator")
    build = build_simulation(toy_verilog(), TARGET, simulations, waves=True, memory_bytes=1 << 14)
    (run,) = simulate(build, toy_program(), [toy_input()], work_dir=tmp_path, waves=True)
    assert run.waves is not None and run.waves.read_text().count("$scope") > 2
    log = build.binary.with_name("build.log").read_text()
    assert "-lz" not in log and "fst" not in log  # zlib's headers are often not installed


def test_waveform_of_a_build_without_is_refused(build: SimBuild, tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="waves=True"):
        simulate(build, toy_program(), [toy_input()], work_dir=tmp_path, waves=True)


def test_program_of_another_target_is_refused(build: SimBuild, tmp_path: Path) -> None:
    other = toy_program(target=dataclasses.replace(TARGET, acc_depth=128))
    with pytest.raises(
        TilewrightError,
        match="compiled for acc_depth = 128, the accelerator has acc_depth = 64; compile it",
    ):
        simulate(build, other, [toy_input()], work_dir=tmp_path)


def test_hardware_of_another_target_is_refused(simulations: Path, tmp_path: Path) -> None:
    need("icarus")
    other = dataclasses.replace(TARGET, acc_depth=128)
    build = build_simulation(
        toy_verilog(other), TARGET, simulations, simulator="icarus", memory_bytes=MEMORY
    )
    with pytest.raises(SimulationError, match="the accelerator has acc_depth = 128; compile it"):
        simulate(build, toy_program(), [toy_input()], work_dir=tmp_path)


def test_program_larger_than_memory_is_refused(build: SimBuild, tmp_path: Path) -> None:
    large = dataclasses.replace(toy_program(), memory_bytes=MEMORY + 1)
    with pytest.raises(SimulationError, match=f"memory_bytes={MEMORY + 1} or more"):
        simulate(build, large, [toy_input()], work_dir=tmp_path)


@pytest.mark.parametrize("bus", [1, 2, 4, 16, 32])
def test_every_bus_width_works(simulations: Path, tmp_path: Path, bus: int) -> None:
    need("icarus")
    target = dataclasses.replace(TARGET, bus_bytes=bus)
    build = build_simulation(
        toy_verilog(target), target, simulations, simulator="icarus", memory_bytes=MEMORY
    )
    program, inputs = toy_program((4, 8, 8), target=target), toy_input((4, 8, 8))
    (run,) = simulate(build, program, [inputs], work_dir=tmp_path)
    assert compare_run(program, run, toy_expected(inputs["x"])) == []
