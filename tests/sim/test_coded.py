"""Programs with compressed weights: equal to the reference, predicted, and stopped when damaged.

One accelerator with a decoder of two lanes, compiled once.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from targets import SPARING

from tilewright.compiler.cycles import MemoryTiming, predict
from tilewright.compiler.diagnosis import describe_fault
from tilewright.compiler.faults import fault_fields
from tilewright.compiler.isa import INSTRUCTION_BYTES, Opcode, decode
from tilewright.compiler.lower import compile_network
from tilewright.compiler.program import Program
from tilewright.compiler.registers import Status, StreamFault, Unit
from tilewright.compiler.target import Target
from tilewright.compiler.tiling import choose_plan
from tilewright.graph.ir import Conv, Graph, Input, Layer, Op, Output
from tilewright.quant.fixed import FixedGraph, FixedLayer
from tilewright.quant.formats import QFormat
from tilewright.quant.reference import run_fixed
from tilewright.sim.isa_model import execute
from tilewright.sim.memory import MemoryConfig
from tilewright.sim.network import Job, compare_run, simulate_jobs
from tilewright.sim.random_layers import random_inputs, random_layer, random_network
from tilewright.sim.runner import SimulationError

CODED = Target(rows=4, cols=4, decoder_lanes=2, act_depth=512, acc_depth=64, burst_beats=16)
BEATS = dataclasses.replace(SPARING, decoder_lanes=2)
LAYERS = (6, 9, 24, 35, 37, 38, 47, 48)
NETWORKS = (0, 5, 14, 40, 47, 56)
"""Seeds whose programs on CODED have compressed weights."""


def pruned(fixed: FixedGraph, seed: int) -> FixedGraph:
    """The network with a fifth of its weights kept, rounded towards zero to six values a layer."""
    rng = np.random.default_rng(seed)
    layers = []
    for layer in fixed.layers:
        weight = layer.weight
        if weight is not None and weight.size:
            book = rng.choice(np.unique(weight), 6)
            shared = book[np.abs(weight[..., None] - book).argmin(-1)]
            kept = (rng.random(weight.shape) < 0.2) & (np.abs(shared) <= np.abs(weight))
            layer = dataclasses.replace(layer, weight=np.where(kept, shared, 0))
        layers.append(layer)
    return dataclasses.replace(fixed, layers=tuple(layers))


def ternary_layer(positive: int, negative: int) -> FixedGraph:
    """A convolution whose weights are one of two values, or, half of them, zero."""
    rng = np.random.default_rng(0)
    shape = (32, 16, 3, 3)
    weight = rng.choice([positive, 0, 0, -negative], shape).astype(np.int64)
    conv = Conv(weight=weight.astype(np.float32), bias=np.zeros(32, np.float32), pads=(1, 1, 1, 1))
    layer = Layer(name="y", op=Op.CONV, inputs=("x",), conv=conv)
    graph = Graph(
        name="ternary",
        inputs=(Input(name="x", shape=(16, 6, 6)),),
        layers=(layer,),
        outputs=(Output(name="y", tensor="y", shape=(32, 6, 6)),),
    )
    zeros, output = np.zeros(32, np.int64), QFormat(8, 0)
    fixed = FixedLayer(
        layer=layer,
        weight=weight,
        weight_bits=8,
        weight_frac=zeros + 9,
        acc_frac=zeros + 9,
        bias=zeros,
        output=output,
        lo=output.min,
        hi=output.max,
    )
    return FixedGraph(graph=graph, formats={"x": QFormat(8, 0), "y": output}, layers=(fixed,))


def networks(target: Target) -> list[tuple[FixedGraph, int]]:
    """Pruned layers and networks, and their seeds."""
    made = [(random_layer(seed, target), seed) for seed in LAYERS]
    made += [(random_network(seed, target), seed) for seed in NETWORKS]
    return [(pruned(fixed, seed), seed) for fixed, seed in made]


def made_job(
    fixed: FixedGraph, target: Target, seed: int, planner: Any = choose_plan, **options: Any
) -> tuple[Job, dict[str, Any]]:
    """A job that keeps every tensor, and the values that must come out."""
    inputs = random_inputs(fixed, seed)
    values = run_fixed(fixed, {name: value[None] for name, value in inputs.items()})
    program = compile_network(fixed, target, keep=True, planner=planner)
    job = Job(program=program, inputs=[inputs], **options)
    return job, {name: value[0] for name, value in values.items()}


def weights_of(program: Program) -> list[dict[str, int]]:
    """The WEIGHTS instructions of a program."""
    starts = range(
        program.instructions,
        program.instructions + program.count * INSTRUCTION_BYTES,
        INSTRUCTION_BYTES,
    )
    code = [decode(program.image[at : at + INSTRUCTION_BYTES]) for at in starts]
    return [fields for opcode, fields in code if opcode is Opcode.WEIGHTS]


@pytest.mark.parametrize(
    "target", [CODED, pytest.param(BEATS, marks=pytest.mark.slow)], ids=["bursts", "beat by beat"]
)
def test_networks_with_compressed_weights_equal_the_reference(
    builds: Any, target: Target, tmp_path: Path
) -> None:
    made = [
        made_job(fixed, target, seed, memory=MemoryConfig.chaotic(seed))
        for fixed, seed in networks(target)
    ]
    fields = [f for job, _ in made for f in weights_of(job.program)]
    assert sum(f["coded"] for f in fields) > 40
    assert sum(f["coded"] and f["gather"] for f in fields) > 10
    assert sum(not f["coded"] and not f["block"] for f in fields) > 40
    results = simulate_jobs(builds(target), [job for job, _ in made], work_dir=tmp_path)
    for (job, values), (run,) in zip(made, results, strict=True):
        assert compare_run(job.program, run, values) == []
        found = execute(job.program, job.inputs[0])
        for name in job.program.outputs:
            np.testing.assert_array_equal(found[name], values[name])


@pytest.mark.parametrize(
    "target", [CODED, pytest.param(BEATS, marks=pytest.mark.slow)], ids=["bursts", "beat by beat"]
)
def test_the_cycle_model_knows_the_decoder(builds: Any, target: Target, tmp_path: Path) -> None:
    memory = MemoryConfig(read_latency=50, write_latency=50)
    timing = MemoryTiming(latency=50, write_latency=50)
    jobs = [made_job(fixed, target, seed, memory=memory)[0] for fixed, seed in networks(target)]
    runs = simulate_jobs(builds(target), jobs, work_dir=tmp_path)
    measured = np.array([run.stamps[-1][0] for (run,) in runs])
    predicted = np.array([predict(job.program, timing).regions[-1].end for job in jobs])
    errors = predicted / measured - 1
    assert np.abs(errors).max() <= 0.03
    assert np.abs(errors).mean() <= 0.01


def test_ternary_weights_of_two_scales_take_less_than_2_bits_each(
    builds: Any, tmp_path: Path
) -> None:
    """Two values of 8 bits in the codebook; zeros, about half of the weights, are runs."""
    fixed = ternary_layer(23, 31)
    # Zeros cost less than the offsets of tiles that leave terms out.
    job, values = made_job(fixed, CODED, 3, functools.partial(choose_plan, joint=False))
    sizes = {f["address"]: f["beats"] * CODED.bus_bytes for f in weights_of(job.program)}
    assert 8 * sum(sizes.values()) < 2 * 32 * 16 * 3 * 3
    [[run]] = simulate_jobs(builds(CODED), [job], work_dir=tmp_path)
    assert compare_run(job.program, run, values) == []


def damaged(program: Program, fields: dict[str, int], place: int, flip: int) -> Program:
    """The program with other bits in a byte of an instruction's part."""
    image = bytearray(program.image)
    image[fields["address"] + place] ^= flip
    return dataclasses.replace(program, image=bytes(image))


