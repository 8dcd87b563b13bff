"""Float execution of graphs against definitions written out with NumPy."""

# mypy: disable-error-code="union-attr"

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilewright.errors import TilewrightError
from tilewright.graph.execute import as_feature_maps, run_float, run_outputs
from tilewright.graph.host_side import apply_host_ops
from tilewright.graph.ir import Conv, Graph, Input, Layer, Op, Output, Pool

RNG = np.random.default_rng(5)


def graph_of(*layers, shape=(2, 5, 4), outputs=()):
    return Graph(name="g", inputs=(Input(name="x", shape=shape),), layers=layers, outputs=outputs)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_pools_divide_as_their_windows_say(data):
    draw = data.draw
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    pads = tuple(draw(st.integers(0, kernel[i // 2] - 1)) for i in range(4))
    extra = tuple(draw(st.integers(0, kernel[i] - 1 - pads[2 * i + 1])) for i in range(2))
    pool = Pool(
        kernel=kernel,
        stride=(draw(st.integers(1, 4)), draw(st.integers(1, 4))),
        pads=pads,
        extra=extra,
        count_pads=draw(st.booleans()),
    )
    size = (draw(st.integers(kernel[0], 8)), draw(st.integers(kernel[1], 8)))
    x = RNG.standard_normal((2, 3, *size)).astype(np.float32)
    graph = graph_of(
        Layer(name="a", op=Op.AVG_POOL, inputs=("x",), pool=pool),
        Layer(name="m", op=Op.MAX_POOL, inputs=("x",), pool=pool),
        shape=(3, *size),
    )
    result = run_float(graph, {"x": x})
    for i, (top, bottom, rows) in enumerate(pool.windows(0, size[0])):
        for j, (left, right, columns) in enumerate(pool.windows(1, size[1])):
            part = x[:, :, top:bottom, left:right]
            average = part.sum((2, 3)) / (rows * columns)
            np.testing.assert_allclose(result["a"][:, :, i, j], average, rtol=1e-4, atol=1e-6)
            np.testing.assert_array_equal(result["m"][:, :, i, j], part.max((2, 3)))
    assert result["a"].shape[2:] == graph.shapes["a"][1:]


def test_asymmetric_pads_put_the_map_where_they_say():
    weight = np.zeros((1, 1, 3, 3), np.float32)
    weight[0, 0, 0, 0] = 1.0
    conv = Conv(weight=weight, bias=np.ones(1, np.float32), pads=(0, 2, 1, 1))
    x = RNG.standard_normal((1, 1, 5, 4)).astype(np.float32)
    graph = graph_of(Layer(name="c", op=Op.CONV, inputs=("x",), conv=conv), shape=(1, 5, 4))
    expected = np.pad(x, ((0, 0), (0, 0), (0, 0), (1, 0)))[:, :, :, :4] + 1.0
    np.testing.assert_allclose(run_float(graph, {"x": x})["c"], expected, rtol=1e-6)


def test_only_kept_tensors_are_returned_and_the_data_is_not_changed():
    layers = [
        Layer(name=n, op=Op.IDENTITY, inputs=(i,)) for n, i in (("a", "x"), ("b", "a"), ("c", "b"))
    ]
    x = RNG.standard_normal((3, 2, 5, 4)).astype(np.float32)
    x.flags.writeable = False
    graph = graph_of(*layers)
    assert set(run_float(graph, {"x": x})) == {"x", "a", "b", "c"}
    assert set(run_float(graph, {"x": x}, keep=["b"])) == {"b"}
    assert set(run_float(graph, {"x": x}, keep=[])) == set()


def test_outputs_have_the_users_shape_and_the_hosts_operators():
    output = Output(name="y", tensor="a", shape=(40,), host_ops=("Softmax(axes=1)",))
    graph = graph_of(Layer(name="a", op=Op.IDENTITY, inputs=("x",)), outputs=(output,))
    x = RNG.standard_normal((3, 2, 5, 4)).astype(np.float32)
    exp = np.exp(x.reshape(3, 40))
    expected = exp / exp.sum(1, keepdims=True)
    np.testing.assert_allclose(run_outputs(graph, {"x": x})["y"], expected, rtol=1e-5)
    raw = run_outputs(graph, {"x": x}, host=False)["y"]
    np.testing.assert_array_equal(raw, x.reshape(3, 40))


def test_host_operators():
    x = np.array([[1.0, 3.0], [1000.0, -1000.0]], np.float32)
    soft = apply_host_ops(x, ["Softmax(axes=1)"])
    np.testing.assert_allclose(soft, np.array([[0.11920292, 0.880797], [1.0, 0.0]]), rtol=1e-5)
    np.testing.assert_allclose(np.exp(apply_host_ops(x, ["LogSoftmax(axes=1)"])), soft, rtol=1e-5)
    np.testing.assert_allclose(apply_host_ops(x[:1], ["Sigmoid()"]), [[0.7310586, 0.95257413]])


def test_data_is_taken_as_the_users_model_takes_it():
    x = RNG.standard_normal((3, 2, 5, 4)).astype(np.float32)
    nhwc = Input(name="x", shape=(2, 5, 4), layout="nhwc")
    np.testing.assert_array_equal(as_feature_maps(nhwc, x.transpose(0, 2, 3, 1)), x)
    np.testing.assert_array_equal(as_feature_maps(nhwc, x), x)
    flat = Input(name="x", shape=(2, 5, 4), layout="flat")
    np.testing.assert_array_equal(as_feature_maps(flat, x.reshape(3, 40)), x)
    with pytest.raises(TilewrightError, match=r"'x' has shape \[3, 40\], \['N', 5, 4, 2\] is"):
        as_feature_maps(nhwc, x.reshape(3, 40))


def test_wrong_data_is_refused():
    graph = graph_of(Layer(name="a", op=Op.IDENTITY, inputs=("x",)))
    x = np.zeros((1, 2, 5, 4), np.float32)
    with pytest.raises(TilewrightError, match=r"^Input 'z' is not one of .* \['x'\]"):
        run_float(graph, {"x": x, "z": x})
    with pytest.raises(TilewrightError, match=r"^Data for input 'x' is missing"):
        run_float(graph, {})
    for bad in (x[0], x[:0], x.transpose(0, 1, 3, 2)):
        with pytest.raises(TilewrightError, match=r"^Data for input 'x' has shape .*'N', 2, 5, 4"):
            run_float(graph, {"x": bad})
