"""The fast reference against plain Python integers, operation by operation."""

from dataclasses import replace
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tilewright.errors import TilewrightError
from tilewright.graph.ir import (
    Activation,
    ActivationKind,
    Conv,
    Graph,
    Input,
    Layer,
    Op,
    Output,
    Pool,
)
from tilewright.quant.accumulator import (
    ACC_LIMIT,
    Accumulator,
    as_tensor,
    average_fraction,
    average_multipliers,
)
from tilewright.quant.fixed import FixedGraph, FixedLayer, Leaky
from tilewright.quant.formats import QFormat
from tilewright.quant.reference import (
    accumulator_bound,
    dequantize_outputs,
    quantize_inputs,
    run_fixed,
    run_layer,
    walk_fixed,
)

# ---- plain Python integers ---------------------------------------------------------------------


def half_up(value):
    return floor(value + Fraction(1, 2))


def limit(value: int, low: int, high: int) -> int:
    return max(low, min(high, value))


def scaled(value, shift):
    assert shift >= 0
    return value * 2**shift


def plain_convolution(layer, x, c, y, x_):
    conv, total = layer.layer.conv, 0
    per_group = conv.weight.shape[1]
    first = c // (conv.weight.shape[0] // conv.groups) * per_group
    for i in range(per_group):
        for ky in range(conv.kernel[0]):
            for kx in range(conv.kernel[1]):
                row = y * conv.stride[0] + ky * conv.dilation[0] - conv.pads[0]
                col = x_ * conv.stride[1] + kx * conv.dilation[1] - conv.pads[2]
                if 0 <= row < len(x[0]) and 0 <= col < len(x[0][0]):
                    total += int(layer.weight[c, i, ky, kx]) * x[first + i][row][col]
    return total


def plain_window(pool, height, width, y, x):
    (top, bottom, rows), (left, right, cols) = (
        pool.windows(0, height)[y],
        pool.windows(1, width)[x],
    )
    return [(r, c) for r in range(top, bottom) for c in range(left, right)], rows * cols


def plain_accumulators(layer, xs, formats, shapes):
    """acc[c][y][x] before pooling, over Python integers."""
    ir, fracs = layer.layer, [formats[n].frac for n in layer.layer.all_inputs]
    channels, height, width = shapes["before pooling"]
    source = [(i, c) for i, x in enumerate(xs) for c in range(len(x))]

    def value(c, y, x):
        acc_frac = int(layer.acc_frac[c])
        if ir.op is Op.CONV:
            acc = scaled(
                plain_convolution(layer, xs[0], c, y, x),
                acc_frac - int(layer.weight_frac[c]) - fracs[0],
            )
            if ir.residual is not None:
                acc += scaled(xs[1][c][y][x], acc_frac - fracs[1])
            return acc
        if ir.op is Op.CONCAT:
            i, local = source[c]
            return scaled(xs[i][local][y][x], acc_frac - fracs[i])
        if ir.op is Op.AVG_POOL:
            window, n = plain_window(ir.pool, len(xs[0][0]), len(xs[0][0][0]), y, x)
            f = acc_frac - fracs[0]
            return sum(xs[0][c][r][k] for r, k in window) * half_up(Fraction(2**f, n))
        return sum(scaled(v[c][y][x], acc_frac - frac) for v, frac in zip(xs, fracs, strict=True))

    return [
        [[value(c, y, x) for x in range(width)] for y in range(height)] for c in range(channels)
    ]


def plain_postprocess(layer: FixedLayer, c: int, acc: int) -> int:
    shift = limit(int(layer.acc_frac[c]) - layer.output.frac, -15, 48)
    value = half_up(Fraction(acc + int(layer.bias[c])) / Fraction(2) ** shift)
    if layer.leaky is not None:
        value = limit(value, -(2**17), 2**17 - 1)
        if value < 0:
            value = half_up(Fraction(value * layer.leaky.multiplier, 2**layer.leaky.shift))
    return limit(value, layer.lo, layer.hi)


def plain_layer(layer, xs, formats, before):
    acc = plain_accumulators(layer, xs, formats, {"before pooling": before})
    pool = layer.layer.max_pool
    if layer.layer.op is Op.MAX_POOL:
        pool = layer.layer.pool
    if pool is not None:
        height, width = before[1:]
        out_h, out_w = pool.output_size(height, width)
        acc = [
            [
                [
                    max(plane[r][k] for r, k in plain_window(pool, height, width, y, x)[0])
                    for x in range(out_w)
                ]
                for y in range(out_h)
            ]
            for plane in acc
        ]
    return [
        [[plain_postprocess(layer, c, v) for v in row] for row in plane]
        for c, plane in enumerate(acc)
    ]


