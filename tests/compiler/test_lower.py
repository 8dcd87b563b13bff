"""Compiled programs, run on the instruction-level model, against the integer reference."""

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tilewright.compiler.isa import INSTRUCTION_BYTES, Opcode, decode
from tilewright.compiler.lower import compile_network
from tilewright.compiler.target import Target
from tilewright.errors import TilewrightError
from tilewright.graph.ir import Conv, Graph, Input, Layer, Op, Output, Pool
from tilewright.quant.fixed import Leaky
from tilewright.quant.formats import QFormat
from tilewright.quant.reference import run_fixed
from tilewright.sim.isa_model import execute
from tilewright.sim.random_layers import (
    fix_randomly,
    random_inputs,
    random_layer,
    random_network,
    random_target,
)


def _check(fixed, target, seed, **options):
    inputs = random_inputs(fixed, seed)
    expected = run_fixed(fixed, {name: x[None] for name, x in inputs.items()})
    program = compile_network(fixed, target, **options)
    for name, values in execute(program, inputs).items():
        np.testing.assert_array_equal(values, expected[name][0], err_msg=name)
    return program


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32 - 1))
@example(68782914)  # column tiles that share loads, one bank slot, blocks that differ
def test_random_layer_on_random_target_equals_reference(seed):
    target = random_target(seed)
    fixed = random_layer(seed, target)
    try:
        _check(fixed, target, seed)
    except TilewrightError as error:
        assert any(reason in str(error) for reason in ("one output needs", "lie too far apart"))


