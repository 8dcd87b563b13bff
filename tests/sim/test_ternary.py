"""Networks in RTL on an array that multiplies nothing, right to the bit, and in the cycles predicted."""

from targets import need
from ternary_networks import convolution, residual_network

from tilewright.compiler.cycles import MemoryTiming, predict
from tilewright.compiler.lower import compile_network
from tilewright.compiler.target import Target
from tilewright.quant.reference import run_fixed
from tilewright.sim.memory import MemoryConfig
from tilewright.sim.network import Job, compare_run, simulate_jobs
from tilewright.sim.random_layers import random_inputs, random_network

TARGET = Target(
    rows=4,
    cols=4,
    weight_bits=4,
    ternary=True,
    multiplier_stages=0,
    bus_bytes=4,
    act_depth=512,
    acc_depth=64,
    burst_beats=16,
)


def test_networks_run_on_ternary_cells_with_two_scales_a_column(builds, tmp_path):
    """Ternary ones with a residual, an average and a layer of ten, and some with any weights."""
    need("verilator")
    latency = 20
    steady = MemoryConfig(read_latency=latency, write_latency=latency)
    timing = MemoryTiming(latency=latency, write_latency=latency)
    networks = [residual_network(4), convolution(scales=(7, 3), bits=4)]
    networks += [random_network(seed, TARGET) for seed in range(6)]
    jobs, expected = [], []
    for number, fixed in enumerate(networks):
        inputs = random_inputs(fixed, number)
        program = compile_network(fixed, TARGET, keep=True)
        values = run_fixed(fixed, {name: x[None] for name, x in inputs.items()})
        memory = MemoryConfig.chaotic(number) if number % 3 == 2 else steady
        jobs.append(Job(program=program, inputs=[inputs], memory=memory))
        expected.append({name: x[0] for name, x in values.items()})
    results = simulate_jobs(builds(TARGET), jobs, work_dir=tmp_path)
    for job, (run,), values in zip(jobs, results, expected, strict=True):
        assert compare_run(job.program, run, values) == []
        if job.memory is steady:
            predicted = predict(job.program, timing).cycles
            assert abs(predicted - run.cycles) <= 0.01 * run.cycles