# ---- random layers -----------------------------------------------------------------------------

BITS = st.integers(2, 16)
FRAC = st.integers(-12, 20)
FORMAT = st.builds(QFormat, BITS, FRAC)


@st.composite
def pools(draw, averaging=False):
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    pads = tuple(draw(st.integers(0, k - 1)) for k in kernel for _ in range(2))
    extra = tuple(draw(st.integers(0, int(kernel[i] > pads[2 * i + 1] + 1))) for i in range(2))
    return Pool(
        kernel=kernel,
        stride=stride,
        pads=pads,
        extra=extra,
        count_pads=averaging and draw(st.booleans()),
    )


@st.composite
def convolutions(draw):
    groups = draw(st.integers(1, 3))
    inputs, outputs = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    shape = (outputs, inputs // groups, *kernel)
    return Conv(
        weight=np.zeros(shape, np.float32),
        bias=np.zeros(outputs, np.float32),
        stride=(draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        dilation=(draw(st.integers(1, 2)), draw(st.integers(1, 2))),
        pads=tuple(draw(st.integers(0, 2)) for _ in range(4)),
        groups=groups,
    )


ACTIVATIONS = st.one_of(
    st.just(Activation()),
    st.just(Activation(kind=ActivationKind.CLIP, lo=0.0)),
    st.builds(
        lambda hi: Activation(kind=ActivationKind.CLIP, lo=0.0, hi=hi), st.floats(0.01, 1000.0)
    ),
    st.just(Activation(kind=ActivationKind.LEAKY, slope=0.1)),
)


@st.composite
def cases(draw):
    """A layer, formats and integers of its inputs, and its shape before pooling."""
    op = draw(st.sampled_from(list(Op)))
    activation = draw(ACTIVATIONS)
    seed = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    height, width = draw(st.integers(4, 7)), draw(st.integers(4, 7))
    extra: dict[str, Any] = {}
    shapes = {"a": (draw(st.integers(1, 4)), height, width)}
    inputs: tuple[str, ...] = ("a",)
    if op is Op.CONV:
        conv = draw(convolutions())
        shapes["a"] = (conv.groups * conv.weight.shape[1], height + 1, width + 1)
        extra["conv"] = conv
        if draw(st.booleans()):
            extra["residual"] = "r"
            shapes["r"] = conv.output_shape(shapes["a"])
        before = conv.output_shape(shapes["a"])
        if draw(st.booleans()) and min(before[1:]) >= 3:
            extra["max_pool"] = draw(pools())
    elif op in (Op.ADD, Op.CONCAT):
        inputs = tuple("abc"[: draw(st.integers(2, 3))])
        for name in inputs[1:]:
            channels = shapes["a"][0] if op is Op.ADD else draw(st.integers(1, 3))
            shapes[name] = (channels, height, width)
    elif op in (Op.MAX_POOL, Op.AVG_POOL):
        extra["pool"] = draw(pools(averaging=op is Op.AVG_POOL))
    ir = Layer(name="layer", op=op, inputs=inputs, activation=activation, **extra)
    graph = Graph(
        name="g",
        inputs=tuple(Input(name=n, shape=s) for n, s in shapes.items()),
        layers=(ir,),
        outputs=(Output(name="o", tensor="layer", shape=()),),
    )
    out_shape = graph.shapes["layer"]
    before = out_shape
    if op is Op.CONV:
        before = extra["conv"].output_shape(shapes["a"])
    elif op is Op.MAX_POOL:
        before = shapes["a"]
    formats = {name: draw(FORMAT) for name in shapes}
    output = draw(FORMAT)
    layer = make_fixed(draw, seed, ir, formats, output, out_shape[0], shapes)
    xs = [draw_integers(seed, formats[n], shapes[n]) for n in ir.all_inputs]
    return graph, layer, formats, xs, before


def draw_integers(rng, form, shape):
    """Integers of a format, its two extremes more often than chance would have them."""
    values = rng.integers(form.min, form.max + 1, shape)
    pick = rng.integers(0, 4, shape)
    return np.where(pick == 0, form.min, np.where(pick == 1, form.max, values))


def make_fixed(draw, rng, ir, formats, output, channels, shapes):
    fracs = [formats[n].frac for n in ir.all_inputs]
    weight, weight_bits, weight_frac = None, 8, np.zeros(channels, np.int64)
    acc_frac = np.full(channels, max(fracs))
    bias = np.zeros(channels, np.int64)
    if ir.conv is not None:
        weight_bits = draw(BITS)
        weight_frac = rng.integers(-3, 12, channels)
        weight = draw_integers(rng, QFormat(weight_bits, 0), ir.conv.weight.shape)
        acc_frac = weight_frac + fracs[0]
        if ir.residual is not None:
            acc_frac = np.maximum(acc_frac, fracs[1])
        bias = rng.integers(-(2**20), 2**20, channels)
    elif ir.op is Op.AVG_POOL:
        acc_frac = acc_frac + average_fraction(ir.pool, *shapes["a"][1:])
    lo, hi = output.min, output.max
    if ir.activation.kind is ActivationKind.CLIP:
        lo, hi = (int(output.quantize(v)) for v in (ir.activation.lo, ir.activation.hi))
    leaky = Leaky(multiplier=205, shift=11) if ir.activation.kind is ActivationKind.LEAKY else None
    return FixedLayer(
        layer=ir,
        weight=weight,
        weight_bits=weight_bits,
        weight_frac=weight_frac,
        acc_frac=acc_frac,
        bias=bias,
        output=output,
        lo=lo,
        hi=hi,
        leaky=leaky,
    )


def within_limit(layer, formats):
    return accumulator_bound(layer, formats) < ACC_LIMIT


# ---- the reference equals plain integers -------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(cases())
def test_every_operation_equals_plain_integers(case):
    graph, layer, formats, xs, before = case
    assume(within_limit(layer, formats))
    run = run_layer(layer, [x[None] for x in xs], formats)
    expected = plain_layer(layer, [x.tolist() for x in xs], formats, before)
    assert run.values.dtype == np.int64
    assert run.values.shape == (1, *graph.shapes["layer"])
    assert run.values[0].tolist() == expected


@settings(max_examples=150, deadline=None)
@given(cases())
def test_no_accumulator_exceeds_the_bound(case):
    _, layer, formats, xs, before = case
    assume(within_limit(layer, formats))
    bound = accumulator_bound(layer, formats)
    acc = plain_accumulators(layer, [x.tolist() for x in xs], formats, {"before pooling": before})
    for c, plane in enumerate(acc):
        for value in (v for row in plane for v in row):
            assert max(abs(value), abs(value + int(layer.bias[c]))) <= bound


@settings(max_examples=60, deadline=None)
@given(cases(), st.integers(2, 4))
def test_images_of_a_batch_do_not_meet(case, batch):
    _, layer, formats, xs, _ = case
    assume(within_limit(layer, formats))
    stacked = [np.stack([np.roll(x, k) for k in range(batch)]) for x in xs]
    together = run_layer(layer, stacked, formats)
    alone = [run_layer(layer, [s[k : k + 1] for s in stacked], formats) for k in range(batch)]
    assert (together.values == np.concatenate([a.values for a in alone])).all()
    assert together.saturated == sum(a.saturated for a in alone)


@settings(max_examples=60, deadline=None)
@given(cases(), st.sampled_from(["pixels first", "backwards", "read-only"]))
def test_how_inputs_lie_in_memory_changes_nothing(case, manner):
    _, layer, formats, xs, _ = case
    assume(within_limit(layer, formats))
    plain = [np.stack([x, x[:, ::-1, ::-1]]) for x in xs]
    if manner == "pixels first":
        laid = [x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2) for x in plain]
    elif manner == "backwards":
        laid = [x[:, :, ::-1].copy()[:, :, ::-1] for x in plain]
    else:
        laid = [np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape) for x in plain]
    wanted, found = run_layer(layer, plain, formats), run_layer(layer, laid, formats)
    np.testing.assert_array_equal(found.values, wanted.values)
    assert found.saturated == wanted.saturated


