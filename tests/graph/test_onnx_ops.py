"""Every operator computes what ONNX Runtime computes (load_onnx compares and raises)."""

# mypy: disable-error-code="union-attr"

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import helper

from tilewright.graph.ir import ActivationKind, Op
from tilewright.graph.load import load_onnx

node = helper.make_node
SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def floats(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@SETTINGS
@given(data=st.data())
def test_conv_of_any_geometry(make_model, data):
    draw = data.draw
    kernel = [draw(st.integers(1, 4)) for _ in range(2)]
    groups, per_in, per_out = (draw(st.integers(1, 3)) for _ in range(3))
    attrs = {
        "kernel_shape": kernel,
        "strides": [draw(st.integers(1, 3)) for _ in range(2)],
        "dilations": [draw(st.integers(1, 3)) for _ in range(2)],
        "group": groups,
    }
    mode = draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if mode == "NOTSET":
        attrs["pads"] = [draw(st.integers(0, 3)) for _ in range(4)]
    else:
        attrs["auto_pad"] = mode
    size = [
        draw(st.integers(1, 9)) + (k - 1) * d
        for k, d in zip(kernel, attrs["dilations"], strict=True)
    ]
    # ONNX Runtime computes other SAME pads than the standard for dilated kernels with strides.
    assume(not mode.startswith("SAME") or attrs["dilations"] == [1, 1])
    weights = {"w": floats(groups * per_out, per_in, *kernel), "b": floats(groups * per_out)}
    model = make_model(
        [node("Conv", ["x", "w", "b"], ["y"], **attrs)],
        {"x": ["n", groups * per_in, *size]},
        ["y"],
        weights,
    )
    graph = load_onnx(model)
    assert [layer.op for layer in graph.layers] == [Op.CONV]


@SETTINGS
@given(data=st.data())
def test_pools_of_any_geometry(make_model, data):
    draw = data.draw
    kernel = [draw(st.integers(1, 4)) for _ in range(2)]
    attrs = {"kernel_shape": kernel, "strides": [draw(st.integers(1, 4)) for _ in range(2)]}
    mode = draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if mode == "NOTSET":
        attrs["pads"] = [draw(st.integers(0, k - 1)) for k in kernel * 2]
        attrs["ceil_mode"] = draw(st.integers(0, 1))
    else:
        attrs["auto_pad"] = mode
        # ONNX Runtime refuses SAME with a stride beyond the kernel: it computes negative pads.
        small = all(s <= k for s, k in zip(attrs["strides"], kernel, strict=True))
        assume(mode == "VALID" or small)
    op = draw(st.sampled_from(["MaxPool", "AveragePool"]))
    if op == "AveragePool":
        attrs["count_include_pad"] = draw(st.integers(0, 1))
    size = [draw(st.integers(k, 10)) for k in kernel]
    model = make_model([node(op, ["x"], ["y"], **attrs)], {"x": [2, 3, *size]}, ["y"], opset=19)
    graph = load_onnx(model)
    assert [layer.op for layer in graph.layers] == [Op.MAX_POOL if op == "MaxPool" else Op.AVG_POOL]


@pytest.mark.parametrize("value", [0.0, -np.inf])
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "Conv"])
@pytest.mark.parametrize("relu", [False, True])
def test_pad_is_taken_up_or_computed(make_model, op, value, relu):
    attrs = {"kernel_shape": [3, 2], "strides": [2, 1]}
    nodes = [
        node("Relu", ["x"], ["r"]),
        node("Pad", ["r" if relu else "x", "pads", "value"], ["p"]),
        node(op, ["p", "w"] if op == "Conv" else ["p"], ["y"], **attrs),
    ]
    weights = {
        "w": floats(4, 3, 3, 2),
        "pads": np.array([0, 0, 1, 0, 0, 0, 2, 1]),
        "value": np.float32(value),
    }
    model = make_model(nodes[not relu :], {"x": [1, 3, 7, 6]}, ["y"], weights)
    if value and op != "MaxPool":
        with pytest.raises(Exception, match="padded with -inf"):
            load_onnx(model)
        return
    layers = load_onnx(model).layers
    computed = op == "MaxPool" and not relu and value == 0.0
    assert sum(layer.op is Op.CONV for layer in layers) == (op == "Conv") + computed


