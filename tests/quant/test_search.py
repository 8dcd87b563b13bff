"""The search finds what an exhaustive look finds, and says how."""

from dataclasses import replace

import numpy as np
import pytest
from float_networks import conv, every_operation, images, normalized, output_error
from hypothesis import given, settings
from hypothesis import strategies as st

from tilewright.graph.ir import Graph, Input, Output
from tilewright.quant.accumulator import accumulator_bound
from tilewright.quant.candidates import initial_frac
from tilewright.quant.config import QuantConfig
from tilewright.quant.constants import clip_range
from tilewright.quant.floats import walk_float
from tilewright.quant.formats import QFormat
from tilewright.quant.quantize import quantize
from tilewright.quant.reference import quantize_inputs, run_fixed, run_layer
from tilewright.quant.weights import channel_fracs


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


def test_squared_errors_keep_the_largest_weight_of_a_channel_and_absolute_ones_cut_it_off():
    weight = np.full((1, 64, 1, 1), 0.11, np.float32)
    weight[0, 0] = 0.9
    largest = {}
    for objective in ("absolute", "squared"):
        (frac,) = channel_fracs(weight, 4, QuantConfig(objective=objective), 0)
        form = QFormat(4, frac)
        largest[objective] = form.dequantize(form.quantize(weight)).max()
    assert largest["absolute"] < 0.2
    assert largest["squared"] > 0.8
