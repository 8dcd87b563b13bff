"""The generated Verilog against the integer reference, bit for bit, on random layers and networks.

Each target is compiled once; all of its layers run in one simulation, one after the other on the
same hardware without a reset in between, with memory that stalls and answers at random.
"""

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from targets import SPARING

from tilewright.compiler.isa import INSTRUCTION_BYTES
from tilewright.compiler.lower import compile_network
from tilewright.compiler.target import Target
from tilewright.errors import TilewrightError
from tilewright.quant.reference import run_fixed
from tilewright.sim.jobs import DISTURBANCES
from tilewright.sim.memory import MemoryConfig
from tilewright.sim.network import Disturbance, Job, compare_run, simulate_jobs
from tilewright.sim.random_layers import random_inputs, random_layer, random_network
from tilewright.sim.runner import SimulationError

SMALL: dict[str, Any] = {"act_depth": 512, "acc_depth": 64, "burst_beats": 16}
SQUARE = Target(rows=4, cols=4, **SMALL)
WIDER = Target(rows=3, cols=8, bus_bytes=2, leaky=False, **SMALL)
TALLER = Target(rows=7, cols=2, bus_bytes=16, weight_bits=4, multiplier_stages=3, **SMALL)
EDGED = dataclasses.replace(SQUARE, edge_registers=1)
SHORT = dataclasses.replace(SQUARE, edge_registers=2, leaky=False)
MEMORIES = {
    "plain": MemoryConfig(),
    "slow": MemoryConfig(read_latency=300, write_latency=300, outstanding=16),
    "data-first": dataclasses.replace(MemoryConfig.chaotic(5), stall_host=32),
    "chaos": dataclasses.replace(MemoryConfig.chaotic(11), stall_host=32),
}
WORDS = Target(rows=5, cols=3, act_bits=16, weight_bits=16, acc_bits=48, bus_bytes=4, **SMALL)


def reference(fixed, inputs):
    """Every tensor that the integer reference computes for one image."""
    values = run_fixed(fixed, {name: x[None] for name, x in inputs.items()})
    return {name: x[0] for name, x in values.items()}


def make_job(fixed, target, seed, **options):
    """A job with one inference that keeps every tensor, and what must come out."""
    inputs = random_inputs(fixed, seed)
    program = compile_network(fixed, target, keep=True)
    return Job(program=program, inputs=[inputs], **options), reference(fixed, inputs)


def check(build, jobs, expected, folder):
    """Run the jobs and compare every value of every tensor."""
    results = simulate_jobs(build, jobs, work_dir=folder)
    for job, runs, values in zip(jobs, results, expected, strict=True):
        for run in runs:
            assert compare_run(job.program, run, values) == []
    return results


def random_jobs(target, seeds, **options):
    """Jobs of random layers that fit the target's buffers."""
    jobs, expected = [], []
    for seed in seeds:
        try:
            job, values = make_job(random_layer(seed, target), target, seed, **options)
        except TilewrightError as error:
            assert any(reason in str(error) for reason in ("one output needs", "lie too far apart"))
            continue
        jobs.append(job)
        expected.append(values)
    return jobs, expected


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(SQUARE, id="4x4"),
        pytest.param(EDGED, id="4x4-edged"),
        pytest.param(SHORT, id="4x4-short"),
        pytest.param(SPARING, id="2x2-sparing"),
        pytest.param(WIDER, id="3x8-bus2", marks=pytest.mark.slow),
        pytest.param(TALLER, id="7x2-bus16-w4", marks=pytest.mark.slow),
        pytest.param(WORDS, id="5x3-16bit", marks=pytest.mark.slow),
    ],
)
@settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # shrinking would simulate for hours; each failure names its seed
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    layers=st.lists(st.integers(0, 2**32 - 1), min_size=24, max_size=24, unique=True),
    memory=st.integers(0, 2**16),
)
def test_random_layers_equal_the_reference_whatever_the_memory_does(
    builds, target, layers, memory, tmp_path
):
    jobs, expected = [], []
    for number, seed in enumerate(layers):
        more = random_jobs(target, [seed], memory=MemoryConfig.chaotic(memory + number // 6))
        jobs += more[0]
        expected += more[1]
    assert len(jobs) >= 16
    check(builds(target), jobs, expected, tmp_path)


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(SQUARE, id="4x4"),
        pytest.param(TALLER, id="7x2-bus16-w4", marks=pytest.mark.slow),
        pytest.param(WORDS, id="5x3-16bit", marks=pytest.mark.slow),
    ],
)
def test_network_inputs_of_one_to_four_channels_are_read_narrow(builds, target, tmp_path):
    seeds = (
        seed
        for seed in itertools.count()
        if min(item.shape[0] for item in random_layer(seed, target).graph.inputs) <= 4
    )
    jobs, expected = random_jobs(
        target, itertools.islice(seeds, 16), memory=MemoryConfig.chaotic(3)
    )
    layouts = [place.layout for job in jobs for place in job.program.tensors.values()]
    used = {layout.narrow for layout in layouts}
    assert used == set(range(len(target.narrow_lanes) + 1))
    check(builds(target), jobs, expected, tmp_path)


def test_random_networks_follow_each_other_on_the_same_hardware(builds, tmp_path):
    jobs, expected = [], []
    for seed in range(6):
        job, values = make_job(random_network(seed, SQUARE), SQUARE, seed)
        jobs.append(job)
        expected.append(values)
    assert len({job.program.image for job in jobs}) == len(jobs)
    check(builds(SQUARE), jobs + jobs[:1], expected + expected[:1], tmp_path)