# ---- single facts ------------------------------------------------------------------------------


BYTE = QFormat(8, 0)


def fixed_conv(weight, *, x=BYTE, out=BYTE, bias=None, activation=None, **fixed):
    weight = np.asarray(weight, np.int64)
    channels = len(weight)
    conv = Conv(weight=weight.astype(np.float32), bias=np.zeros(channels, np.float32))
    ir = Layer(
        name="conv", op=Op.CONV, inputs=("x",), conv=conv, activation=activation or Activation()
    )
    values = {
        "weight_bits": 8,
        "weight_frac": np.zeros(channels, np.int64),
        "acc_frac": np.full(channels, x.frac),
        "bias": np.zeros(channels, np.int64) if bias is None else np.asarray(bias, np.int64),
        "output": out,
        "lo": out.min,
        "hi": out.max,
    }
    return FixedLayer(layer=ir, weight=weight, **(values | fixed)), {"x": x}


def pixels(*values):
    return np.array(values, np.int64).reshape(1, 1, 1, -1)


def test_halves_round_up_also_below_zero():
    layer, formats = fixed_conv([[[[1]]]], x=QFormat(8, 1))
    run = run_layer(layer, [pixels(-5, -3, -1, 1, 3, 5)], formats)
    assert run.values.ravel().tolist() == [-2, -1, 0, 1, 2, 3]