def test_damaged_weights_end_a_run_with_a_status_and_the_next_one_is_right(
    builds: Any, tmp_path: Path
) -> None:
    fixed = pruned(random_network(5, CODED), 5)
    job, values = made_job(fixed, CODED, 5)
    code = weights_of(job.program)
    block = next(f for f in code if f["block"])
    streams = [f for f in code if f["coded"]]
    cases = [
        (block, 0, 1, StreamFault.HEADER),
        (block, 40, 4, StreamFault.CHECKSUM),
        (streams[-1], 4, 1, StreamFault.CHECKSUM),
        (streams[0], 0, 0xFF, StreamFault.TRUNCATED),
    ]
    jobs = []
    for fields, place, flip, _ in cases:
        program = damaged(job.program, fields, place, flip)
        jobs += [dataclasses.replace(job, program=program, status=Status.WEIGHT_STREAM), job]
    results = simulate_jobs(builds(CODED), jobs, work_dir=tmp_path)
    for (fields, _, _, fault), bad, (failed,), (good,) in zip(
        cases, jobs[::2], results[::2], results[1::2], strict=True
    ):
        words = failed.counters
        assert fault_fields(words["FAULT"]) == {
            "unit": Unit.WEIGHTS,
            "response": 0,
            "reason": fault,
        }
        assert code[words["FAULT_ADDRESS"]]["address"] == fields["address"]
        assert "the compressed weights of layer '" in describe_fault(words, bad.program)
        assert compare_run(job.program, good, values) == []
    wrong = dataclasses.replace(jobs[4], status=0)
    with pytest.raises(
        SimulationError, match=r"layer '.*' \(instruction .*checksum is wrong.*load"
    ):
        simulate_jobs(builds(CODED), [wrong], work_dir=tmp_path)