def test_a_second_inference_finds_the_memory_of_the_first(builds, tmp_path):
    fixed = random_network(3, SQUARE)
    program = compile_network(fixed, SQUARE)
    inputs = [random_inputs(fixed, seed) for seed in range(3)]
    job = Job(program=program, inputs=inputs, keep_memory=True)
    runs = simulate_jobs(builds(SQUARE), [job], work_dir=tmp_path)[0]
    for x, run in zip(inputs, runs, strict=True):
        values = reference(fixed, x)
        for name in program.outputs:
            np.testing.assert_array_equal(run.tensors[name], values[name])


@pytest.mark.parametrize("latency", [0, 1000])
def test_memory_latency_changes_cycles_only(builds, latency, tmp_path):
    memory = MemoryConfig(read_latency=latency, write_latency=latency, shared=True)
    jobs, expected = random_jobs(SQUARE, range(6), memory=memory)
    check(builds(SQUARE), jobs, expected, tmp_path)


def test_a_program_for_another_target_is_refused(builds, tmp_path):
    other = dataclasses.replace(SQUARE, acc_depth=32)
    job, _ = make_job(random_layer(0, other), other, 0)
    with pytest.raises(TilewrightError, match="for acc_depth = 32, the accelerator has acc_depth"):
        simulate_jobs(builds(SQUARE), [job], work_dir=tmp_path)


@pytest.mark.parametrize(
    ("fault", "status"), [("read_errors", "read error"), ("write_errors", "write error")]
)
def test_a_bus_error_stops_the_run_with_its_status(builds, fault, status, tmp_path):
    job, values = make_job(random_layer(1, SQUARE), SQUARE, 1)
    output = job.program.tensors[job.program.outputs[0]]
    where = (0, 64) if fault == "read_errors" else (output.address, output.address + 64)
    options: dict[str, Any] = {fault: where}
    faulty = dataclasses.replace(job, memory=MemoryConfig(**options))
    with pytest.raises(SimulationError, match=status):
        simulate_jobs(builds(SQUARE), [faulty], work_dir=tmp_path)
    check(builds(SQUARE), [job], [values], tmp_path)


def with_illegal_instruction(program, number):
    """The program with an opcode that does not exist at instruction `number`."""
    image = bytearray(program.image)
    image[program.instructions + number * INSTRUCTION_BYTES] |= 0x0F
    return dataclasses.replace(program, image=bytes(image))


@pytest.mark.parametrize("memory", MEMORIES)
def test_an_illegal_instruction_ends_the_run_and_the_next_program_runs(builds, memory, tmp_path):
    job, values = make_job(random_network(2, SQUARE), SQUARE, 2, memory=MEMORIES[memory])
    count = job.program.count
    jobs, expected = [], []
    for number in (0, 1, count // 2, count - 2, count - 1):
        bad = with_illegal_instruction(job.program, number)
        jobs += [dataclasses.replace(job, program=bad, status=1), job]
        expected += [{}, values]
    check(builds(SQUARE), jobs, expected, tmp_path)


def test_a_run_must_end_with_the_status_that_is_expected(builds, tmp_path):
    job, _ = make_job(random_layer(1, SQUARE), SQUARE, 1)
    wrong = dataclasses.replace(job, status=1)
    with pytest.raises(SimulationError, match=r"STATUS 0 \(good\), not with 1 \(illegal"):
        simulate_jobs(builds(SQUARE), [wrong], work_dir=tmp_path)


def moments(build, job, folder):
    """Cycles after the start of `job`: in the first fetch, between, and before the end."""
    cycles = simulate_jobs(build, [job], work_dir=folder)[0][0].cycles
    return [1, 5, 30, *(cycles * part // 16 for part in (1, 4, 7, 10, 13, 15)), cycles - 100]


@pytest.mark.parametrize("kind", DISTURBANCES)
@pytest.mark.parametrize(
    "memory",
    ["plain", "chaos", *(pytest.param(m, marks=pytest.mark.slow) for m in ("slow", "data-first"))],
)
def test_a_run_that_is_disturbed_or_started_anew_ends_right(builds, kind, memory, tmp_path):
    build = builds(SQUARE)
    # After a reset the memory's stalls are the same, so that the run takes the same time.
    job, values = make_job(
        random_network(2, SQUARE), SQUARE, 2, memory=MEMORIES[memory], reset=True
    )
    jobs = [
        dataclasses.replace(job, disturb=Disturbance(after_cycles=after, kind=kind))
        for after in moments(build, job, tmp_path)
    ]
    jobs.append(dataclasses.replace(job, reset=False))
    results = check(build, jobs, [values] * len(jobs), tmp_path)
    for (run,) in results:
        assert run.counters["READ_BEATS"] == run.bus_reads
        assert run.counters["WRITE_BEATS"] == run.bus_writes


def test_a_start_while_busy_costs_no_cycle(builds, tmp_path):
    job, values = make_job(random_network(2, SQUARE), SQUARE, 2, reset=True)
    again = dataclasses.replace(job, disturb=Disturbance(after_cycles=500, kind="start"))
    runs = check(builds(SQUARE), [job, again], [values] * 2, tmp_path)
    assert runs[0][0].cycles == runs[1][0].cycles > 600


def test_a_disturbance_after_the_end_is_refused(builds, tmp_path):
    job, _ = make_job(random_layer(1, SQUARE), SQUARE, 1)
    late = dataclasses.replace(job, disturb=Disturbance(after_cycles=100_000, kind="start"))
    with pytest.raises(SimulationError, match="over before it could be disturbed"):
        simulate_jobs(builds(SQUARE), [late], work_dir=tmp_path)
