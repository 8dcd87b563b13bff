"""Accuracy with the first layers in fixed point and the rest in float."""

from dataclasses import replace

import numpy as np
import pytest

from tilewright.errors import TilewrightError
from tilewright.graph.ir import Activation, ActivationKind, Conv, Graph, Input, Layer, Op, Output
from tilewright.quant.config import QuantConfig
from tilewright.quant.layerwise import images_within, layer_losses
from tilewright.quant.metrics import accuracy, compare
from tilewright.quant.quantize import quantize
from tilewright.quant.reference import quantize_inputs, run_fixed

RELU = Activation(kind=ActivationKind.CLIP, lo=0.0)


@pytest.fixture(scope="module")
def network():
    """Three convolutions, the last with a residual, at few bits; and random images with labels."""
    rng = np.random.default_rng(0)

    def conv(name, source, outputs, **layer):
        weight = rng.normal(0.0, 0.2, (outputs, 4, 3, 3)).astype(np.float32)
        bias = rng.normal(0.0, 0.1, outputs).astype(np.float32)
        return Layer(
            name=name,
            op=Op.CONV,
            inputs=(source,),
            conv=Conv(weight=weight, bias=bias, pads=(1,) * 4),
            **layer,
        )

    graph = Graph(
        name="n",
        inputs=(Input(name="x", shape=(4, 4, 4)),),
        layers=(
            conv("a", "x", 4, activation=RELU),
            conv("b", "a", 4, activation=RELU),
            conv("c", "b", 4, residual="a"),
        ),
        outputs=(Output(name="y", tensor="c", shape=(4, 4, 4)),),
    )
    images = {"x": rng.normal(size=(80, 4, 4, 4)).astype(np.float32)}
    fixed = quantize(graph, images, QuantConfig(weight_bits=3, feature_bits=4)).fixed
    return fixed, images, rng.integers(0, 64, 80)


def test_the_last_layer_gives_the_accuracy_of_the_whole_fixed_network(network):
    fixed, images, labels = network
    labels = np.where(np.arange(80) % 2, labels, _answers(fixed, images))
    found = layer_losses(fixed, images, labels)
    whole = accuracy(fixed, images, labels)
    assert whole.fixed_correct > whole.float_correct
    assert [x.name for x in found] == ["a", "b", "c"]
    assert {(x.images, x.float_correct) for x in found} == {(80, whole.float_correct)}
    assert found[-1].correct == whole.fixed_correct
    assert found[-1].loss == (whole.float_correct - whole.fixed_correct) / 80
    error = compare(fixed.graph, fixed, images)[-1]
    assert found[-1].sqnr_db == pytest.approx(error.sqnr_db, abs=1e-3)


def test_each_layer_in_fixed_point_takes_the_output_further_from_float(network):
    fixed, images, labels = network
    ratios = [x.sqnr_db for x in layer_losses(fixed, images, labels)]
    assert ratios == sorted(ratios, reverse=True)
    assert len(set(ratios)) == 3


def test_labels_that_are_no_classes_are_refused(network):
    fixed, images, labels = network
    with pytest.raises(TilewrightError, match=r"Labels must be in 0..63"):
        layer_losses(fixed, images, labels + 1)


def test_so_many_images_are_run_unasked_as_take_half_a_minute(network):
    fixed, _, _ = network
    assert images_within(fixed) == 256
    large = Input(name="x", shape=(4, 4096, 4096))
    shape = (4, 4096, 4096)
    huge = replace(
        fixed.graph, inputs=(large,), outputs=(Output(name="y", tensor="c", shape=shape),)
    )
    assert images_within(replace(fixed, graph=huge)) == 36


def _answers(fixed, images):
    scores = run_fixed(fixed, quantize_inputs(fixed, images))["c"]
    return scores.reshape(len(scores), -1).argmax(axis=1)
