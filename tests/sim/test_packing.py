"""Depthwise layers with packed words in RTL: equal to the reference, in the predicted cycles."""

import numpy as np
import pytest
from packed import compile_packed, ways

from tilewright.compiler.cycles import MemoryTiming, predict
from tilewright.compiler.geometry import PLAIN, Packing
from tilewright.compiler.target import Target
from tilewright.graph.ir import Conv, Graph, Input, Layer, Op, Output
from tilewright.quant.reference import run_fixed
from tilewright.sim.memory import MemoryConfig
from tilewright.sim.network import Job, compare_run, simulate_jobs
from tilewright.sim.random_layers import fix_randomly, random_depthwise, random_inputs

FOUR = Target(rows=4, cols=4, act_depth=512, acc_depth=64, burst_beats=16)
EIGHT = Target(rows=8, cols=8, act_depth=512, acc_depth=128, burst_beats=16, bus_bytes=4)
LATENCY = 30


def packed_jobs(target, seeds, memory):
    """Every way to pack the words of random depthwise layers, and what must come out."""
    jobs, expected = [], []
    for seed in seeds:
        fixed = random_depthwise(seed, target)
        inputs = random_inputs(fixed, seed)
        values = run_fixed(fixed, {"x0": inputs["x0"][None]})
        for packing in ways(fixed, target):
            program = None if packing is PLAIN else compile_packed(fixed, target, packing)
            if program is not None:
                jobs.append(Job(program=program, inputs=[inputs], memory=memory))
                expected.append({"y": values["y"][0]})
    return jobs, expected


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(FOUR, id="4x4"),
        pytest.param(EIGHT, id="8x8-bus4", marks=pytest.mark.slow),
    ],
)
def test_packed_words_equal_the_reference_whatever_the_memory_does(builds, target, tmp_path):
    jobs, expected = packed_jobs(target, range(20), MemoryConfig.chaotic(3))
    assert len(jobs) >= 10
    results = simulate_jobs(builds(target), jobs, work_dir=tmp_path)
    for job, (run,), values in zip(jobs, results, expected, strict=True):
        assert compare_run(job.program, run, values) == []


def test_packed_layers_take_the_predicted_cycles(builds, tmp_path):
    memory = MemoryConfig(read_latency=LATENCY, write_latency=LATENCY)
    jobs, _ = packed_jobs(FOUR, range(40, 60), memory)
    results = simulate_jobs(builds(FOUR), jobs, work_dir=tmp_path)
    timing = MemoryTiming(latency=LATENCY, write_latency=LATENCY)
    for job, (run,) in zip(jobs, results, strict=True):
        assert predict(job.program, timing).cycles == run.cycles


def test_packing_saves_cycles_of_a_layer_that_the_array_bounds(builds, tmp_path):
    """5x5 on 8 channels of 20x20: a plain word takes 25 tiles a pixel, four packed pixels 36."""
    conv = Conv(
        weight=np.zeros((8, 1, 5, 5), np.float32),
        bias=np.zeros(8, np.float32),
        pads=(2, 2, 2, 2),
        groups=8,
    )
    graph = Graph(
        name="depthwise",
        inputs=(Input(name="x0", shape=(8, 20, 20)),),
        layers=(Layer(name="y", op=Op.CONV, inputs=("x0",), conv=conv),),
        outputs=(Output(name="y", tensor="y", shape=(8, 20, 20)),),
    )
    fixed = fix_randomly(graph, FOUR, np.random.default_rng(0))
    assert fixed is not None
    inputs = random_inputs(fixed, 0)
    programs = [compile_packed(fixed, FOUR, packing) for packing in (PLAIN, Packing(2, 2))]
    jobs = [Job(program=program, inputs=[inputs]) for program in programs if program is not None]
    cycles = [run.cycles for (run,) in simulate_jobs(builds(FOUR), jobs, work_dir=tmp_path)]
    assert cycles[0] >= 2 * cycles[1]
