"""The search finds what an exhaustive look finds, and says how."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
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
from tilewright.quant.accumulator import accumulator_bound
from tilewright.quant.candidates import initial_frac
from tilewright.quant.config import QuantConfig
from tilewright.quant.constants import clip_range, fix_layer, fix_slope
from tilewright.quant.fixed import Leaky
from tilewright.quant.floats import walk_float
from tilewright.quant.formats import QFormat
from tilewright.quant.quantize import quantize
from tilewright.quant.reference import quantize_inputs, run_fixed, run_layer

RELU = Activation(kind=ActivationKind.CLIP, lo=0.0)
RELU6 = Activation(kind=ActivationKind.CLIP, lo=0.0, hi=6.0)
LEAKY = Activation(kind=ActivationKind.LEAKY, slope=0.1)


def conv(rng, name, source, inputs, outputs, kernel=3, *, gain=1.0, bias=True, **layer):
    groups = layer.pop("groups", 1)
    shape = (outputs, inputs // groups, kernel, kernel)
    weight = rng.normal(0.0, gain * (2.0 / np.prod(shape[1:])) ** 0.5, shape)
    return Layer(
        name=name,
        op=Op.CONV,
        inputs=(source,),
        conv=Conv(
            weight=weight.astype(np.float32),
            bias=(rng.normal(0.0, 0.1 * gain, outputs) * bias).astype(np.float32),
            pads=(kernel // 2,) * 4,
            groups=groups,
            linear=layer.pop("linear", False),
        ),
        **layer,
    )


def every_operation(seed=0):
    """A network with every operation and activation in it."""
    rng = np.random.default_rng(seed)
    pool = Pool(kernel=(2, 2), stride=(2, 2))
    layers = (
        conv(rng, "stem", "image", 3, 8, activation=RELU, max_pool=pool),
        conv(rng, "depthwise", "stem", 8, 8, groups=8, activation=RELU6),
        conv(rng, "project", "depthwise", 8, 8, 1, residual="stem"),
        conv(rng, "leaky", "project", 8, 4, activation=LEAKY),
        Layer(name="concat", op=Op.CONCAT, inputs=("project", "leaky", "image2")),
        Layer(name="max", op=Op.MAX_POOL, inputs=("concat",), pool=pool),
        conv(rng, "left", "max", 14, 8, gain=0.1),
        conv(rng, "right", "max", 14, 8, gain=10.0),
        Layer(name="add", op=Op.ADD, inputs=("left", "right"), activation=RELU),
        Layer(name="relu", op=Op.IDENTITY, inputs=("add",), activation=RELU6),
        Layer(
            name="mean",
            op=Op.AVG_POOL,
            inputs=("relu",),
            pool=Pool(kernel=(3, 3), stride=(3, 3), pads=(1, 1, 1, 1)),
        ),
        conv(rng, "fc", "mean", 8, 5, 1, linear=True),
    )
    return Graph(
        name="every",
        inputs=(
            Input(name="image", shape=(3, 16, 16), mean=(127.0,), scale=(1 / 64,)),
            Input(name="image2", shape=(2, 8, 8)),
        ),
        layers=layers,
        outputs=(Output(name="scores", tensor="fc", shape=(5,)),),
    )


def images(count=6, seed=1):
    rng = np.random.default_rng(seed)
    return {
        "image": rng.integers(0, 256, (count, 3, 16, 16), np.uint8),
        "image2": rng.normal(0.0, 3.0, (count, 2, 8, 8)).astype(np.float32),
    }


def normalized(raw):
    image = (raw["image"].astype(np.float32) - 127.0) / 64
    return {"image": image, "image2": raw["image2"].astype(np.float32)}


# ---- the pieces --------------------------------------------------------------------------------


@given(
    st.floats(-1e6, 1e6, allow_subnormal=False, width=32),
    st.floats(-1e6, 1e6, allow_subnormal=False, width=32),
    st.integers(2, 16),
)
def test_initial_frac_is_the_largest_that_does_not_overflow(a, b, bits):
    def fits(frac):
        scaled = np.floor(np.ldexp(np.array([a, b]), frac) + 0.5)
        form = QFormat(bits, frac)
        return form.min <= scaled.min() and scaled.max() <= form.max

    frac = initial_frac(min(a, b), max(a, b), bits)
    if a == b == 0.0:
        assert frac == bits - 1
    else:
        assert fits(frac)
        assert frac == 48 or not fits(frac + 1)


def test_minus_a_power_of_two_uses_the_most_negative_integer():
    assert initial_frac(-1.0, 0.5, 8) == 7
    assert initial_frac(-0.5, 1.0, 8) == 6


def test_slopes_of_known_form():
    quarter = fix_slope(Activation(kind=ActivationKind.LEAKY, slope=0.25))
    tenth = fix_slope(Activation(kind=ActivationKind.LEAKY, slope=0.1))
    assert quarter == Leaky(multiplier=1, shift=2)
    assert tenth == Leaky(multiplier=205, shift=11)


@given(st.floats(1e-6, 0.9999))
def test_no_multiplier_and_shift_is_nearer_to_the_slope(slope):
    chosen = fix_slope(Activation(kind=ActivationKind.LEAKY, slope=slope))
    assert chosen is not None and 0 < chosen.multiplier <= 255 and 1 <= chosen.shift <= 31
    pairs = np.ldexp(np.arange(256.0)[:, None], -np.arange(1, 32)[None, :])
    assert abs(chosen.multiplier * 2.0**-chosen.shift - slope) == np.abs(pairs - slope).min()


def test_maps_that_cannot_be_negative_have_no_sign_and_twice_the_resolution():
    raw = images()
    signed, fixed = (
        quantize(
            every_operation(), raw, QuantConfig(unsigned=on, rescale=False, rounding="nearest")
        ).fixed
        for on in (False, True)
    )
    without = {name for name, form in fixed.formats.items() if not form.signed}
    # An average of rectified values, and what is rectified after a sum; never a plain convolution.
    assert without == {"stem", "depthwise", "add", "relu", "mean"}
    assert all(form.signed for form in signed.formats.values())
    for name in without:
        assert fixed.formats[name].frac == signed.formats[name].frac + 1


def test_an_input_without_negative_values_has_no_sign():
    graph = every_operation()
    graph = replace(graph, inputs=(replace(graph.inputs[0], mean=(0.0,)), graph.inputs[1]))
    fixed = quantize(graph, images(), QuantConfig(rounding="nearest")).fixed
    assert fixed.formats["image"] == QFormat(8, 6, signed=False)  # 255 / 64
    assert fixed.formats["image2"].signed


def test_sums_over_unsigned_maps_stay_below_the_bound_with_and_without_their_offset():
    layer = conv(np.random.default_rng(0), "y", "x", 3, 2)
    form = QFormat(8, 4, signed=False)
    fixed = fix_layer(layer, {"x": form}, QFormat(8, 0), shape=(3, 4, 4), channels=2, weight_frac=6)
    assert fixed.weight is not None
    flat = fixed.weight.reshape(2, -1)
    positive, negative = np.maximum(flat, 0).sum(axis=1), np.minimum(flat, 0).sum(axis=1)
    plain = np.maximum(255 * positive + np.maximum(fixed.bias, 0), -255 * negative)
    assert max(plain) <= accumulator_bound(fixed, {"x": form})
    shifted = np.maximum(127 * positive - 128 * negative, 128 * positive - 127 * negative)
    assert max(shifted) <= accumulator_bound(fixed, {"x": form})


@pytest.mark.parametrize("slope", [0.0, 1e-12])
def test_slope_zero_is_a_clip_at_zero(slope):
    activation = Activation(kind=ActivationKind.LEAKY, slope=slope)
    assert fix_slope(activation) is None
    assert clip_range(activation, QFormat(8, 3)) == (0, 127)


def test_slope_one_is_no_activation():
    activation = Activation(kind=ActivationKind.LEAKY, slope=1.0)
    assert fix_slope(activation) is None
    assert clip_range(activation, QFormat(8, 3)) == (-128, 127)


def test_clip_levels_are_rounded_in_the_output_format_and_saturate():
    levels = Activation(kind=ActivationKind.CLIP, lo=-0.3, hi=6.0)
    assert clip_range(levels, QFormat(8, 4)) == (-5, 96)
    assert clip_range(levels, QFormat(8, 5)) == (-10, 127)
    assert clip_range(levels, QFormat(8, -1)) == (0, 3)


def test_bias_is_rounded_half_up_at_the_accumulator():
    conv = Conv(
        weight=np.ones((4, 1, 1, 1), np.float32),
        bias=np.array([0.75, -0.75, 0.6, -0.6], np.float32),
    )
    layer = Layer(name="c", op=Op.CONV, inputs=("x",), conv=conv)
    form = QFormat(8, 0)
    fixed = fix_layer(layer, {"x": form}, form, shape=(1, 1, 1), channels=4, weight_frac=1)
    assert fixed.bias.tolist() == [2, -1, 1, -1]


# ---- the phases --------------------------------------------------------------------------------


def test_weight_fracs_minimise_the_summed_error():
    graph = every_operation()
    result = quantize(graph, images(), QuantConfig.paper())
    for layer in graph.layers:
        if layer.conv is None:
            continue
        weight = layer.conv.weight
        step = next(s for s in result.log if (s.tensor, s.kind) == (layer.name, "weights"))
        errors = {}
        for frac in range(step.initial - 1, step.initial + 5):
            form = QFormat(8, frac)
            errors[frac] = np.abs(weight - form.dequantize(form.quantize(weight))).sum()
        assert [c.frac for c in step.candidates] == list(errors)
        np.testing.assert_allclose([c.error for c in step.candidates], list(errors.values()), 1e-4)
        assert step.frac == min(errors, key=lambda frac: errors[frac])
        fixed = result.fixed.layer(layer.name)
        assert (fixed.weight_frac == step.frac).all()
        np.testing.assert_array_equal(fixed.weight, QFormat(8, step.frac).quantize(weight))


def test_each_output_channel_gets_the_weight_frac_of_its_own_least_error():
    graph = every_operation()
    weight = graph.layer("depthwise").conv.weight
    weight *= np.exp2(-np.arange(8.0)).astype(np.float32).reshape(8, 1, 1, 1)
    result = quantize(graph, images(), QuantConfig.paper(per_channel=True))
    fixed = result.fixed.layer("depthwise")
    assert fixed.weight is not None
    for channel, frac in enumerate(fixed.weight_frac.tolist()):
        part = weight[channel]
        errors = {}
        first = initial_frac(float(part.min()), float(part.max()), 8)
        for tried in range(first - 1, first + 5):
            form = QFormat(8, tried)
            errors[tried] = np.abs(part - form.dequantize(form.quantize(part))).sum()
        assert frac == min(errors, key=lambda f: errors[f])
        np.testing.assert_array_equal(fixed.weight[channel], QFormat(8, frac).quantize(part))
    assert len(set(fixed.weight_frac.tolist())) >= 6
    step = next(s for s in result.log if (s.tensor, s.kind) == ("depthwise", "weights"))
    assert step.channels == tuple(fixed.weight_frac.tolist())
    assert f"frac {min(step.channels)}..{max(step.channels)} (one a channel)" in str(step)


def test_a_channel_of_zeros_gets_its_layers_weight_frac():
    graph = every_operation()
    graph.layer("right").conv.weight[3] = 0.0
    fixed = quantize(graph, images(1)).fixed.layer("right")
    assert fixed.weight is not None
    assert not fixed.weight[3].any()
    assert fixed.weight_frac.min() <= fixed.weight_frac[3] <= fixed.weight_frac.max()


def test_a_frac_for_each_channel_rescues_badly_scaled_channels():
    rng = np.random.default_rng(5)
    layer = conv(rng, "one", "x", 3, 16, bias=False)
    layer.conv.weight[:] *= np.exp2(-np.arange(16.0)).astype(np.float32).reshape(16, 1, 1, 1)
    graph = Graph(
        name="channels",
        inputs=(Input(name="x", shape=(3, 8, 8)),),
        layers=(layer, conv(rng, "two", "one", 16, 16, 1, groups=16)),
        outputs=(Output(name="y", tensor="two", shape=(16, 8, 8)),),
    )
    back = graph.layer("two").conv
    assert back is not None
    back.weight[:] = np.exp2(np.arange(16.0)).reshape(16, 1, 1, 1)
    raw = {"x": rng.normal(size=(4, 3, 8, 8)).astype(np.float32)}
    one, each = (
        output_error(graph, raw, QuantConfig(per_channel=own, feature_bits=16))
        for own in (False, True)
    )
    assert each < 0.2 * one


def test_a_channels_frac_stops_where_its_bias_would_need_a_wide_accumulator():
    graph = every_operation()
    graph.layer("right").conv.weight[2] *= 1e-6
    result = quantize(graph, images(1))
    fixed = result.fixed.layer("right")
    assert accumulator_bound(fixed, result.fixed.formats) <= 1 << 24
    step = [s for s in result.log if (s.tensor, s.kind) == ("right", "weights")][-1]
    assert "1 channels lowered to fit their accumulators" in step.note


def test_feature_fracs_minimise_the_error_of_the_fixed_network_itself():
    """Every candidate is tried through the reference, with all that is upstream fixed."""
    graph, raw = every_operation(), images()
    result = quantize(graph, raw, QuantConfig.paper())
    floats = {layer.name: value for layer, value in walk_float(graph, normalized(raw))}
    values = run_fixed(result.fixed, quantize_inputs(result.fixed, raw))
    for step in result.log:
        if step.kind != "features" or step.tensor not in floats or not step.candidates:
            continue
        chosen = min(step.candidates, key=lambda c: (c.error, c.frac))
        assert step.frac == chosen.frac == result.fixed.formats[step.tensor].frac
        real = result.fixed.formats[step.tensor].dequantize(values[step.tensor])
        error = np.abs(floats[step.tensor] - real).sum()
        assert chosen.error == pytest.approx(error, rel=1e-4)


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_candidates_are_requantized_as_the_reference_does(bits):
    """Forcing each candidate in turn reproduces the error that the log gives for it."""
    graph, raw = every_operation(), images(2)
    result = quantize(graph, raw, QuantConfig.paper(feature_bits=bits))
    floats = {layer.name: value for layer, value in walk_float(graph, normalized(raw))}
    values = quantize_inputs(result.fixed, raw)
    values |= run_fixed(result.fixed, values)
    for name in ("stem", "depthwise", "leaky", "add", "mean"):
        layer = result.fixed.layer(name)
        step = next(s for s in result.log if (s.tensor, s.kind) == (name, "features"))
        for candidate in step.candidates:
            form = QFormat(bits, candidate.frac)
            lo, hi = clip_range(layer.layer.activation, form)
            forced = replace(layer, output=form, lo=lo, hi=hi)
            xs = [values[n] for n in layer.layer.all_inputs]
            real = form.dequantize(run_layer(forced, xs, result.fixed.formats).values)
            assert candidate.error == pytest.approx(np.abs(floats[name] - real).sum(), rel=1e-4)


def test_max_pool_keeps_its_input_format_without_loss():
    result = quantize(every_operation(), images())
    assert result.fixed.formats["max"] == result.fixed.formats["concat"]
    step = next(s for s in result.log if s.tensor == "max")
    assert step.candidates == () and "format of concat" in step.note


def test_log_names_every_tensor_once_in_order_and_reads_as_text():
    graph = every_operation()
    result = quantize(graph, images())
    weights = [s.tensor for s in result.log if s.kind == "weights"]
    features = [s.tensor for s in result.log if s.kind == "features"]
    assert weights == [layer.name for layer in graph.layers if layer.conv is not None]
    assert features == ["image", "image2", *(layer.name for layer in graph.layers)]
    texts = [str(step) for step in result.log]
    assert any(text.startswith("stem weights, 8 bits: frac ") for text in texts)
    assert any(text.startswith("stem rounding, 8 bits: frac ") for text in texts)


def test_progress_counts_to_its_end():
    calls = []
    quantize(every_operation(), images(1), progress=lambda *call: calls.append(call))
    assert [done for done, _, _ in calls] == list(range(1, len(calls) + 1))
    assert {total for _, total, _ in calls} == {len(calls)}


def test_result_does_not_depend_on_how_the_images_are_cut(monkeypatch):
    graph, raw = every_operation(), images(5)
    whole = quantize(graph, raw)
    monkeypatch.setattr("tilewright.quant.search._CHUNK_VALUES", 1)
    assert quantize(graph, raw).fixed.formats == whole.fixed.formats


@settings(max_examples=10, deadline=None)
@given(st.integers(2, 16), st.integers(2, 16), st.integers(0, 100))
def test_any_bits_give_a_network_that_runs_within_its_formats(weight_bits, feature_bits, seed):
    graph, raw = every_operation(seed), images(2, seed)
    config = QuantConfig(weight_bits=weight_bits, feature_bits=feature_bits)
    fixed = quantize(graph, raw, config).fixed
    for name, values in run_fixed(fixed, quantize_inputs(fixed, raw)).items():
        form = fixed.formats[name]
        assert form.bits == feature_bits
        assert form.min <= values.min() and values.max() <= form.max


def test_sixteen_bits_come_close_to_float():
    graph, raw = every_operation(), images()
    fixed = quantize(graph, raw, QuantConfig(weight_bits=16, feature_bits=16)).fixed
    floats = {layer.name: value for layer, value in walk_float(graph, normalized(raw))}
    real = fixed.formats["fc"].dequantize(run_fixed(fixed, quantize_inputs(fixed, raw))["fc"])
    assert np.abs(real - floats["fc"]).max() < 1e-2 * np.abs(floats["fc"]).max()


def test_bits_follow_the_most_specific_choice():
    config = QuantConfig(
        weight_bits=8,
        kind_weight_bits={"fc": 4, "depthwise": 6},
        layer_weight_bits={"fc": 3},
        layer_feature_bits={"image": 16, "add": 5},
        kind_feature_bits={"conv": 7},
    )
    fixed = quantize(every_operation(), images(1), config).fixed
    bits = {layer.name: layer.weight_bits for layer in fixed.layers if layer.weight is not None}
    assert (bits["fc"], bits["depthwise"], bits["stem"]) == (3, 6, 8)
    formats = {name: form.bits for name, form in fixed.formats.items()}
    assert (formats["image"], formats["image2"], formats["add"]) == (16, 8, 5)
    assert (formats["stem"], formats["fc"]) == (7, 8)


# ---- accumulators ------------------------------------------------------------------------------


def large_bias(bias):
    weight = np.full((1, 1, 1, 1), 1e-6, np.float32)
    layer = Layer(
        name="shifted",
        op=Op.CONV,
        inputs=("x",),
        conv=Conv(weight=weight, bias=np.array([bias], np.float32)),
    )
    return Graph(
        name="bias",
        inputs=(Input(name="x", shape=(1, 1, 2)),),
        layers=(layer,),
        outputs=(Output(name="y", tensor="shifted", shape=(1, 1, 2)),),
    )


@pytest.mark.parametrize("acc_bits", [23, 24])
def test_bias_too_large_for_the_accumulator_lowers_the_weight_frac(acc_bits):
    graph = large_bias(1000.0)
    raw = {"x": np.array([0.25, -0.5]).reshape(1, 1, 1, 2)}
    result = quantize(graph, raw, QuantConfig(acc_bits=acc_bits))
    layer = result.fixed.layer("shifted")
    assert accumulator_bound(layer, result.fixed.formats) < 2 ** (acc_bits - 1)
    step = next(s for s in reversed(result.log) if s.kind == "weights")
    assert f"overflows accumulators of {acc_bits} bits" in step.note
    one_more = fix_layer(
        graph.layers[0],
        result.fixed.formats,
        layer.output,
        shape=(1, 1, 2),
        channels=1,
        weight_frac=step.frac + 1,
    )
    assert accumulator_bound(one_more, result.fixed.formats) >= 2 ** (acc_bits - 1)
    out = run_fixed(result.fixed, quantize_inputs(result.fixed, raw))["shifted"]
    np.testing.assert_allclose(result.fixed.formats["shifted"].dequantize(out), 1000.0, rtol=0.01)


def test_products_far_finer_than_their_residual_get_a_coarser_weight_frac():
    rng = np.random.default_rng(4)
    faint = conv(rng, "faint", "x", 3, 3, gain=1e-6, residual="x")
    graph = Graph(
        name="vanishing",
        inputs=(Input(name="x", shape=(3, 5, 5)),),
        layers=(faint,),
        outputs=(Output(name="y", tensor="faint", shape=(3, 5, 5)),),
    )
    x = rng.normal(size=(4, 3, 5, 5)).astype(np.float32)
    result = quantize(graph, {"x": x})
    fixed, step = result.fixed, 2.0 ** -result.fixed.formats["x"].frac
    # Bits + 8: so many weight tiles add the residual that compiling and running stay sensible.
    assert int(fixed.layer("faint").acc_frac[0]) - fixed.formats["x"].frac == 8 + 8
    assert any("is too fine to add x to" in step.note for step in result.log)
    out = run_fixed(fixed, quantize_inputs(fixed, {"x": x}))["faint"]
    wanted = {layer.name: y for layer, y in walk_float(graph, {"x": x})}["faint"]
    assert np.abs(fixed.formats["faint"].dequantize(out) - wanted).max() <= step


def test_accumulators_that_cannot_fit_are_refused_by_name():
    config = QuantConfig(acc_bits=16, weight_bits=16, feature_bits=16)
    graph = every_operation()
    with pytest.raises(TilewrightError, match=r"Layer '\w+' needs accumulators of \d+ bits, more"):
        quantize(graph, images(1), config)


# ---- static precision --------------------------------------------------------------------------


def badly_scaled():
    """Gains of the layers a factor of 2000 apart: one frac cannot serve them all."""
    rng = np.random.default_rng(3)
    layers = (
        conv(rng, "one", "x", 3, 8, gain=20.0, activation=RELU),
        conv(rng, "two", "one", 8, 8, gain=0.01, activation=RELU),
        conv(rng, "three", "two", 8, 8, gain=20.0, activation=RELU),
        conv(rng, "four", "three", 8, 8, gain=0.01),
    )
    return Graph(
        name="badly scaled",
        inputs=(Input(name="x", shape=(3, 8, 8)),),
        layers=layers,
        outputs=(Output(name="y", tensor="four", shape=(8, 8, 8)),),
    )


def output_error(graph, raw, config):
    fixed = quantize(graph, raw, config).fixed
    floats = {layer.name: v for layer, v in walk_float(graph, raw)}
    name = graph.outputs[0].tensor
    values = run_fixed(fixed, quantize_inputs(fixed, raw), keep=[name])[name]
    real = fixed.formats[name].dequantize(values)
    return np.abs(real - floats[name]).sum() / np.abs(floats[name]).sum()


@pytest.mark.parametrize("bits", [6, 8, 12])
def test_dynamic_precision_beats_static_on_a_badly_scaled_network(bits):
    graph = badly_scaled()
    raw = {"x": np.random.default_rng(4).normal(size=(4, 3, 8, 8)).astype(np.float32)}
    dynamic, static = (
        output_error(graph, raw, QuantConfig(weight_bits=bits, feature_bits=bits, static=s))
        for s in (False, True)
    )
    assert dynamic < 0.5 * static


def test_static_precision_has_one_frac_of_each_kind_and_the_best_pair():
    result = quantize(every_operation(), images(), QuantConfig(static=True))
    weights, features = result.log[:2]
    assert (weights.tensor, features.tensor) == ("all", "all")
    for layer in result.fixed.layers:
        if layer.weight is not None:
            assert set(layer.weight_frac.tolist()) == {weights.frac}
    assert {form.frac for form in result.fixed.formats.values()} == {features.frac}
    assert weights.frac == min(weights.candidates, key=lambda c: c.error).frac


# ---- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_bits": 1}, r"weight_bits must be an integer in 2\.\.16, not 1"),
        ({"feature_bits": 17}, r"feature_bits must be an integer in 2\.\.16, not 17"),
        ({"weight_bits": 8.0}, r"weight_bits must be an integer in 2\.\.16, not 8\.0"),
        ({"acc_bits": 49}, r"acc_bits must be an integer in 16\.\.48, not 49"),
        ({"kind_weight_bits": {"dense": 8}}, r"names 'dense'; layer kinds are conv, depthwise, fc"),
        ({"layer_weight_bits": {"fc": 0}}, r"layer_weight_bits\['fc'\] must be .* 2\.\.16, not 0"),
    ],
)
def test_options_out_of_range_are_refused_by_name(options, message):
    with pytest.raises(TilewrightError, match=message):
        QuantConfig(**options)


def test_unknown_layers_are_refused_with_the_nearest_name():
    config = QuantConfig(layer_weight_bits={"stm": 4})
    with pytest.raises(TilewrightError, match=r"names 'stm', .*; did you mean 'stem'\?"):
        quantize(every_operation(), images(1), config)


def test_missing_calibration_input_is_named_with_its_shape():
    raw = images(1)
    del raw["image2"]
    with pytest.raises(
        TilewrightError, match=r"Calibration data: input 'image2' is missing; .*8, 8"
    ):
        quantize(every_operation(), raw)


def test_unequal_numbers_of_calibration_images_are_refused():
    raw = images(2)
    raw["image2"] = raw["image2"][:1]
    with pytest.raises(TilewrightError, match=r"same number of images, not 2 for 'image', 1 for"):
        quantize(every_operation(), raw)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_or_infinity_in_weights_is_refused_by_layer(bad):
    graph = every_operation()
    graph.layer("left").conv.weight[0, 0, 0, 0] = bad
    with pytest.raises(TilewrightError, match=r"Layer 'left': its weights hold NaN or infinity"):
        quantize(graph, images(1))


def test_calibration_data_that_never_change_are_refused():
    raw = images(2)
    raw["image"] = np.full_like(raw["image"], 255)
    with pytest.raises(
        TilewrightError, match=r"input 'image' is 255 everywhere, .*give real inputs"
    ):
        quantize(every_operation(), raw)


def test_layers_that_never_fire_are_named_in_the_log():
    graph = every_operation()
    stem = graph.layer("stem").conv
    assert stem is not None
    stem.bias[...] = -1e4
    stem.weight[3] = 0.0
    result = quantize(graph, images(2))
    notes = {s.tensor: s.note for s in result.log if s.kind == "features"}
    assert notes["stem"] == "0 everywhere on the calibration images"
    values = run_fixed(result.fixed, quantize_inputs(result.fixed, images(2)), keep=["fc"])
    assert len(np.unique(values["fc"])) > 1


def test_a_tensor_that_saturates_often_is_named_in_the_log():
    """One value a million times the others: the rest is worth more than it is."""
    graph = every_operation()
    raw = images(2)
    result = quantize(graph, raw, QuantConfig.paper(lowest=0, highest=16, feature_bits=2))
    assert any("of the values saturate" in step.note for step in result.log)


def test_dead_layers_of_zeros_quantize_to_zeros():
    graph = every_operation()
    graph.layer("left").conv.weight[...] = 0.0
    graph.layer("left").conv.bias[...] = 0.0
    fixed = quantize(graph, images(1)).fixed
    values = run_fixed(fixed, quantize_inputs(fixed, images(1)), keep=["left"])
    assert not values["left"].any()
