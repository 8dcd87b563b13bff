"""The cycle model: lower bounds it cannot beat, and the behaviour it must show."""

import dataclasses

import numpy as np
import pytest

from tilewright.compiler.cycles import MemoryTiming, predict
from tilewright.compiler.isa import Opcode
from tilewright.compiler.listing import instructions
from tilewright.compiler.lower import compile_network
from tilewright.compiler.target import Target
from tilewright.graph.ir import Conv, Graph, Input, Layer, Op, Output
from tilewright.quant.fixed import FixedGraph, FixedLayer
from tilewright.quant.formats import QFormat
from tilewright.sim.random_layers import random_network, random_target


def _conv(channels, outputs, kernel, size, pad):
    weight = np.zeros((outputs, channels, kernel, kernel), np.float32)
    conv = Conv(weight=weight, bias=np.zeros(outputs, np.float32), pads=(pad,) * 4)
    graph = Graph(
        name="conv",
        inputs=(Input(name="x", shape=(channels, size, size)),),
        layers=(Layer(name="y", op=Op.CONV, inputs=("x",), conv=conv),),
        outputs=(Output(name="y", tensor="y", shape=()),),
    )
    fmt = QFormat(8, 4)
    layer = FixedLayer(
        layer=graph.layers[0],
        weight=np.ones(weight.shape, np.int64),
        weight_bits=8,
        weight_frac=np.full(outputs, 7),
        acc_frac=np.full(outputs, 11),
        bias=np.zeros(outputs, np.int64),
        output=fmt,
        lo=-128,
        hi=127,
    )
    return FixedGraph(graph=graph, formats={"x": fmt, "y": fmt}, layers=(layer,))


def test_a_large_convolution_keeps_95_percent_of_the_array_busy():
    program = compile_network(_conv(64, 64, 3, 28, 1), Target())
    report = predict(program, MemoryTiming(latency=50))
    assert program.regions[0].macs >= 0.95 * 256 * report.cycles
    assert program.regions[0].bound == "compute"


def test_a_fully_connected_layer_runs_at_the_speed_of_the_bus():
    program = compile_network(_conv(1024, 256, 1, 1, 0), Target())
    report = predict(program)
    assert program.regions[0].bound == "memory"
    assert report.read_beats <= report.cycles <= 1.1 * report.read_beats


@pytest.mark.parametrize("seed", range(20))
def test_prediction_covers_every_layer_and_every_beat(seed):
    target = random_target(seed)
    program = compile_network(random_network(seed, target), target)
    report = predict(program)
    assert [r.name for r in report.regions] == [r.name for r in program.regions]
    assert sum(r.cycles for r in report.regions) == report.regions[-1].end <= report.cycles
    assert report.cycles >= max(report.read_beats, report.write_beats)
    pixels = sum(
        f["rows"] * f["cols"] * f["tiles0"] * f["tiles1"] * f["tiles2"]
        for name, f in instructions(program)
        if name == Opcode.CALC.name
    )
    assert sum(r.calc for r in report.regions) == pixels <= report.cycles


def test_latency_and_sharing_never_make_a_run_faster():
    target = Target(rows=4, cols=4)
    program = compile_network(random_network(3, target), target)
    near = predict(program, MemoryTiming(latency=0, write_latency=0))
    far = predict(program, MemoryTiming(latency=1000, write_latency=1000))
    shared = predict(program, dataclasses.replace(MemoryTiming(latency=0), shared=True))
    assert near.cycles < far.cycles
    assert near.cycles <= shared.cycles
