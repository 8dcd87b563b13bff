"""The comparison with the original can fail, and says where."""

# mypy: disable-error-code="union-attr"

from dataclasses import replace

import numpy as np
import pytest
from onnx import helper

from tilewright.errors import TilewrightError
from tilewright.graph.onnx_import import import_onnx
from tilewright.graph.verify import relative_difference, verify_onnx

node = helper.make_node


@pytest.fixture
def imported(make_model):
    rng = np.random.default_rng(0)
    weights = {n: rng.standard_normal((3, 3, 3, 3)).astype(np.float32) for n in ("u", "v", "w")}
    nodes = [
        node("Conv", ["x", "u"], ["a"], name="one"),
        node("Conv", ["a", "v"], ["b"], name="two"),
        node("Conv", ["b", "w"], ["c"], name="three"),
        node("Relu", ["c"], ["y"]),
    ]
    return import_onnx(make_model(nodes, {"x": [1, 3, 9, 8]}, ["y"], weights), name="net")


def spoil(imported, name, change):
    layers = tuple(
        replace(layer, conv=change(layer.conv)) if layer.name == name else layer
        for layer in imported.graph.layers
    )
    return replace(imported, graph=replace_layers(imported.graph, layers))


def replace_layers(graph, layers):
    return type(graph)(name=graph.name, inputs=graph.inputs, layers=layers, outputs=graph.outputs)


def test_a_faithful_import_passes(imported):
    verify_onnx(imported)


@pytest.mark.parametrize("name", ["one", "two", "three"])
def test_a_changed_weight_is_found_and_its_layer_named(imported, name):
    def change(conv):
        weight = conv.weight.copy()
        weight[1, 2, 0, 1] += 0.5
        return replace(conv, weight=weight)

    message = (
        rf"^net: output 'y' .* differs from the original .* first in layer '{name}' \({name}\)"
    )
    with pytest.raises(TilewrightError, match=message):
        verify_onnx(spoil(imported, name, change))


def test_swapped_pads_are_found(make_model):
    nodes = [node("Conv", ["x", "w"], ["y"], name="one", pads=[0, 1, 2, 1])]
    weights = {"w": np.random.default_rng(0).standard_normal((2, 2, 3, 3)).astype(np.float32)}
    imported = import_onnx(make_model(nodes, {"x": [1, 2, 7, 7]}, ["y"], weights))
    spoiled = spoil(imported, "one", lambda conv: replace(conv, pads=(2, 0, 1, 1)))
    with pytest.raises(TilewrightError, match="differs from the original"):
        verify_onnx(spoiled)


def test_a_difference_that_softmax_would_hide_is_found(make_model):
    nodes = [node("Gemm", ["x", "w", "b"], ["l"], name="fc"), node("Softmax", ["l"], ["y"])]
    weights = {"w": np.eye(4, dtype=np.float32), "b": np.zeros(4, np.float32)}
    imported = import_onnx(make_model(nodes, {"x": [1, 4]}, ["y"], weights))
    verify_onnx(imported)
    spoiled = spoil(imported, "fc", lambda conv: replace(conv, bias=conv.bias + 1.0))
    with pytest.raises(TilewrightError, match="output 'y'"):
        verify_onnx(spoiled)


def test_an_original_that_overflows_is_refused(make_model):
    nodes = [node("Conv", ["x", "w"], ["a"]), node("Conv", ["a", "w"], ["y"])]
    weights = {"w": np.full((2, 2, 1, 1), 1e30, np.float32)}
    imported = import_onnx(make_model(nodes, {"x": [1, 2, 3, 3]}, ["y"], weights))
    with pytest.raises(TilewrightError, match="of the original is NaN or infinite"):
        verify_onnx(imported)


def test_relative_difference():
    one = np.array([1.0, -2.0], np.float32)
    assert relative_difference(one, one) == 0.0
    assert relative_difference(np.array([1.0, -1.0], np.float32), one) == 0.5
    assert relative_difference(np.array([1.0, np.nan], np.float32), one) == np.inf
    assert relative_difference(one[:1], one) == np.inf
