"""Formats of outputs that are scores of classes, chosen by what their softmax loses."""

from __future__ import annotations

import numpy as np
import pytest

from tilewright.graph.ir import Conv, Graph, Input, Layer, Op, Output
from tilewright.quant.config import QuantConfig
from tilewright.quant.data import prepare
from tilewright.quant.descent import descend
from tilewright.quant.features import class_scores, divergence
from tilewright.quant.mixed import Budget, plan_bits
from tilewright.quant.quantize import quantize
from tilewright.quant.reference import dequantize_outputs, quantize_inputs, run_fixed

CLASSES = 6
SOFTMAX = ("Softmax(axes=1)",)


def classifier(host_ops=(), *, read=False):
    """Scores of classes straight from the inputs; with `read` another output is made of them."""
    weight = np.eye(CLASSES, dtype=np.float32).reshape(CLASSES, CLASSES, 1, 1)
    conv = Conv(weight=weight, bias=np.zeros(CLASSES, np.float32))
    layers = [Layer(name="scores", op=Op.CONV, inputs=("x",), conv=conv)]
    outputs = [Output(name="y", tensor="scores", shape=(CLASSES,), host_ops=host_ops)]
    if read:
        layers.append(Layer(name="copy", op=Op.IDENTITY, inputs=("scores",)))
        outputs.append(Output(name="z", tensor="copy", shape=(CLASSES,)))
    return Graph(
        name="classifier",
        inputs=(Input(name="x", shape=(CLASSES, 1, 1)),),
        layers=tuple(layers),
        outputs=tuple(outputs),
    )


def scores(count=400, seed=1):
    """Raw inputs: all classes but two far below, the best far above the second or close to it."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-18.0, -12.0, (count, CLASSES))
    order = rng.permuted(np.tile(np.arange(CLASSES), (count, 1)), axis=1)
    second = rng.uniform(0.0, 7.0, count)
    margin = np.where(rng.random(count) < 0.3, 10.0, 0.4) * rng.random(count)
    x[np.arange(count), order[:, 1]] = second
    x[np.arange(count), order[:, 0]] = second + margin
    return {"x": x.astype(np.float32).reshape(count, CLASSES, 1, 1)}


def changed_answers(config, graph, raw):
    fixed = quantize(graph, raw, config).fixed
    tests = scores(seed=2)
    got = dequantize_outputs(fixed, run_fixed(fixed, quantize_inputs(fixed, tests)))["y"]
    exact = tests["x"].reshape(-1, CLASSES)
    return int((got.reshape(exact.shape).argmax(1) != exact.argmax(1)).sum())


def test_what_is_certain_is_cut_off_and_fewer_answers_change():
    graph, raw = classifier(), scores()
    by_value, by_class = (
        QuantConfig(classes=classes, layer_feature_bits={"x": 16}) for classes in (False, True)
    )
    forms = [
        quantize(graph, raw, config).fixed.formats["scores"] for config in (by_value, by_class)
    ]
    assert forms[1].frac > forms[0].frac
    assert changed_answers(by_class, graph, raw) < changed_answers(by_value, graph, raw)


@pytest.mark.parametrize("softmax", ["Softmax(axes=1)", "LogSoftmax(axes=1,2,3)"])
def test_a_softmax_at_the_end_says_that_outputs_are_scores(softmax):
    config = QuantConfig()
    assert class_scores(classifier((softmax,)), config) == {"scores"}
    assert class_scores(classifier(("Sigmoid()",)), config) == set()
    assert class_scores(classifier(), config) == set()


def test_the_option_says_it_whatever_the_network_ends_in():
    assert class_scores(classifier(), QuantConfig(classes=True)) == {"scores"}
    assert class_scores(classifier(SOFTMAX), QuantConfig(classes=False)) == set()
    assert class_scores(classifier(SOFTMAX), QuantConfig.paper()) == set()


def test_what_another_layer_reads_is_not_cut_off():
    assert class_scores(classifier(SOFTMAX, read=True), QuantConfig()) == set()
    assert class_scores(classifier(read=True), QuantConfig(classes=True)) == {"copy"}


def test_coordinate_descent_leaves_scores_in_their_format():
    graph, raw = classifier(SOFTMAX), scores()
    config = QuantConfig(layer_feature_bits={"x": 16})
    result = quantize(graph, raw, config)
    fixed = result.fixed
    assert "by the softmax of the scores" in result.log[-1].note
    found, _ = descend(fixed, prepare(graph, raw), config)
    assert found.formats["scores"] == fixed.formats["scores"]


def test_plans_of_bits_are_compared_by_values_and_end_with_the_option_given():
    for classes in (None, True):
        plan = plan_bits(
            classifier(SOFTMAX), scores(), Budget(average_bits=5), QuantConfig(classes=classes)
        )
        assert plan.config.classes is classes


def test_the_divergence_is_that_of_the_softmax_over_channels():
    torch = pytest.importorskip("torch")
    wanted = torch.tensor([[0.0, 0.0], [5.0, 0.0]])
    moved = torch.tensor([[np.log(3.0), 0.0], [105.0, 100.0]])
    assert divergence(moved, wanted).item() == pytest.approx(0.5 * np.log(4.0 / 3.0), abs=1e-6)
