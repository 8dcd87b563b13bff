"""Rescaling changes the units of feature maps and channels, not what the network computes."""

from dataclasses import replace

import numpy as np
import pytest
from float_networks import output_error

import tilewright.quant.rescale as rescale_module
from tilewright.graph.execute import run_float
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
from tilewright.quant.config import QuantConfig
from tilewright.quant.rescale import rescale

RELU = Activation(kind=ActivationKind.CLIP, lo=0.0)
RELU6 = Activation(kind=ActivationKind.CLIP, lo=0.0, hi=6.0)
LEAKY = Activation(kind=ActivationKind.LEAKY, slope=0.1)
CHANNELS = 8


def conv(seed, name, source, *, inputs=CHANNELS, groups=1, gain=1.0, **layer):
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(CHANNELS, inputs // groups, 3, 3))
    weight *= gain / np.sqrt((weight**2).sum(axis=(1, 2, 3), keepdims=True))
    parts = Conv(
        weight=weight.astype(np.float32),
        bias=rng.normal(0.0, 0.1, CHANNELS).astype(np.float32),
        pads=(1, 1, 1, 1),
        groups=groups,
    )
    return Layer(name=name, op=Op.CONV, inputs=(source,), conv=parts, **layer)


def network(activation, gain=1.0):
    layers = (
        conv(0, "stem", "x", inputs=3, activation=activation, gain=gain),
        conv(1, "depthwise", "stem", groups=CHANNELS, activation=activation),
        conv(2, "project", "depthwise"),
        conv(3, "sum", "project", residual="project", activation=RELU),
        Layer(name="both", op=Op.CONCAT, inputs=("stem", "sum")),
        conv(4, "last", "both", inputs=2 * CHANNELS),
    )
    return Graph(
        name="n",
        inputs=(Input(name="x", shape=(3, 8, 8)),),
        layers=layers,
        outputs=(Output(name="y", tensor="last", shape=(CHANNELS, 8, 8)),),
    )


def images(seed=1):
    return {"x": np.random.default_rng(seed).normal(size=(6, 3, 8, 8)).astype(np.float32)}


@pytest.mark.parametrize("activation", [RELU, RELU6, LEAKY, Activation()])
def test_the_outputs_stay_what_they_were_also_for_images_that_were_not_seen(activation):
    graph = network(activation)
    changed, notes = rescale(graph, images(), QuantConfig())
    assert {"stem", "sum", "both"} <= set(notes) and "last" not in notes
    unseen = {"x": 3.0 * images(seed=2)["x"]}
    before, after = (run_float(g, unseen, keep=["last"])["last"] for g in (graph, changed))
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)


def test_a_channel_at_the_activations_limit_is_scaled_only_with_the_limit():
    graph = network(RELU6, gain=8.0)
    changed, _ = rescale(graph, images(), QuantConfig())
    limit = changed.layer("stem").activation.hi
    found = run_float(changed, images(), keep=["stem"])["stem"].max(axis=(0, 2, 3))
    np.testing.assert_allclose(found, limit, rtol=1e-6)


@pytest.mark.parametrize("gain", [1.05, 1.25, 1.55])
def test_maps_that_fill_their_formats_badly_come_closer_to_float(gain):
    # Weights so fine that only the maps' rounding counts.
    without, rescaled = (
        output_error(network(RELU, gain), images(), QuantConfig(weight_bits=16, rescale=on))
        for on in (False, True)
    )
    assert rescaled < without


def test_weights_that_fill_their_formats_badly_come_closer_to_float():
    graph, data = network(RELU), images()
    for layer in graph.layers:
        if layer.conv is not None:  # Just above a power of two: half of the format stays empty.
            rows = np.abs(layer.conv.weight).max(axis=(1, 2, 3), keepdims=True)
            layer.conv.weight[...] *= 1.05 * np.exp2(np.round(np.log2(rows))) / rows
    config = QuantConfig(weight_bits=4, feature_bits=16, rounding="nearest")
    without, rescaled = (
        output_error(graph, data, replace(config, rescale=on)) for on in (False, True)
    )
    assert rescaled < without


def test_the_one_large_value_of_a_million_is_seen():
    """It says where a format of many bits must end, and a sample of the pixels would miss it."""
    rng = np.random.default_rng(0)
    values = rng.uniform(size=(16, 1, 256, 256)).astype(np.float32)
    values[7, 0, 100, 100] = -40.0
    few = rescale_module._sample(values)
    assert few.shape[1] < values.size / 2
    assert few.max() == 40.0


