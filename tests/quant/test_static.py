"""Static precision: one fractional length for all weights and one for all feature maps."""

import numpy as np
import pytest
from float_networks import RELU, conv, every_operation, images, output_error

from tilewright.graph.ir import Graph, Input, Output
from tilewright.quant.config import QuantConfig
from tilewright.quant.quantize import quantize


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
