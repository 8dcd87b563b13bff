"""Pruned layers in RTL: equal to the reference, in the predicted cycles."""

import pytest
from pruned import compile_joint, groups, without_vectors

from tilewright.compiler.cycles import MemoryTiming, predict
from tilewright.compiler.target import Target
from tilewright.quant.reference import run_fixed
from tilewright.sim.memory import MemoryConfig
from tilewright.sim.network import Job, compare_run, simulate_jobs
from tilewright.sim.random_layers import random_inputs, random_layer

FOUR = Target(rows=4, cols=4, act_depth=512, acc_depth=64, burst_beats=16)
LATENCY = 30


def joint_jobs(seeds, memory):
    """Random layers with vectors of zeros, in every way that leaves those out."""
    jobs, expected = [], []
    for seed in seeds:
        fixed = without_vectors(random_layer(seed, FOUR), seed, FOUR.cols)
        inputs = random_inputs(fixed, seed)
        values = run_fixed(fixed, {name: x[None] for name, x in inputs.items()})
        for joint in groups(fixed, FOUR):
            program = compile_joint(fixed, FOUR, joint)
            if program is not None:
                jobs.append(Job(program=program, inputs=[inputs], memory=memory))
                expected.append({"y": values["y"][0]})
    return jobs, expected


@pytest.mark.parametrize("memory", ["chaos", "steady"])
def test_pruned_layers_equal_the_reference_in_the_predicted_cycles(builds, memory, tmp_path):
    steady = MemoryConfig(read_latency=LATENCY, write_latency=LATENCY)
    config = MemoryConfig.chaotic(3) if memory == "chaos" else steady
    jobs, expected = joint_jobs(range(30), config)
    assert len(jobs) >= 12
    results = simulate_jobs(builds(FOUR), jobs, work_dir=tmp_path)
    timing = MemoryTiming(latency=LATENCY, write_latency=LATENCY)
    for job, (run,), values in zip(jobs, results, expected, strict=True):
        assert compare_run(job.program, run, values) == []
        if memory == "steady":
            predicted = predict(job.program, timing).cycles
            assert abs(predicted - run.cycles) <= max(0.01 * run.cycles, 16)
