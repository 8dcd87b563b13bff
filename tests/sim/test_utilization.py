"""How busy the array is, measured in RTL."""

import numpy as np
import pytest

from tilewright.compiler.cycles import MemoryTiming, predict
from tilewright.compiler.lower import compile_network
from tilewright.compiler.target import Target
from tilewright.graph.ir import Conv, Graph, Input, Layer, Op, Output
from tilewright.quant.reference import run_fixed
from tilewright.sim.memory import MemoryConfig
from tilewright.sim.network import Job, compare_run, simulate_jobs
from tilewright.sim.random_layers import fix_randomly, random_inputs

SHAPE = (64, 28, 28)


def convolution(rng):
    """3x3, padding 1, 64 to 64 channels on 28x28."""
    weight = rng.standard_normal((64, 64, 3, 3)).astype(np.float32)
    conv = Conv(weight=weight, bias=np.zeros(64, np.float32), pads=(1, 1, 1, 1))
    return Graph(
        name="conv",
        inputs=(Input(name="x", shape=SHAPE),),
        layers=(Layer(name="conv", op=Op.CONV, inputs=("x",), conv=conv),),
        outputs=(Output(name="y", tensor="conv", shape=SHAPE),),
    )


@pytest.mark.slow
def test_a_convolution_keeps_the_array_busy_behind_a_slow_memory(builds, tmp_path):
    target, rng = Target(), np.random.default_rng(0)
    assert (target.rows, target.cols, target.bus_bytes) == (16, 16, 8)
    fixed = fix_randomly(convolution(rng), target, rng)
    assert fixed is not None
    program = compile_network(fixed, target)
    inputs = random_inputs(fixed, 1)
    shared = (False, True)
    jobs = [
        Job(
            program=program,
            inputs=[inputs],
            memory=MemoryConfig(read_latency=50, write_latency=50, shared=one),
        )
        for one in shared
    ]
    results = simulate_jobs(builds(target), jobs, work_dir=tmp_path)
    expected = {"conv": run_fixed(fixed, {"x": inputs["x"][None]})["conv"][0]}
    useful = fixed.graph.macs(fixed.graph.layers[0])
    assert useful == 64 * 64 * 9 * 28 * 28
    for one, (run,) in zip(shared, results, strict=True):
        assert compare_run(program, run, expected) == []
        assert useful >= 0.95 * 16 * 16 * run.cycles
        timing = MemoryTiming(latency=50, write_latency=50, shared=one)
        assert abs(predict(program, timing).cycles - run.cycles) <= 0.01 * run.cycles
