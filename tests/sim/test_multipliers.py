"""Whole small networks in RTL through each kind of multiplier, right to the bit and to the cycle."""

import dataclasses

import pytest

from tilewright.compiler.cycles import MemoryTiming, predict
from tilewright.compiler.lower import compile_network
from tilewright.compiler.target import Target
from tilewright.quant.reference import run_fixed
from tilewright.sim.memory import MemoryConfig
from tilewright.sim.network import Job, compare_run, simulate_jobs
from tilewright.sim.random_layers import random_inputs, random_network

pytestmark = pytest.mark.xdist_group("rtl")

BASE = Target(rows=4, cols=4, bus_bytes=4, act_depth=512, acc_depth=64, burst_beats=16)
ECP5 = dataclasses.replace(BASE, multiplier="ecp5", multiplier_stages=4)
PAIRS = dataclasses.replace(ECP5, weight_bits=4, weights_per_multiplier=2)


@pytest.mark.parametrize(
    "target",
    [pytest.param(ECP5, id="ecp5"), pytest.param(PAIRS, id="pairs")],
)
def test_networks_run_on_the_familys_multipliers(builds, target, tmp_path):
    latency = 20
    memory = MemoryConfig(read_latency=latency, write_latency=latency)
    timing = MemoryTiming(latency=latency, write_latency=latency)
    jobs, expected = [], []
    for seed in range(3):
        fixed = random_network(seed, target)
        inputs = random_inputs(fixed, seed)
        program = compile_network(fixed, target, keep=True)
        values = run_fixed(fixed, {name: x[None] for name, x in inputs.items()})
        jobs.append(Job(program=program, inputs=[inputs], memory=memory))
        expected.append({name: x[0] for name, x in values.items()})
    results = simulate_jobs(builds(target), jobs, work_dir=tmp_path)
    for job, (run,), values in zip(jobs, results, expected, strict=True):
        assert compare_run(job.program, run, values) == []
        assert abs(predict(job.program, timing).cycles - run.cycles) <= 0.01 * run.cycles
