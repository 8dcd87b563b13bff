"""What bounds a layer: hand-counted mappings, and traffic against the cycle model's beats."""

import numpy as np
import pytest

from tilewright.compiler.bounds import layer_bounds, layer_traffic
from tilewright.compiler.cycles import MemoryTiming, predict
from tilewright.compiler.isa import INSTRUCTION_BYTES
from tilewright.compiler.lower import compile_network
from tilewright.compiler.target import Target
from tilewright.graph.ir import Conv, Graph, Input, Layer, Op, Output
from tilewright.sim.random_layers import fix_randomly, random_network, random_target


def bounds(channels, outputs, kernel, size, target, groups=1, shared=False):
    """Bounds of one convolution that keeps the map's size."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((outputs, channels // groups, kernel, kernel)).astype(np.float32)
    pad = kernel // 2
    conv = Conv(weight=weight, bias=np.zeros(outputs, np.float32), groups=groups, pads=(pad,) * 4)
    shape = (channels, size, size)
    graph = Graph(
        name="net",
        inputs=(Input(name="x", shape=shape),),
        layers=(Layer(name="conv", op=Op.CONV, inputs=("x",), conv=conv),),
        outputs=(Output(name="y", tensor="conv", shape=(outputs, size, size)),),
    )
    fixed = fix_randomly(graph, target, rng)
    assert fixed is not None
    return layer_bounds(fixed, compile_network(fixed, target), shared=shared)["conv"]


def test_channels_that_fill_the_array_leave_no_slot_unused():
    found = bounds(16, 32, 3, 14, Target())
    assert found.mapping == 1
    assert found.slots == 16 * 32 * 9 * 14 * 14


def test_channels_that_do_not_fill_the_array_bound_the_mapping():
    assert bounds(18, 24, 1, 14, Target(rows=12, cols=12)).mapping == pytest.approx(18 / 24)
    assert bounds(24, 18, 1, 14, Target(rows=12, cols=12)).mapping == pytest.approx(18 / 24)


def test_a_depthwise_layer_uses_one_cell_a_row_unless_words_are_packed():
    assert bounds(32, 32, 3, 16, Target(pack_pixels=1), groups=32).mapping == 1 / 16
    assert bounds(32, 32, 3, 16, Target(), groups=32).mapping >= 1 / 16


def test_few_pixels_are_bound_by_weight_bytes():
    target = Target()
    found = bounds(256, 256, 1, 1, target)
    weights = 256 * 256 // target.bus_bytes
    assert found.traffic.weights == weights
    assert weights <= found.traffic.cycles(shared=False) <= 1.25 * weights
    assert found.roofline == 256 / found.traffic.cycles(shared=False)
    assert found.mapping == 1


def test_reads_and_writes_that_take_turns_never_raise_the_bound():
    apart, shared = (bounds(16, 64, 1, 14, Target(), shared=shared) for shared in (False, True))
    assert shared.roofline < apart.roofline
    assert shared.traffic.cycles(shared=True) == shared.traffic.beats


@pytest.mark.parametrize("seed", range(20))
def test_traffic_is_what_the_cycle_model_moves_and_computes(seed):
    target = random_target(seed)
    fixed = random_network(seed, target)
    program = compile_network(fixed, target)
    report = predict(program, MemoryTiming(latency=20))
    traffic = layer_traffic(program)
    finish = max(INSTRUCTION_BYTES // target.bus_bytes, 1)
    assert sum(layer.read for layer in traffic) + finish == report.read_beats
    assert sum(layer.written for layer in traffic) == report.write_beats
    assert [layer.compute for layer in traffic] == [region.calc for region in report.regions]
    assert sum(layer.cycles(shared=False) for layer in traffic[:1]) <= report.regions[0].cycles


@pytest.mark.parametrize("seed", range(20))
def test_no_schedule_computes_in_fewer_slots_than_the_mapping(seed):
    target = random_target(seed)
    fixed = random_network(seed, target)
    program = compile_network(fixed, target)
    found = layer_bounds(fixed, program)
    for region in program.regions:
        assert 0 < found[region.name].slots <= region.slots