def test_dead_maps_and_channels_stay_as_they_are():
    graph = network(RELU)
    for name, channels in (("stem", [2]), ("sum", slice(None))):
        layer = graph.layer(name).conv
        assert layer is not None
        layer.weight[channels] = 0.0
        layer.bias[channels] = -1e6 if name == "sum" else 0.0
    changed, notes = rescale(graph, images(), QuantConfig())
    assert "project" in notes
    found = run_float(changed, images(), keep=["stem", "last"])
    assert not found["stem"][:, 2].any() and np.isfinite(found["last"]).all()


def read_by_few_bits(rounding="learned", activation=RELU):
    """Two convolutions, the last of which is 1×1 with 4 bits, and a choice of roundings."""
    last = conv(1, "last", "stem")
    assert last.conv is not None
    parts = replace(last.conv, weight=last.conv.weight[:, :, 1:2, 1:2], pads=(0, 0, 0, 0))
    stem = conv(0, "stem", "x", inputs=3, activation=activation)
    layers = (stem, replace(last, conv=parts))
    graph = Graph(
        name="n",
        inputs=(Input(name="x", shape=(3, 8, 8)),),
        layers=layers,
        outputs=(Output(name="y", tensor="last", shape=(CHANNELS, 8, 8)),),
    )
    config = QuantConfig(feature_bits=12, layer_weight_bits={"last": 4}, rounding=rounding)
    return graph, config


@pytest.mark.parametrize("rounding", ["nearest", "learned"])
def test_factors_are_chosen_for_weights_of_few_bits_that_read_the_channels(monkeypatch, rounding):
    graph, config = read_by_few_bits(rounding)
    changed, notes = rescale(graph, images(), config)
    assert "channels" in notes["stem"]
    unseen = {"x": 3.0 * images(seed=2)["x"]}
    before, after = (run_float(g, unseen, keep=["last"])["last"] for g in (graph, changed))
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)
    fitted = output_error(graph, images(), config)
    monkeypatch.setattr(rescale_module, "fit_columns", lambda *rest, **options: np.ones(CHANNELS))
    assert fitted < 0.8 * output_error(graph, images(), config)


def test_a_hidden_fully_connected_layer_of_few_bits_has_factors_chosen_for_its_weights(monkeypatch):
    def linear(seed, name, source, inputs):
        weight = np.random.default_rng(seed).normal(size=(CHANNELS, inputs, 1, 1)) / inputs**0.5
        parts = Conv(
            weight=weight.astype(np.float32), bias=np.zeros(CHANNELS, np.float32), linear=True
        )
        return Layer(name=name, op=Op.CONV, inputs=(source,), conv=parts, activation=RELU)

    stem = conv(0, "stem", "x", inputs=3, activation=RELU)
    pool = Pool(kernel=(8, 8), stride=(8, 8))
    layers = (
        stem,
        Layer(name="mean", op=Op.AVG_POOL, inputs=("stem",), pool=pool),
        linear(1, "hidden", "mean", CHANNELS),
        linear(2, "last", "hidden", CHANNELS),
    )
    graph = Graph(
        name="n",
        inputs=(Input(name="x", shape=(3, 8, 8)),),
        layers=layers,
        outputs=(Output(name="y", tensor="last", shape=(CHANNELS, 1, 1)),),
    )
    data = {"x": np.random.default_rng(1).normal(size=(64, 3, 8, 8)).astype(np.float32)}
    config = QuantConfig(feature_bits=12, layer_weight_bits={"hidden": 3})
    changed, _ = rescale(graph, data, config)
    unseen = {"x": 3.0 * images(seed=2)["x"]}
    before, after = (run_float(g, unseen, keep=["last"])["last"] for g in (graph, changed))
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)
    fitted = output_error(graph, data, config)
    monkeypatch.setattr(rescale_module, "fit_columns", lambda *rest, **options: np.ones(CHANNELS))
    assert fitted < 0.9 * output_error(graph, data, config)


def test_channels_at_the_limit_are_not_scaled_for_the_weights_that_read_them_either():
    graph, config = read_by_few_bits(activation=RELU6)
    _, notes = rescale(graph, images(), config)
    assert "channels" not in notes.get("stem", "")


def test_a_last_layer_with_a_channel_an_output_leaves_the_factors_to_those_that_make_them():
    graph, config = read_by_few_bits()
    last = conv(1, "last", "stem", groups=CHANNELS)
    graph = replace(graph, layers=(graph.layers[0], last))
    changed, _ = rescale(graph, images(), config)
    unseen = {"x": images(seed=2)["x"]}
    before, after = (run_float(g, unseen, keep=["last"])["last"] for g in (graph, changed))
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)
