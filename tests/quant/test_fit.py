"""Weights whose accumulators would not fit get smaller fractional lengths, or are refused."""

import numpy as np
import pytest
from float_networks import conv, every_operation, images

from tilewright.errors import TilewrightError
from tilewright.graph.ir import Conv, Graph, Input, Layer, Op, Output
from tilewright.quant.accumulator import accumulator_bound
from tilewright.quant.config import QuantConfig
from tilewright.quant.constants import fix_layer
from tilewright.quant.floats import walk_float
from tilewright.quant.quantize import quantize
from tilewright.quant.reference import quantize_inputs, run_fixed


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
