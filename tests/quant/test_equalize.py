"""Rewriting the network changes what its feature maps hold, not what it computes."""

import numpy as np
import pytest

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
from tilewright.quant.equalize import channel_ranges, equalize
from tilewright.quant.quantize import quantize

RELU = Activation(kind=ActivationKind.CLIP, lo=0.0)
RELU6 = Activation(kind=ActivationKind.CLIP, lo=0.0, hi=6.0)
LEAKY = Activation(kind=ActivationKind.LEAKY, slope=0.1)


def conv(rng, name, source, inputs, outputs, kernel, *, pads=0, groups=1, spread=0, **layer):
    shape = (outputs, inputs // groups, kernel, kernel)
    weight = rng.normal(0.0, (2.0 / np.prod(shape[1:])) ** 0.5, shape)
    weight *= np.exp2(-rng.integers(0, spread + 1, (outputs, 1, 1, 1)))
    return Layer(
        name=name,
        op=Op.CONV,
        inputs=(source,),
        conv=Conv(
            weight=weight.astype(np.float32),
            bias=rng.normal(0.0, 0.1, outputs).astype(np.float32),
            pads=(pads,) * 4,
            groups=groups,
        ),
        **layer,
    )


def network(activation=RELU6):
    rng = np.random.default_rng(0)
    layers = (
        conv(rng, "stem", "x", 3, 8, 3, pads=1, spread=4, activation=activation),
        conv(rng, "depthwise", "stem", 8, 8, 3, pads=1, groups=8, activation=activation),
        conv(rng, "project", "depthwise", 8, 6, 1),
        conv(rng, "padded", "project", 6, 6, 3, pads=1, activation=RELU),
        conv(rng, "sum", "padded", 6, 6, 3, pads=1, residual="project", activation=RELU),
        Layer(
            name="mean", op=Op.AVG_POOL, inputs=("sum",), pool=Pool(kernel=(8, 8), stride=(8, 8))
        ),
        conv(rng, "fc", "mean", 6, 5, 1),
    )
    return Graph(
        name="n",
        inputs=(Input(name="x", shape=(3, 8, 8)),),
        layers=layers,
        outputs=(Output(name="y", tensor="fc", shape=(5,)),),
    )


def images(count=6):
    return {"x": np.random.default_rng(1).normal(size=(count, 3, 8, 8)).astype(np.float32)}


@pytest.mark.parametrize("activation", [RELU, RELU6, LEAKY, Activation()])
def test_the_outputs_stay_what_they_were(activation):
    graph, data = network(activation), images()
    changed, notes = equalize(graph, channel_ranges(graph, data))
    assert "stem" in notes
    before, after = (run_float(g, data, keep=["fc"])["fc"] for g in (graph, changed))
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("activation", "part"), [(RELU, 2), (RELU6, 8)])
def test_scaled_channels_come_close_to_the_largest_with_the_same_integer_weights(activation, part):
    graph, data = network(activation), images()
    plain, fixed = (
        quantize(graph, data, QuantConfig.paper(per_channel=True, equalize=on)).fixed
        for on in (False, True)
    )
    found = channel_ranges(fixed.graph, data)["stem"].high
    assert found.max() / (2 * part) < found.min() <= found.max() / part
    np.testing.assert_array_equal(fixed.layer("stem").weight, plain.layer("stem").weight)
    np.testing.assert_array_equal(fixed.layer("depthwise").weight, plain.layer("depthwise").weight)
    assert fixed.formats["stem"] == plain.formats["stem"]
    assert (fixed.layer("stem").weight_frac != plain.layer("stem").weight_frac).any()


def test_dead_channels_and_a_dead_layer_stay_as_they_are():
    graph = network()
    for name, channels in (("stem", [2]), ("sum", slice(None))):
        layer = graph.layer(name).conv
        assert layer is not None
        layer.weight[channels] = 0.0
        layer.bias[channels] = -100.0 if name == "sum" else 0.0
    changed, notes = equalize(graph, channel_ranges(graph, images()))
    assert "sum" not in notes
    outputs = run_float(changed, images(), keep=["stem", "fc"])
    assert not outputs["stem"][:, 2].any()
    assert np.isfinite(outputs["fc"]).all()