def test_values_saturate_at_both_ends_and_are_counted():
    layer, formats = fixed_conv([[[[2]]]])
    run = run_layer(layer, [pixels(-128, -65, -64, 63, 64, 127)], formats)
    assert run.values.ravel().tolist() == [-128, -128, -128, 126, 127, 127]
    assert run.saturated == 4
    layer, formats = fixed_conv([[[[1]]]])
    assert run_layer(layer, [pixels(-128, 127)], formats).saturated == 0


def test_most_negative_times_most_negative_is_exact():
    layer, formats = fixed_conv(
        [[[[-(2**15)]]]], x=QFormat(16, 0), out=QFormat(16, -15), weight_bits=16
    )
    run = run_layer(layer, [pixels(-(2**15), 2**15 - 1)], formats)
    assert run.values.ravel().tolist() == [2**15 - 1, -(2**15) + 1]


def test_what_an_activation_clips_is_not_saturation():
    relu = Activation(kind=ActivationKind.CLIP, lo=0.0)
    layer, formats = fixed_conv([[[[2]]]], activation=relu, lo=0)
    assert run_layer(layer, [pixels(-128, -100, 100)], formats).saturated == 1
    relu6 = Activation(kind=ActivationKind.CLIP, lo=0.0, hi=6.0)
    layer, formats = fixed_conv([[[[2]]]], activation=relu6, lo=0, hi=6)
    assert run_layer(layer, [pixels(-128, -100, 100)], formats).saturated == 0
    layer, formats = fixed_conv([[[[2]]]], activation=relu6, lo=0, out=QFormat(3, 0), hi=3)
    assert run_layer(layer, [pixels(-128, 1, 100)], formats).saturated == 1


@pytest.mark.parametrize("shift", [-40, -16, -15, 47, 48, 60])
def test_shifts_beyond_the_hardware_give_what_unlimited_shifts_would(shift):
    layer, formats = fixed_conv([[[[1]]]], x=QFormat(16, 0), out=QFormat(16, -shift))
    run = run_layer(layer, [pixels(-(2**15), -1, 0, 1, 2**15 - 1)], formats)
    expected = [
        limit(half_up(Fraction(v) / Fraction(2) ** shift), -(2**15), 2**15 - 1)
        for v in (-(2**15), -1, 0, 1, 2**15 - 1)
    ]
    assert run.values.ravel().tolist() == expected


def test_bound_is_reached_exactly_with_bias_of_either_sign():
    for bias in (-1000, 1000):
        layer, formats = fixed_conv([[[[3]], [[-5]]]], bias=[bias])
        positive = 3 * 127 + 5 * 128
        negative = -(3 * 128) - 5 * 127
        expected = max(positive + max(bias, 0), -negative - min(bias, 0))
        assert accumulator_bound(layer, formats) == expected


def test_bound_of_a_wide_layer_is_beyond_float_and_still_exact():
    weight = np.full((1, 2**15, 1, 1), -(2**15))
    layer, formats = fixed_conv(weight, x=QFormat(16, 0), bias=[2**45 + 1], weight_bits=16)
    assert accumulator_bound(layer, formats) == 2**45 + 2**45 + 1


def test_bound_counts_the_sum_before_a_bias_that_shrinks_it():
    layer, formats = fixed_conv([[[[-100]]]], bias=[-50])
    assert accumulator_bound(layer, formats) == 12800


@pytest.mark.parametrize("terms", [1031, 1041, 1100])
def test_odd_sums_on_either_side_of_what_float32_holds_are_exact(terms):
    layer, formats = fixed_conv(np.full((1, terms, 1, 1), 127), out=QFormat(16, -10))
    assert (accumulator_bound(layer, formats) < 2**24) == (terms == 1031)
    for count in (terms, terms - 1, terms - 2):
        x = np.zeros((1, terms, 1, 1), np.int64)
        x[0, :count] = 127
        assert int(Accumulator(layer, formats)([as_tensor(x)])) == count * 127**2


