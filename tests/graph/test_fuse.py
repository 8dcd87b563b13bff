"""Which operators fuse into one layer, and which must not."""

# mypy: disable-error-code="union-attr"

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from tilewright.graph import load_onnx
from tilewright.graph.execute import run_float
from tilewright.graph.fuse import compose
from tilewright.graph.ir import Activation, ActivationKind, Conv, Graph, Input, Layer, Op

node = helper.make_node
CONV = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}


def conv(source, name):
    return node("Conv", [source, f"{name}.weight"], [name], name=name, **CONV)


@pytest.fixture
def load(make_model):
    def make(nodes, outputs=("y",)):
        names = [n.input[1] for n in nodes if n.op_type == "Conv"]
        rng = np.random.default_rng(1)
        weights = {n: rng.standard_normal((4, 4, 3, 3)).astype(np.float32) for n in names}
        return load_onnx(make_model(nodes, {"x": [1, 4, 8, 6]}, list(outputs), weights))

    return make


def pool(source, output, **more):
    attrs = {"kernel_shape": [2, 2], "strides": [2, 2]} | more
    return node("MaxPool", [source], [output], **attrs)


def test_conv_residual_activation_and_pool_are_one_layer(load):
    graph = load(
        [
            conv("x", "a"),
            node("Add", ["x", "a"], ["s"]),
            node("Relu", ["s"], ["r"]),
            pool("r", "y"),
        ]
    )
    (layer,) = graph.layers
    assert (layer.name, layer.inputs, layer.residual) == ("a", ("x",), "x")
    assert layer.activation.lo == 0.0
    assert layer.max_pool.kernel == (2, 2)


def test_conv_pool_activation_fuses_since_both_are_monotone(load):
    (layer,) = load([conv("x", "a"), pool("a", "p"), node("LeakyRelu", ["p"], ["y"])]).layers
    assert layer.max_pool is not None
    assert layer.activation.kind is ActivationKind.LEAKY


@pytest.mark.parametrize(
    "more", [{"kernel_shape": [3, 2]}, {"kernel_shape": [5, 5], "strides": [5, 5]}]
)
def test_overlapping_and_large_windows_stay_apart(load, more):
    graph = load([conv("x", "a"), pool("a", "y", **more)])
    assert [layer.kind for layer in graph.layers] == ["conv", "max_pool"]


def test_a_tensor_read_twice_is_kept(load):
    graph = load(
        [
            conv("x", "a"),
            node("Relu", ["a"], ["r"]),
            node("LeakyRelu", ["a"], ["l"]),
            node("Add", ["r", "l"], ["y"]),
        ]
    )
    assert [layer.kind for layer in graph.layers] == ["conv", "identity", "identity", "add"]


def test_a_tensor_that_is_an_output_is_kept(load):
    graph = load([conv("x", "a"), node("Relu", ["a"], ["y"])], outputs=("a", "y"))
    assert [layer.kind for layer in graph.layers] == ["conv", "identity"]


def test_a_convolution_added_to_itself_is_no_residual(load):
    graph = load([conv("x", "a"), node("Add", ["a", "a"], ["y"])])
    assert [layer.kind for layer in graph.layers] == ["conv", "add"]


def test_of_two_convolutions_the_later_takes_the_sum(load):
    graph = load([conv("x", "a"), conv("x", "b"), conv("a", "c"), node("Add", ["c", "b"], ["y"])])
    assert [(layer.name, layer.residual) for layer in graph.layers] == [
        ("a", None),
        ("b", None),
        ("c", "b"),
    ]


def test_a_residual_computed_later_than_the_convolution_comes_before_it(load):
    graph = load(
        [
            conv("x", "a"),
            conv("x", "b"),
            node("Relu", ["b"], ["r"]),
            node("Add", ["a", "r"], ["y"]),
        ]
    )
    assert [(layer.name, layer.residual) for layer in graph.layers] == [("b", None), ("a", "b")]


def test_activation_between_convolution_and_sum_prevents_the_residual(load):
    graph = load([conv("x", "a"), node("Relu", ["a"], ["r"]), node("Add", ["x", "r"], ["y"])])
    assert [layer.kind for layer in graph.layers] == ["conv", "add"]


def test_layers_that_no_output_needs_are_dropped(load):
    graph = load([conv("x", "a"), conv("x", "b"), node("Relu", ["a"], ["y"])])
    assert [layer.name for layer in graph.layers] == ["a"]


def test_a_fused_convolution_beyond_float32_is_refused(make_model):
    nodes = [node("Conv", ["x", "w"], ["c"], name="big"), node("Mul", ["c", "k"], ["y"])]
    weights = {"w": np.full((1, 1, 1, 1), 1e30, np.float32), "k": np.float32(1e30)}
    with pytest.raises(Exception, match="Layer 'big': folding 'y' into its weights gives values"):
        load_onnx(make_model(nodes, {"x": [1, 1, 2, 2]}, ["y"], weights))


activations = st.one_of(
    st.just(Activation()),
    st.tuples(st.sampled_from([-np.inf, -1.0, 0.0, 1.0]), st.sampled_from([2.0, 6.0, np.inf])).map(
        lambda r: Activation(kind=ActivationKind.CLIP, lo=r[0], hi=r[1])
    ),
    st.floats(0, 1, width=32).map(lambda s: Activation(kind=ActivationKind.LEAKY, slope=s)),
)


@settings(max_examples=60, deadline=None)
@given(first=activations, second=activations)
def test_a_composed_activation_equals_the_two(first, second):
    both = compose(first, second)
    if both is None:
        assert first.kind is not ActivationKind.NONE
        assert second.kind is not ActivationKind.NONE
        return
    data = {"x": np.linspace(-8, 8, 65, dtype=np.float32).reshape(1, 1, 5, 13)}

    def run(*activations):
        names = ["x", *(f"a{i}" for i in range(len(activations)))]
        layers = tuple(
            Layer(name=n, op=Op.IDENTITY, inputs=(i,), activation=a)
            for n, i, a in zip(names[1:], names, activations, strict=False)
        )
        graph = Graph(
            name="g", inputs=(Input(name="x", shape=(1, 5, 13)),), layers=layers, outputs=()
        )
        return run_float(graph, data)[names[-1]]

    np.testing.assert_allclose(run(both), run(first, second), rtol=1e-6, atol=1e-6)


def test_no_name_is_lost_when_layers_fuse(load):
    graph = load([conv("x", "a"), node("Relu", ["a"], ["r"]), conv("r", "b"), pool("b", "y")])
    assert [(layer.name, layer.inputs) for layer in graph.layers] == [("a", ("x",)), ("b", ("a",))]
    assert graph.outputs[0].tensor == "b"
    assert isinstance(graph.layer("b").conv, Conv)
