"""Whole small networks in RTL through each kind of multiplier, right to the bit and to the cycle."""

import dataclasses

import numpy as np
import pytest
from synthesis import synthesize

from tilewright.compiler.cycles import MemoryTiming, predict
from tilewright.compiler.lower import compile_network
from tilewright.compiler.target import Target
from tilewright.graph.ir import Conv, Graph, Input, Layer, Op, Output
from tilewright.hw.array import SystolicArray
from tilewright.hw.verilog import component_verilog
from tilewright.quant.reference import run_fixed
from tilewright.sim.memory import MemoryConfig
from tilewright.sim.network import Job, compare_run, simulate_jobs
from tilewright.sim.random_layers import fix_randomly, random_inputs, random_network

BASE = Target(rows=4, cols=4, bus_bytes=4, act_depth=512, acc_depth=64, burst_beats=16)
ECP5 = dataclasses.replace(BASE, multiplier="ecp5", multiplier_stages=4)
ROUTED = dataclasses.replace(ECP5, bus_bytes=8, edge_registers=2, leaky=False)
"""What benchmarks/place_and_route.py routes, in small."""
PAIRS = dataclasses.replace(ECP5, cols=8, weight_bits=4, weights_per_multiplier=2)


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(ECP5, id="ecp5"),
        pytest.param(ROUTED, id="ecp5-short"),
        pytest.param(PAIRS, id="pairs"),
    ],
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
        assert predict(job.program, timing).cycles == run.cycles


@pytest.mark.slow
def test_pairs_of_narrow_weights_double_the_throughput_of_the_same_blocks(builds, tmp_path):
    """One network with 4-bit weights: on 4x4 columns, and on 4x8 with as many multipliers."""
    rng = np.random.default_rng(0)
    fixed = fix_randomly(convolution(rng), PAIRS, rng)
    assert fixed is not None and fixed.layers[0].weight_bits <= 4
    inputs = random_inputs(fixed, 0)
    values = run_fixed(fixed, {"x": inputs["x"][None]})
    cycles, blocks = [], []
    for target in (ECP5, PAIRS):
        program = compile_network(fixed, target)
        job = Job(program=program, inputs=[inputs], memory=MemoryConfig(read_latency=20))
        ((run,),) = simulate_jobs(builds(target), [job], work_dir=tmp_path / str(target.cols))
        assert compare_run(program, run, {"conv": values["conv"][0]}) == []
        cycles.append(run.cycles)
        array = component_verilog(SystolicArray(target), name="array", prefix="array")
        blocks.append(synthesize(array, "array", "ecp5")[1]["MULT18X18D"])
    assert blocks == [16, 16]
    assert cycles[0] >= 1.9 * cycles[1]


def convolution(rng):
    """3x3, padding 1, 16 to 32 channels on 14x14."""
    conv = Conv(
        weight=rng.standard_normal((32, 16, 3, 3)).astype(np.float32),
        bias=np.zeros(32, np.float32),
        pads=(1, 1, 1, 1),
    )
    return Graph(
        name="conv",
        inputs=(Input(name="x", shape=(16, 14, 14)),),
        layers=(Layer(name="conv", op=Op.CONV, inputs=("x",), conv=conv),),
        outputs=(Output(name="y", tensor="conv", shape=(32, 14, 14)),),
    )