def test_averages_use_reciprocals_rounded_half_up():
    pool = Pool(kernel=(2, 3), stride=(1, 1), pads=(1, 1, 0, 0))
    assert average_fraction(pool, 4, 4) == 8 + 3
    assert average_multipliers(pool, 4, 4)[:, 0].tolist() == [683, 341, 341, 341, 683]
    assert average_fraction(Pool(kernel=(2, 4), stride=(2, 4)), 4, 4) == 3


# ---- whole networks ----------------------------------------------------------------------------


def residual_network():
    conv = Conv(weight=np.ones((2, 2, 1, 1), np.float32), bias=np.zeros(2, np.float32))
    first = Layer(name="first", op=Op.CONV, inputs=("image",), conv=conv)
    second = Layer(name="second", op=Op.CONV, inputs=("first",), conv=conv, residual="first")
    pool = Layer(
        name="pool", op=Op.AVG_POOL, inputs=("second",), pool=Pool(kernel=(3, 3), stride=(3, 3))
    )
    graph = Graph(
        name="residual",
        inputs=(Input(name="image", shape=(2, 3, 3), mean=(1.0, 2.0), scale=(0.5,)),),
        layers=(first, second, pool),
        outputs=(Output(name="out", tensor="pool", shape=(2,)),),
    )
    one, _ = fixed_conv(np.ones((2, 2, 1, 1)))
    formats = {
        "image": QFormat(8, 3),
        "first": QFormat(8, 2),
        "second": QFormat(8, 1),
        "pool": QFormat(8, 2),
    }
    fixed_first = replace(one, layer=first, acc_frac=np.full(2, 3), output=formats["first"])
    fixed_second = replace(one, layer=second, acc_frac=np.full(2, 2), output=formats["second"])
    fixed_pool = replace(
        one, layer=pool, weight=None, acc_frac=np.full(2, 1 + 12), output=formats["pool"]
    )
    return FixedGraph(graph=graph, formats=formats, layers=(fixed_first, fixed_second, fixed_pool))


def test_whole_network_runs_from_raw_values_to_real_outputs():
    fixed = residual_network()
    raw = {"image": np.full((2, 2, 3, 3), 5.0)}
    integers = quantize_inputs(fixed, raw)
    assert integers["image"][0, :, 0, 0].tolist() == [16, 12]
    values = run_fixed(fixed, integers)
    assert list(values) == ["first", "second", "pool"]
    assert values["first"][0, :, 0, 0].tolist() == [14, 14]
    assert values["second"][0, :, 0, 0].tolist() == [21, 21]
    assert values["pool"].ravel().tolist() == [42] * 4
    assert dequantize_outputs(fixed, values)["out"].ravel().tolist() == [10.5] * 4


def test_only_the_wanted_layers_are_kept():
    fixed = residual_network()
    integers = {"image": np.zeros((1, 2, 3, 3), np.int64)}
    assert list(run_fixed(fixed, integers, keep=["second"])) == ["second"]
    assert [run.layer.name for run in walk_fixed(fixed, integers)] == ["first", "second", "pool"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, r"input 'image' is missing; give an array of shape \[N, 2, 3, 3\]"),
        (
            {"image": np.zeros((1, 2, 3, 4))},
            r"'image' has shape \[1, 2, 3, 4\]; give .*\[N, 2, 3, 3\]",
        ),
        ({"image": np.zeros((0, 2, 3, 3))}, r"'image' has no images; .*\[N, 2, 3, 3\]"),
        ({"image": np.full((1, 2, 3, 3), np.nan)}, r"'image' holds NaN or infinity"),
        ({"image": np.full((1, 2, 3, 3), np.inf)}, r"'image' holds NaN or infinity"),
        ({"image": np.zeros((1, 2, 3, 3), bool)}, r"'image' holds bool values"),
        (
            {"image": np.zeros((1, 2, 3, 3)), "b": np.zeros(1)},
            r"no input 'b'; its inputs are image",
        ),
    ],
)
def test_wrong_inputs_are_refused_by_name_and_shape(data, message):
    with pytest.raises(TilewrightError, match=message):
        quantize_inputs(residual_network(), data)


def test_integers_outside_their_format_are_refused():
    with pytest.raises(TilewrightError, match=r"'image' holds values in 0\.\.128; .* -128\.\.127"):
        run_fixed(residual_network(), {"image": np.array([0, 128] * 9).reshape(1, 2, 3, 3)})
