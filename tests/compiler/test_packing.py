"""Depthwise convolutions with several pixels in a word compute what the reference does."""

import dataclasses

import numpy as np
import pytest
from packed import compile_packed, ways

from tilewright.compiler.geometry import PLAIN
from tilewright.compiler.packing import packings
from tilewright.compiler.target import Target
from tilewright.compiler.work import layer_work
from tilewright.quant.reference import run_fixed
from tilewright.sim.isa_model import execute
from tilewright.sim.random_layers import random_depthwise, random_inputs, random_layer

TARGETS = {
    "4x4": Target(rows=4, cols=4, act_depth=512, acc_depth=64),
    "8x8": Target(rows=8, cols=8, act_depth=512, acc_depth=128, bus_bytes=4),
    "8x8-bus2": Target(rows=8, cols=8, act_depth=333, acc_depth=64, bus_bytes=2),
    "12x12": Target(rows=12, cols=12, act_depth=512, acc_depth=128, bus_bytes=8),
    "16x16": Target(act_depth=1024, acc_depth=256, bus_bytes=16),
    "8x8-16bit": Target(rows=8, cols=8, act_bits=16, weight_bits=16, acc_bits=48, act_depth=512),
}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_packed_words_change_no_value(target):
    packed = 0
    for seed in range(12):
        fixed = random_depthwise(seed, target)
        inputs = random_inputs(fixed, seed)
        expected = run_fixed(fixed, {"x0": inputs["x0"][None]})["y"][0]
        for packing in ways(fixed, target):
            program = compile_packed(fixed, target, packing)
            if program is not None:
                packed += packing is not PLAIN
                actual = execute(program, inputs)["y"]
                np.testing.assert_array_equal(actual, expected, f"seed {seed}, {packing}")
    assert packed >= 6


def test_words_are_packed_as_far_as_rows_and_the_target_allow():
    target = Target(act_depth=1024)
    fixed = next(
        fixed
        for fixed in (random_depthwise(seed, target) for seed in range(100))
        if fixed.graph.inputs[0].shape[0] > 4
    )
    assert {packing.pixels for packing in ways(fixed, target)} == {1, 4, 8}
    assert {p.pixels for p in ways(fixed, dataclasses.replace(target, pack_pixels=4))} == {1, 4}
    assert ways(fixed, dataclasses.replace(target, pack_pixels=1)) == (PLAIN,)
    assert ways(fixed, dataclasses.replace(target, cols=8)) == (PLAIN,)
    twelve = dataclasses.replace(target, rows=12, cols=12)
    assert {packing.pixels for packing in ways(fixed, twelve)} == {1, 4}


def test_only_depthwise_layers_are_packed():
    target, others = Target(rows=8, cols=8), 0
    for seed in range(60):
        fixed = random_layer(seed, target)
        (layer,), conv = fixed.layers, fixed.layers[0].layer.conv
        channels = fixed.graph.inputs[0].shape[0]
        if conv is not None and conv.groups == channels == len(layer.bias):
            continue
        work = layer_work(fixed, layer, target)
        assert {p for area in work.areas for p in packings(work, area)} == {PLAIN}
        others += 1
    assert others >= 40