def test_pad_of_opset_10_and_pad_with_axes(make_model):
    old = [node("Pad", ["x"], ["p"], pads=[0, 0, 1, 2, 0, 0, 3, 0])]
    new = [node("Pad", ["x", "pads", "", "axes"], ["p"])]
    conv = node("Conv", ["p", "w"], ["y"])
    weights = {"w": floats(2, 2, 3, 3)}
    axes = {"pads": np.array([1, 2, 3, 0]), "axes": np.array([-2, 3])}
    for head, more, opset in ((old, {}, 10), (new, axes, 18)):
        model = make_model([*head, conv], {"x": [1, 2, 5, 6]}, ["y"], weights | more, opset=opset)
        (layer,) = load_onnx(model).layers
        assert layer.conv.pads == (1, 3, 2, 0)


def test_channels_padded_with_zeros(make_model):
    nodes = [node("Pad", ["x", "pads"], ["y"])]
    pads = {"pads": np.array([0, 1, 0, 0, 0, 2, 0, 0])}
    graph = load_onnx(make_model(nodes, {"x": [1, 2, 3, 4]}, ["y"], pads))
    assert graph.shapes[graph.outputs[0].tensor] == (5, 3, 4)


@pytest.mark.parametrize("opset", [7, 9, 15])
def test_batch_norm_is_folded_into_the_convolution(make_model, opset):
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"], epsilon=0.01),
        node("Relu", ["n"], ["y"]),
    ]
    weights = {n: floats(4, seed=i) for i, n in enumerate("gbm")}
    weights |= {"v": np.abs(floats(4)) + 0.1, "w": floats(4, 3, 3, 3)}
    graph = load_onnx(make_model(nodes, {"x": [1, 3, 5, 6]}, ["y"], weights, opset=opset))
    (layer,) = graph.layers
    assert layer.activation.lo == 0.0


def test_batch_norm_without_convolution_is_depthwise(make_model):
    nodes = [
        node("BatchNormalization", ["x", "g", "b", "m", "v"], ["n"]),
        node("Relu", ["n"], ["r"]),
        node("Conv", ["r", "w"], ["y"]),
    ]
    weights = {n: floats(3, seed=i) for i, n in enumerate("gbm")}
    weights |= {"v": np.abs(floats(3)) + 0.1, "w": floats(4, 3, 3, 3)}
    graph = load_onnx(make_model(nodes, {"x": [1, 3, 5, 6]}, ["y"], weights))
    assert [layer.kind for layer in graph.layers] == ["depthwise", "conv"]


@pytest.mark.parametrize("shape", [(), (3, 1, 1), (1, 3, 1, 1), (1, 1, 1)])
@pytest.mark.parametrize(
    ("op", "left"),
    [(op, left) for op in ("Add", "Sub", "Mul", "Div") for left in (False, True)][:-1],
)
def test_constants_are_folded(make_model, op, shape, left):
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node(op, ["k", "c"] if left else ["c", "k"], ["y"]),
    ]
    weights = {"w": floats(3, 2, 2, 2), "k": np.asarray(floats(*shape) + 3.0, np.float32)}
    graph = load_onnx(make_model(nodes, {"x": [1, 2, 5, 4]}, ["y"], weights))
    assert len(graph.layers) == 1


def test_activations(make_model):
    cases = [
        (node("Relu", ["c"], ["y"]), ActivationKind.CLIP),
        (node("Clip", ["c", "", "six"], ["y"]), ActivationKind.CLIP),
        (node("Clip", ["c", "minus", "six"], ["y"]), ActivationKind.CLIP),
        (node("Clip", ["c"], ["y"]), ActivationKind.NONE),
        (node("LeakyRelu", ["c"], ["y"]), ActivationKind.LEAKY),
        (node("LeakyRelu", ["c"], ["y"], alpha=0.25), ActivationKind.LEAKY),
        (node("Max", ["minus", "c"], ["y"]), ActivationKind.CLIP),
        (node("Min", ["c", "six"], ["y"]), ActivationKind.CLIP),
        (node("PRelu", ["c", "slope"], ["y"]), ActivationKind.LEAKY),
    ]
    weights = {"w": floats(3, 2, 2, 2), "six": np.float32(0.6), "minus": np.float32(-0.5)}
    weights["slope"] = np.full((3, 1, 1), 0.125, np.float32)
    for activation, kind in cases:
        nodes = [node("Conv", ["x", "w"], ["c"]), activation]
        (layer,) = load_onnx(make_model(nodes, {"x": [1, 2, 5, 4]}, ["y"], weights)).layers
        assert layer.activation.kind is kind