@pytest.mark.slow
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32 - 1))
def test_many_random_layers_equal_reference(seed):
    target = random_target(seed)
    fixed = random_layer(seed, target)
    try:
        _check(fixed, target, seed)
    except TilewrightError as error:
        assert any(reason in str(error) for reason in ("one output needs", "lie too far apart"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_random_network_equals_reference_with_and_without_memory_reuse(seed, keep):
    target = random_target(seed)
    fixed = random_network(seed, target)
    try:
        _check(fixed, target, seed, keep=keep)
    except TilewrightError as error:
        assert any(
            reason in str(error) for reason in ("one output needs", "lie too far apart")
        ) or "lie too far apart" in str(error)


def _graph(*layers, shape=(6, 9, 11)):
    last = layers[-1].name
    return Graph(
        name="net",
        inputs=(Input(name="x", shape=shape),),
        layers=layers,
        outputs=(Output(name=last, tensor=last, shape=()),),
    )


def _conv(name="y", source="x", channels=6, outputs=7, kernel=(3, 3), **geometry):
    weight = np.zeros((outputs, channels // geometry.get("groups", 1), *kernel), np.float32)
    bias = np.zeros(outputs, np.float32)
    max_pool = geometry.pop("max_pool", None)
    residual = geometry.pop("residual", None)
    return Layer(
        name=name,
        op=Op.CONV,
        inputs=(source,),
        conv=Conv(weight=weight, bias=bias, **geometry),
        max_pool=max_pool,
        residual=residual,
    )


SMALL = Target(rows=4, cols=4, act_depth=256, acc_depth=64, acc_bits=40)


def _fixed(graph, target=SMALL, seed=0):
    for attempt in range(100):
        fixed = fix_randomly(graph, target, np.random.default_rng(seed * 100 + attempt))
        if fixed is not None:
            return fixed
    raise AssertionError("no random network fits")


def test_strides_larger_than_the_kernel_and_lopsided_pads():
    layer = _conv(kernel=(2, 1), stride=(3, 2), pads=(0, 2, 3, 1))
    _check(_fixed(_graph(layer)), SMALL, 1)


def test_padding_wider_than_a_tile_is_stored_as_zeros():
    layer = _conv(kernel=(3, 3), pads=(9, 8, 7, 12))
    _check(_fixed(_graph(layer, shape=(6, 2, 3))), SMALL, 1)


def test_a_tall_tile_beside_the_map_is_zeros():
    target = dataclasses.replace(SMALL, act_depth=1024, acc_depth=512, bus_bytes=4)
    layer = _conv(channels=2, outputs=2, kernel=(1, 1), pads=(0, 0, 3, 3))
    _check(_fixed(_graph(layer, shape=(2, 600, 1)), target), target, 1)


@pytest.mark.parametrize("shape", [(6, 1, 1), (6, 1, 13), (6, 13, 1)])
def test_maps_of_one_row_or_one_column(shape):
    _check(_fixed(_graph(_conv(pads=(1, 1, 1, 1)), shape=shape)), SMALL, 1)


@pytest.mark.parametrize("bus", [1, 2, 4, 8, 16, 32])
@pytest.mark.parametrize("op", [Op.MAX_POOL, Op.AVG_POOL])
def test_padded_pooling_for_every_bus_alignment(bus, op):
    target = dataclasses.replace(SMALL, bus_bytes=bus)
    pool = Pool(kernel=(3, 3), stride=(2, 2), pads=(1, 1, 1, 1))
    layer = Layer(name="y", op=op, inputs=("x",), pool=pool)
    _check(_fixed(_graph(layer, shape=(6, 12, 13)), target), target, 1)


def test_an_average_over_more_pixels_than_accumulators():
    pool = Pool(kernel=(13, 12), stride=(1, 1))
    layer = Layer(name="y", op=Op.AVG_POOL, inputs=("x",), pool=pool)
    _check(_fixed(_graph(layer, shape=(6, 13, 12))), SMALL, 1)


def test_a_tensor_used_twice_and_a_residual_from_the_input():
    first = _conv("a", outputs=6, pads=(1, 1, 1, 1), residual="x")
    layers = (first, Layer(name="y", op=Op.ADD, inputs=("a", "a", "x")))
    _check(_fixed(_graph(*layers)), SMALL, 1)


def _calc_tiles(program):
    """Weight tiles that each fill takes, and how many of them are shifted."""
    tiles = shifted = 0
    for number in range(program.count):
        start = program.instructions + number * INSTRUCTION_BYTES
        opcode, fields = decode(program.image[start : start + INSTRUCTION_BYTES])
        if opcode is Opcode.CALC:
            count = fields["tiles0"] * fields["tiles1"] * fields["tiles2"]
            tiles += count
            shifted += count * fields["shift"]
    fills = program.regions[0].tiles
    return tiles / fills, shifted / fills


def _scaled(weight_frac, acc_frac):
    """A 1x1 convolution of one block with a residual, with these lengths beyond its input's."""
    layer = _conv(channels=4, outputs=4, kernel=(1, 1), residual="x")
    fixed = _fixed(_graph(layer, shape=(4, 5, 5)))
    weight = np.random.default_rng(5).integers(-128, 128, (4, 4, 1, 1))
    weight[:, :2] = [[[-128]], [[127]]]
    changed = dataclasses.replace(
        fixed.layers[0],
        weight=weight,
        weight_bits=8,
        weight_frac=np.array(weight_frac, np.int64),
        acc_frac=np.array(acc_frac, np.int64) + fixed.formats["x"].frac,
    )
    return dataclasses.replace(fixed, layers=(changed,))


@pytest.mark.parametrize(
    ("shift", "tiles", "shifted"), [(0, 1, 0), (6, 1, 0), (7, 1, 1), (13, 1, 1), (14, 2, 2)]
)
def test_a_power_of_two_takes_one_tile_until_its_shifted_part_exceeds_a_weight(
    shift, tiles, shifted
):
    fixed = _scaled([shift] * 4, [shift] * 4)
    assert _calc_tiles(_check(fixed, SMALL, 1)) == (1 + tiles, shifted)


@pytest.mark.parametrize(
    ("shifts", "tiles", "shifted"),
    [
        ([0, 0, 0, 0], 1, 0),
        ([3, 3, 3, 3], 2, 1),
        ([0, 6, 7, 2], 2, 1),
        ([7, 7, 7, 7], 1, 1),
        ([9, 9, 9, 9], 4, 4),
    ],
)
def test_scaled_weights_take_a_high_and_a_low_tile(shifts, tiles, shifted):
    fixed = _scaled([-shift for shift in shifts], [0] * 4)
    assert _calc_tiles(_check(fixed, SMALL, 1)) == (1 + tiles, shifted)


def test_a_reciprocal_takes_a_high_and_a_low_tile():
    layer = Layer(name="y", op=Op.AVG_POOL, inputs=("x",), pool=Pool(kernel=(3, 3), stride=(3, 3)))
    program = _check(_fixed(_graph(layer, shape=(4, 3, 3))), SMALL, 1)
    assert _calc_tiles(program) == (2, 1)  # round(2**12 / 9) == 455 == 3 * 128 + 71


def test_fused_pooling_and_depthwise_with_a_multiplier():
    pool = Pool(kernel=(2, 3), stride=(2, 1), pads=(0, 0, 1, 1))
    layers = (
        _conv("a", outputs=12, groups=6, pads=(1, 1, 1, 1)),
        _conv("y", "a", 12, 5, (1, 1), max_pool=pool),
    )
    _check(_fixed(_graph(*layers)), SMALL, 1)


@pytest.mark.parametrize("bits", [7, 8])
def test_unsigned_maps_meet_padding_residuals_pooling_and_signed_ones(bits):
    pool = Pool(kernel=(3, 3), stride=(2, 2), pads=(1, 1, 1, 1))
    layers = (
        _conv("a", outputs=6, pads=(1, 1, 1, 1)),
        _conv("b", "a", 6, 6, pads=(1, 1, 1, 1), residual="a"),
        Layer(name="c", op=Op.CONCAT, inputs=("b", "x")),
        Layer(name="d", op=Op.AVG_POOL, inputs=("c",), pool=pool),
        Layer(name="y", op=Op.MAX_POOL, inputs=("d",), pool=pool),
    )
    fixed = _fixed(_graph(*layers))
    formats = {
        name: dataclasses.replace(form, bits=bits, signed=name in ("x", "c"))
        for name, form in fixed.formats.items()
    }
    changed = tuple(
        dataclasses.replace(item, output=form, lo=form.min, hi=form.max)
        for item, form in ((item, formats[item.name]) for item in fixed.layers)
    )
    _check(dataclasses.replace(fixed, formats=formats, layers=changed), SMALL, 2)


def test_a_layer_larger_than_every_buffer():
    target = Target(rows=3, cols=5, act_depth=64, acc_depth=16, acc_bits=40, bus_bytes=4)
    layer = _conv(channels=13, outputs=11, pads=(1, 1, 1, 1))
    program = _check(_fixed(_graph(layer, shape=(13, 17, 19)), target), target, 1)
    assert program.regions[0].tiles > 30


def test_one_layer_alone_takes_its_inputs_and_gives_its_output():
    fixed = _fixed(_graph(_conv("a", outputs=6, pads=(1, 1, 1, 1)), _conv("y", "a")))
    program = compile_network(fixed, SMALL, layer="y")
    assert (program.inputs, program.outputs) == (("a",), ("y",))
    inputs = {name: x[None] for name, x in random_inputs(fixed, 1).items()}
    expected = run_fixed(fixed, inputs)
    values = execute(program, {"a": expected["a"][0]})["y"]
    np.testing.assert_array_equal(values, expected["y"][0])


def test_the_tiles_of_a_layer_together_are_the_layer():
    fixed = _fixed(_graph(_conv(pads=(1, 1, 1, 1))))
    inputs = random_inputs(fixed, 1)
    expected = run_fixed(fixed, {"x": inputs["x"][None]})["y"][0]
    count = compile_network(fixed, SMALL).regions[0].tiles
    assert count > 2
    total = sum(
        execute(compile_network(fixed, SMALL, layer="y", tile=tile), inputs)["y"]
        for tile in range(count)
    )
    np.testing.assert_array_equal(total, expected)


def test_progress_names_each_layer():
    seen = []
    fixed = _fixed(_graph(_conv("a", outputs=6), _conv("y", "a")))
    compile_network(fixed, SMALL, progress=lambda *event: seen.append(event))
    assert seen == [("compile a", 0, 2), ("compile y", 1, 2), ("compiled", 2, 2)]


def _refused(fixed, target, *parts, **options):
    with pytest.raises(TilewrightError) as caught:
        compile_network(fixed, target, **options)
    for part in parts:
        assert re.search(part, str(caught.value)), str(caught.value)


def test_what_does_not_fit_is_refused_with_layer_found_and_allowed():
    fixed = _fixed(_graph(_conv(kernel=(9, 9), pads=(0, 0, 0, 0))))
    tight = dataclasses.replace(SMALL, act_depth=64, bus_bytes=4)
    _refused(fixed, tight, "'y'", "needs 81 words", "act_depth is 64", "at least 81")
    pooled = _conv(kernel=(1, 1), max_pool=Pool(kernel=(9, 9), stride=(1, 1)))
    few = dataclasses.replace(SMALL, bus_bytes=4)
    _refused(_fixed(_graph(pooled)), few, "'y'", "81 accumulators", "acc_depth is 64")


def test_widths_beyond_the_target_are_refused():
    fixed = _fixed(_graph(_conv()))
    wide = dataclasses.replace(fixed.layers[0], weight_bits=12)
    _refused(
        dataclasses.replace(fixed, layers=(wide,)), SMALL, "'y'", "12 bits", "weight_bits is 8"
    )
    narrow = dataclasses.replace(SMALL, act_bits=2)
    formats = {name: dataclasses.replace(f, bits=5) for name, f in fixed.formats.items()}
    _refused(dataclasses.replace(fixed, formats=formats), narrow, "'x'", "5 bits", "act_bits of 2")


def test_accumulators_biases_clips_and_slopes_beyond_the_target_are_refused():
    fixed = _fixed(_graph(_conv()))

    def changed(**values):
        layer = dataclasses.replace(fixed.layers[0], **values)
        return dataclasses.replace(fixed, layers=(layer,))

    huge = np.full(7, 1 << 39)
    _refused(changed(bias=huge), SMALL, "'y'", "acc_bits of 40", "acc_bits of at least 41")
    _refused(changed(hi=128), SMALL, "'y'", r"\[-?\d+, 128\]", r"\[-128, 127\]")
    fine = QFormat(8, int(fixed.layers[0].acc_frac.min()) + 8, signed=False)
    _refused(changed(output=fine, lo=0, hi=255), SMALL, "'y'", "unsigned", "7 finer", "or a sign")
    coarse = QFormat(8, int(fixed.layers[0].acc_frac.min()) - 40, signed=False)
    _refused(changed(output=coarse, lo=0, hi=255), SMALL, "'y'", "offsets", "40 bits")
    leaky = Leaky(multiplier=3, shift=4)
    plain = dataclasses.replace(SMALL, leaky=False)
    _refused(changed(leaky=leaky), plain, "'y'", "LeakyReLU", "leaky = true")
    _refused(changed(leaky=Leaky(multiplier=256, shift=4)), SMALL, "'y'", "0..255")


def test_geometry_beyond_the_fields_is_refused():
    _refused(_fixed(_graph(_conv(pads=(256, 0, 0, 0)))), SMALL, "'y'", "exceed 255")
    pool = Pool(kernel=(300, 1), stride=(1, 1))
    layer = Layer(name="y", op=Op.MAX_POOL, inputs=("x",), pool=pool)
    _refused(_fixed(_graph(layer, shape=(1, 300, 2))), SMALL, "'y'", "exceeds 255")


def test_unknown_layers_and_tiles_are_refused():
    fixed = _fixed(_graph(_conv("a", outputs=6), _conv("y", "a")))
    _refused(fixed, SMALL, "no layer 'z'", "a, y", layer="z")
    _refused(fixed, SMALL, "tiles 0..", "not 999", layer="y", tile=999)
    _refused(fixed, SMALL, "tile = 0 needs a layer", tile=0)


def test_fractional_lengths_too_far_apart_are_refused():
    fixed = _fixed(_graph(Layer(name="y", op=Op.ADD, inputs=("x", "x"))))
    layer = dataclasses.replace(fixed.layers[0], acc_frac=fixed.layers[0].acc_frac + 28)
    target = dataclasses.replace(SMALL, acc_bits=48, weight_bits=2)
    _refused(dataclasses.replace(fixed, layers=(layer,)), target, "'y'", "too far apart")
