"""Errors and accuracies are those of a calculation by hand."""

import math

import numpy as np
import pytest

from tilewright.errors import TilewrightError
from tilewright.graph.ir import Conv, Graph, Input, Layer, Op, Output
from tilewright.quant.config import QuantConfig
from tilewright.quant.emulate import exact_in_float32
from tilewright.quant.metrics import accuracy, compare, right_share, sqnr_db
from tilewright.quant.quantize import quantize


def pass_through(outputs=1):
    """A network whose three scores are its three input pixels."""
    conv = Conv(
        weight=np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1), bias=np.zeros(3, np.float32)
    )
    return Graph(
        name="pass",
        inputs=(Input(name="x", shape=(3, 1, 1)),),
        layers=(Layer(name="scores", op=Op.CONV, inputs=("x",), conv=conv),),
        outputs=tuple(Output(name=f"out{i}", tensor="scores", shape=(3,)) for i in range(outputs)),
    )


def rows(*values):
    return {"x": np.array(values, np.float32).reshape(-1, 3, 1, 1)}


CALIBRATION = rows((1.0, -1.0, 0.5), (0.25, 0.75, -0.5))


def test_sqnr_of_sums_of_squares():
    assert sqnr_db(100.0, 1.0) == pytest.approx(20.0)
    assert sqnr_db(1.0, 0.0) == math.inf
    assert sqnr_db(0.0, 1.0) == -math.inf


def test_exact_layers_have_infinite_sqnr_and_no_error():
    graph = pass_through()
    fixed = quantize(graph, CALIBRATION).fixed
    (error,) = compare(graph, fixed, CALIBRATION)
    assert (error.name, error.max_error, error.saturated, error.values) == ("scores", 0.0, 0, 6)
    assert error.sqnr_db == math.inf


def test_errors_and_saturations_are_summed_over_batches(monkeypatch):
    graph = pass_through()
    fixed = quantize(graph, CALIBRATION, QuantConfig(feature_bits=4)).fixed
    frac = fixed.formats["scores"].frac
    assert fixed.formats["x"].frac == frac
    raw = rows((1.0, 0.03, -0.5), (0.5, 0.25, -4.0), (0.0, 0.0, 0.0))
    form = fixed.formats["x"]
    difference = raw["x"] - form.dequantize(form.quantize(raw["x"]))
    expected = 10 * math.log10((raw["x"] ** 2).sum() / (difference**2).sum())
    calls = []
    monkeypatch.setattr("tilewright.quant.metrics._BATCH_VALUES", 1)
    (error,) = compare(graph, fixed, raw, progress=lambda *call: calls.append(call[:2]))
    assert error.sqnr_db == pytest.approx(expected, rel=1e-6)
    assert error.max_error == pytest.approx(np.abs(difference).max())
    assert error.values == 9
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_saturated_values_are_counted_per_layer():
    graph = pass_through()
    graph.layers[0].conv.weight[2] = 0.0
    # The third pixel makes the input's range wide and never reaches the scores.
    fixed = quantize(graph, rows((0.125, -0.125, 8.0))).fixed
    (error,) = compare(graph, fixed, rows((7.0, -7.0, 0.0), (0.0625, 0.0, 8.0)))
    assert error.saturated == 2


def test_accuracy_counts_right_answers_and_agreement():
    fixed = quantize(pass_through(), CALIBRATION, QuantConfig(feature_bits=3)).fixed
    # 0.9 and 1.0 are equal in 3 bits, of equals the first is the answer.
    images = rows((1.0, 0.0, 0.0), (0.9, 1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0))
    result = accuracy(fixed, images, np.array([0, 1, 2, 2]))
    assert (result.images, result.float_correct, result.fixed_correct) == (4, 3, 2)
    assert result.agreeing == 3
    assert (result.float_share, result.fixed_share) == (0.75, 0.5)


@pytest.mark.parametrize("bits", [4, 16])
def test_the_share_of_right_answers_is_that_of_the_integer_reference(bits):
    """Computed in float32 where that is exact (4 bits), in integers where it is not (16)."""
    rng = np.random.default_rng(0)
    graph = pass_through()
    graph.layers[0].conv.weight[:] += rng.normal(0.0, 0.3, graph.layers[0].conv.weight.shape)
    config = QuantConfig(weight_bits=bits, feature_bits=bits)
    images = rows(*rng.normal(size=(64, 3)))
    fixed = quantize(graph, images, config).fixed
    assert exact_in_float32(fixed) == (bits == 4)
    labels = rng.integers(0, 3, 64)
    found = accuracy(fixed, images, labels)
    assert right_share(fixed, images, labels) == found.fixed_share
    assert right_share(graph, images, labels) == found.float_share


def test_accuracy_asks_which_of_several_outputs():
    fixed = quantize(pass_through(outputs=2), CALIBRATION).fixed
    labels = np.zeros(2, np.int64)
    with pytest.raises(TilewrightError, match=r"outputs, out0, out1; none was named"):
        accuracy(fixed, CALIBRATION, labels)
    with pytest.raises(TilewrightError, match=r"outputs, out0, out1; 'out9' is none of them"):
        accuracy(fixed, CALIBRATION, labels, output="out9")
    assert accuracy(fixed, CALIBRATION, labels, output="out1").images == 2


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(3, np.int64), r"2 integers, one per image, not int64 of shape \[3\]"),
        (np.zeros(2), r"2 integers, one per image, not float64 of shape \[2\]"),
        (np.array([0, 3]), r"Labels must be in 0\.\.2, .* not in 0\.\.3"),
        (np.array([-1, 0]), r"Labels must be in 0\.\.2, .* not in -1\.\.0"),
    ],
)
def test_wrong_labels_are_refused(labels, message):
    fixed = quantize(pass_through(), CALIBRATION).fixed
    with pytest.raises(TilewrightError, match=message):
        accuracy(fixed, CALIBRATION, labels)