def test_clip_of_opset_7_has_attributes(make_model):
    nodes = [node("Clip", ["x"], ["y"], min=0.0, max=0.5)]
    (layer,) = load_onnx(make_model(nodes, {"x": [1, 2, 5, 4]}, ["y"], opset=7)).layers
    assert (layer.op, layer.activation.hi) == (Op.IDENTITY, 0.5)


@pytest.mark.parametrize("trans", [0, 1])
def test_gemm_after_flatten_covers_a_non_square_map(make_model, trans):
    weights = {"w": floats(*((5, 24) if trans else (24, 5))), "b": floats(5)}
    nodes = [
        node("Flatten", ["x"], ["f"]),
        node("Gemm", ["f", "w", "b"], ["y"], transB=trans, alpha=0.5, beta=2.0),
    ]
    graph = load_onnx(make_model(nodes, {"x": ["n", 2, 3, 4]}, ["y"], weights))
    (layer,) = graph.layers
    assert (layer.kind, layer.conv.weight.shape) == ("fc", (5, 2, 3, 4))
    assert graph.outputs[0].shape == (5,)


def test_matmul_with_reshaped_weights_and_bias(make_model):
    nodes = [
        node("Reshape", ["w", "ws"], ["w2"]),
        node("Reshape", ["x", "xs"], ["f"]),
        node("MatMul", ["f", "w2"], ["m"]),
        node("Add", ["m", "b"], ["y"]),
    ]
    weights = {"w": floats(2, 3, 4, 5), "b": floats(1, 5)}
    weights |= {"ws": np.array([24, 5]), "xs": np.array([1, 24])}
    graph = load_onnx(make_model(nodes, {"x": [1, 2, 3, 4]}, ["y"], weights))
    assert [layer.kind for layer in graph.layers] == ["fc"]


