"""Terms that pruning has zeroed take no weight tile, and leaving them out changes no value."""

import dataclasses

import numpy as np
import pytest
from pruned import compile_joint, groups, without_vectors

from tilewright.compiler.bounds import layer_traffic, mapping_slots
from tilewright.compiler.layout import lane_map
from tilewright.compiler.listing import instructions
from tilewright.compiler.lower import compile_network
from tilewright.compiler.target import Target
from tilewright.compiler.work import layer_work
from tilewright.compress.vectors import Array, balanced_mask, tile_counts
from tilewright.graph.ir import Conv, Graph, Input, Layer, Op, Output
from tilewright.quant.reference import run_fixed
from tilewright.sim.isa_model import execute
from tilewright.sim.random_layers import fix_randomly, random_inputs, random_layer, random_target


def test_leaving_out_zero_terms_changes_no_value():
    compiled = several = 0
    for seed in range(50):
        target = random_target(seed + 1000)
        fixed = without_vectors(random_layer(seed, target), seed, target.cols)
        if fixed.layers[0].weight is None:
            continue
        inputs = random_inputs(fixed, seed)
        values = run_fixed(fixed, {name: x[None] for name, x in inputs.items()})
        for joint in groups(fixed, target):
            program = compile_joint(fixed, target, joint)
            if program is not None:
                actual = execute(program, inputs)["y"]
                np.testing.assert_array_equal(actual, values["y"][0], f"seed {seed}, {joint}")
                compiled += 1
                several += joint > 1
    assert compiled >= 35
    assert several >= 12


def convolution(inputs, outputs, target, size=14, groups=1):
    """A quantized 3x3 convolution of random weights, none of which is zero."""
    rng = np.random.default_rng(0)
    conv = Conv(
        weight=np.ones((outputs, inputs // groups, 3, 3), np.float32),
        bias=np.zeros(outputs, np.float32),
        pads=(1, 1, 1, 1),
        groups=groups,
    )
    graph = Graph(
        name="conv",
        inputs=(Input(name="x0", shape=(inputs, size, size)),),
        layers=(Layer(name="y", op=Op.CONV, inputs=("x0",), conv=conv),),
        outputs=(Output(name="y", tensor="y", shape=()),),
    )
    fixed = fix_randomly(graph, target, rng)
    assert fixed is not None
    weight = rng.integers(1, 8, (outputs, inputs // groups, 3, 3))
    return dataclasses.replace(fixed, layers=(dataclasses.replace(fixed.layers[0], weight=weight),))


def pruned(fixed, target, keep):
    """The one-layer network, bank-balanced."""
    (layer,) = fixed.layers
    lanes = lane_map(layer.weight.shape[1], target).reshape(-1, target.rows)
    array = Array(cols=target.cols, lanes=lanes)
    weight = layer.weight * balanced_mask(layer.weight, array, keep)
    return dataclasses.replace(
        fixed, layers=(dataclasses.replace(layer, weight=weight),)
    ), tile_counts(weight, array)


@pytest.mark.parametrize(("inputs", "outputs"), [(32, 32), (24, 40), (64, 16)])
@pytest.mark.parametrize("keep", [0.5, 0.25])
def test_balanced_layers_take_the_tiles_that_each_bank_keeps(inputs, outputs, keep):
    target = Target(rows=8, cols=8, acc_depth=256)
    fixed, counts = pruned(convolution(inputs, outputs, target), target, keep)
    traffic = layer_traffic(compile_network(fixed, target))[0]
    assert traffic.compute == counts.sum() * 14 * 14
    assert counts.sum() == int(keep * (inputs // 8) * 9 * (outputs // 8))
    slots = mapping_slots(layer_work(fixed, fixed.layers[0], target))
    assert slots == counts.sum() * 14 * 14 * 64


def test_layers_without_zero_terms_are_tiled_as_ever():
    target = Target(rows=8, cols=8)
    fixed = convolution(24, 16, target)
    assert groups(fixed, target) == ()


def test_macro_tiles_of_any_height_share_one_weight_stream():
    target = Target(rows=8, cols=8, act_depth=512, acc_depth=64)
    fixed, counts = pruned(convolution(16, 8, target, size=31), target, 0.5)
    program = compile_joint(fixed, target, 2)
    assert program is not None
    found = instructions(program)
    loads = [fields for name, fields in found if name == "LOAD"]
    assert len({f["rows"] + f["pad_top"] + f["pad_bottom"] for f in loads}) > 1
    streams = [fields for name, fields in found if name == "WEIGHTS"]
    assert len(streams) > 1
    assert {f["tiles"] for f in streams} == {counts.sum()}
    widths = {f["cols"] + f["pad_left"] + f["pad_right"] for f in loads}
    assert len({f["address"] for f in streams}) == len(widths)


def test_a_layer_of_zeros_still_gives_its_bias():
    target = Target(rows=4, cols=4)
    fixed = convolution(8, 8, target)
    layer = dataclasses.replace(
        fixed.layers[0],
        weight=np.zeros_like(fixed.layers[0].weight),
        bias=np.arange(8) << int(fixed.layers[0].shift.max()),
    )
    fixed = dataclasses.replace(fixed, layers=(layer,))
    inputs = random_inputs(fixed, 0)
    expected = run_fixed(fixed, {"x0": inputs["x0"][None]})["y"][0]
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(execute(compile_network(fixed, target), inputs)["y"], expected)