def test_vector_input_and_two_fully_connected_layers(make_model):
    nodes = [
        node("Gemm", ["x", "w"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("MatMul", ["r", "v"], ["l"]),
        node("LogSoftmax", ["l"], ["y"]),
    ]
    weights = {"w": floats(7, 6), "v": floats(6, 4)}
    graph = load_onnx(make_model(nodes, {"x": ["n", 7]}, ["y"], weights))
    assert graph.inputs[0].shape == (7, 1, 1)
    assert graph.outputs[0].host_ops == ("LogSoftmax(axes=1)",)


def test_nhwc_model_with_transposes(make_model):
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        node("Conv", ["t", "w"], ["c"]),
        node("Transpose", ["c"], ["u"], perm=[0, 2, 3, 1]),
        node("Relu", ["u"], ["r"]),
        node("ReduceMean", ["r"], ["m"], axes=[1, 2], keepdims=0),
        node("Flatten", ["r"], ["f"]),
        node("Gemm", ["f", "v"], ["y"]),
    ]
    weights = {"w": floats(3, 2, 2, 2), "v": floats(3 * 4 * 5, 4)}
    graph = load_onnx(make_model(nodes, {"x": [1, 5, 6, 2]}, ["y", "m"], weights))
    assert graph.inputs[0].shape == (2, 5, 6)
    assert graph.inputs[0].layout == "nhwc"


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_mean_over_the_map(make_model, opset):
    weights = {"axes": np.array([-1, -2])} if opset >= 18 else {}
    mean = (
        node("ReduceMean", ["x", "axes"], ["m"])
        if weights
        else node("ReduceMean", ["x"], ["m"], axes=[2, 3])
    )
    maximum = helper.make_node("ReduceMax", ["x"], ["top"], axes=[2, 3], keepdims=0)
    if opset < 18:
        model = make_model([maximum], {"x": [1, 3, 5, 4]}, ["top"], opset=opset)
        assert [layer.op for layer in load_onnx(model).layers] == [Op.MAX_POOL]
    nodes = [mean, node("GlobalAveragePool", ["x"], ["g"]), node("Add", ["m", "g"], ["y"])]
    graph = load_onnx(make_model(nodes, {"x": [1, 3, 5, 4]}, ["y"], weights, opset=opset))
    assert [layer.op for layer in graph.layers] == [Op.AVG_POOL, Op.AVG_POOL, Op.ADD]


def test_channel_shuffle_split_and_strided_slice_become_selections(make_model):
    nodes = [
        node("Reshape", ["x", "five"], ["a"]),
        node("Transpose", ["a"], ["b"], perm=[0, 2, 1, 3, 4]),
        node("Reshape", ["b", "four"], ["c"]),
        node("Split", ["c"], ["d", "e"], axis=1),
        node("Add", ["d", "e"], ["s"]),
        node("Slice", ["s", "from", "to", "axes", "steps"], ["z"]),
        node("Relu", ["z"], ["y"]),
    ]
    weights = {"five": np.array([0, 2, 3, 5, 6]), "four": np.array([1, 6, 5, 6])}
    weights |= {"from": np.array([0, 0]), "to": np.array([9, 9])}
    weights |= {"axes": np.array([2, 3]), "steps": np.array([2, 3])}
    graph = load_onnx(make_model(nodes, {"x": [1, 6, 5, 6]}, ["y"], weights, opset=13))
    assert graph.shapes[graph.outputs[0].tensor] == (3, 3, 2)


def test_shape_arithmetic_is_folded(make_model):
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "two"], ["h"]),
        node("Div", ["h", "three"], ["p"]),
        node("Concat", ["zeros", "p", "one", "zeros", "p", "one"], ["pads"], axis=0),
        node("Pad", ["x", "pads"], ["q"]),
        node("Conv", ["q", "w"], ["c"]),
        node("Shape", ["c"], ["cs"]),
        node("Slice", ["cs", "zero", "one"], ["n"]),
        node("Concat", ["n", "minus"], ["to"], axis=0),
        node("Reshape", ["c", "to"], ["y"]),
    ]
    weights = {"w": floats(2, 2, 3, 3), "minus": np.array([-1]), "two": np.array([2])}
    weights |= {"zeros": np.array([0, 0]), "zero": np.array([0])}
    weights |= {"one": np.array([1]), "three": np.array([3])}
    graph = load_onnx(make_model(nodes, {"x": ["n", 2, 7, 6]}, ["y"], weights))
    (layer,) = graph.layers
    assert layer.conv.pads == (2, 2, 1, 1)
    assert graph.outputs[0].shape == (2 * 9 * 6,)


def test_concat_of_maps_and_of_vectors(make_model):
    nodes = [
        node("Concat", ["x", "z"], ["c"], axis=-3),
        node("GlobalAveragePool", ["x"], ["g"]),
        node("GlobalMaxPool", ["z"], ["h"]),
        node("Flatten", ["g"], ["gf"]),
        node("Flatten", ["h"], ["hf"]),
        node("Concat", ["gf", "hf"], ["v"], axis=1),
    ]
    graph = load_onnx(make_model(nodes, {"x": [1, 2, 4, 3], "z": [1, 3, 4, 3]}, ["c", "v"]))
    assert [o.shape for o in graph.outputs] == [(5, 4, 3), (5,)]


def test_softmax_of_opset_12_runs_over_all_that_follows(make_model):
    nodes = [node("Relu", ["x"], ["r"]), node("Softmax", ["r"], ["y"])]
    for opset, axes in ((12, "1,2,3"), (13, "3")):
        graph = load_onnx(make_model(nodes, {"x": [1, 4, 2, 3]}, ["y"], opset=opset))
        assert graph.outputs[0].host_ops == (f"Softmax(axes={axes})",)


def test_half_precision_models_are_computed_in_float32(make_model):
    kind = np.float16
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Relu", ["c"], ["y"])]
    model = make_model(nodes, {"x": [1, 2, 5, 4]}, ["y"], {"w": floats(3, 2, 2, 2).astype(kind)})
    model.graph.input[0].type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(
        np.dtype(kind)
    )
    (layer,) = load_onnx(model).layers
    assert layer.conv.weight.dtype == np.float32


def test_a_network_that_returns_its_input_and_a_fixed_batch(make_model):
    model = make_model([node("Identity", ["x"], ["y"])], {"x": [4, 3, 2, 5]}, ["y"])
    assert [layer.op for layer in load_onnx(model).layers] == [Op.IDENTITY]
