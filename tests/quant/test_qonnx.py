"""QONNX files compute what the integer reference computes, and load as what was saved."""

from dataclasses import fields, is_dataclass, replace
from functools import partial
from unittest.mock import patch

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilewright.errors import TilewrightError
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
from tilewright.quant.accumulator import accumulator_bound
from tilewright.quant.config import QuantConfig
from tilewright.quant.fixed import FixedGraph
from tilewright.quant.formats import QFormat
from tilewright.quant.qonnx_export import save_fixed, to_qonnx
from tilewright.quant.qonnx_import import load_fixed
from tilewright.quant.quantize import quantize
from tilewright.quant.reference import quantize_inputs, run_fixed

RELU = Activation(kind=ActivationKind.CLIP, lo=0.0)
RELU6 = Activation(kind=ActivationKind.CLIP, lo=0.0, hi=6.0)
BAND = Activation(kind=ActivationKind.CLIP, lo=-0.5, hi=0.75)
LEAKY = Activation(kind=ActivationKind.LEAKY, slope=0.1)
FLAT = Activation(kind=ActivationKind.LEAKY, slope=0.0)
POOL = Pool(kernel=(3, 2), stride=(2, 2), pads=(1, 1, 0, 1), extra=(1, 0))


def conv(rng, name, source, inputs, outputs, kernel=(3, 3), **options):
    groups = options.pop("groups", 1)
    shape = (outputs, inputs // groups, *kernel)
    geometry = {k: options.pop(k) for k in ("stride", "dilation", "pads") if k in options}
    return Layer(
        name=name,
        op=Op.CONV,
        inputs=(source,),
        conv=Conv(
            weight=rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32),
            bias=rng.normal(0.0, 0.2, outputs).astype(np.float32),
            groups=groups,
            linear=options.pop("linear", False),
            **geometry,
        ),
        **options,
    )


def network(seed=0):
    """Every operation, with asymmetric pads, dilation, groups and windows of several sizes."""
    rng = np.random.default_rng(seed)
    same = (1, 1, 1, 1)
    layers = (
        conv(rng, "stem", "image", 3, 8, stride=(2, 1), pads=(0, 1, 1, 2), activation=RELU),
        conv(rng, "depthwise", "stem", 8, 8, pads=same, groups=8, activation=RELU6),
        conv(rng, "grouped", "depthwise", 8, 8, pads=same, groups=2, residual="stem"),
        conv(rng, "dilated", "grouped", 8, 4, dilation=(2, 1), pads=(2, 2, 1, 1), activation=LEAKY),
        conv(rng, "pooled", "dilated", 4, 4, (1, 1), activation=BAND, max_pool=POOL),
        conv(
            rng, "flat", "dilated", 4, 4, (2, 2), activation=FLAT, max_pool=POOL, pads=(0, 1, 1, 0)
        ),
        Layer(name="add", op=Op.ADD, inputs=("pooled", "flat", "pooled"), activation=LEAKY),
        Layer(name="concat", op=Op.CONCAT, inputs=("pooled", "add", "extra")),
        Layer(name="max", op=Op.MAX_POOL, inputs=("concat",), pool=POOL),
        Layer(name="mean", op=Op.AVG_POOL, inputs=("max",), pool=replace(POOL, count_pads=True)),
        Layer(name="relu", op=Op.IDENTITY, inputs=("mean",), activation=RELU),
        conv(rng, "fc", "relu", 10, 5, (2, 2), linear=True),
    )
    return Graph(
        name="network",
        inputs=(
            Input(name="image", shape=(3, 12, 9), mean=(120.0, 110.0, 100.5), scale=(1 / 57,)),
            Input(name="extra", shape=(2, 4, 5)),
        ),
        layers=layers,
        outputs=(
            Output(name="scores", tensor="fc", shape=(5,), host_ops=("Softmax(axes=1)",)),
            Output(name="features", tensor="grouped", shape=(8, 6, 9)),
        ),
    )


def data(count=2, seed=1):
    rng = np.random.default_rng(seed)
    return {
        "image": rng.integers(0, 256, (count, 3, 12, 9)).astype(np.float32),
        "extra": rng.normal(0.0, 2.0, (count, 2, 4, 5)).astype(np.float32),
    }


def quantized(seed=0, **options):
    return quantize(network(seed), data(), QuantConfig(**options)).fixed


def execute(model, images):
    """All tensors that the qonnx package computes."""
    from qonnx.core import onnx_exec
    from qonnx.core.modelwrapper import ModelWrapper

    # It wraps each node in a model of onnx's newest IR version, which onnxruntime may not know yet.
    make_model = partial(onnx_exec.qonnx_make_model, ir_version=8)
    with patch.object(onnx_exec, "qonnx_make_model", make_model):
        return onnx_exec.execute_onnx(ModelWrapper(model), images, return_full_exec_context=True)


def assert_same_values(fixed, raw):
    """The reference and the qonnx package agree on every value of every layer."""
    integers = quantize_inputs(fixed, raw)
    expected = run_fixed(fixed, integers)
    model = to_qonnx(fixed)
    for index in range(len(raw["image"])):
        context = execute(model, {name: array[index : index + 1] for name, array in raw.items()})
        for name, values in expected.items():
            real = fixed.formats[name].dequantize(values[index : index + 1])
            np.testing.assert_array_equal(context[name], real, err_msg=name)


def same(a, b):
    """Whether two values are equal to the last bit, dataclasses and arrays included."""
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if is_dataclass(a):
        pairs = ((getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
        return type(a) is type(b) and all(same(x, y) for x, y in pairs)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and a == b


# ---- execution ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [2, 4, 8, 12, 16])
def test_qonnx_executes_to_the_reference_values(bits):
    assert_same_values(quantized(weight_bits=bits, feature_bits=bits), data(2, seed=5))


def test_both_float32_and_float64_layers_were_executed():
    def wide(bits):
        fixed = quantized(weight_bits=bits, feature_bits=bits)
        return {
            layer.name: accumulator_bound(layer, fixed.formats) >= 2**24 for layer in fixed.layers
        }

    assert not any(wide(8).values())
    assert all(wide(16)[name] for name in ("stem", "depthwise", "grouped", "dilated", "fc", "mean"))
    assert {node.op_type for node in to_qonnx(quantized()).graph.node} >= {"Conv", "Quant"}


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**16), st.integers(2, 16), st.integers(2, 16), st.integers(-9, 4))
def test_random_networks_and_displaced_formats_execute_equally(seed, weights, features, shift):
    """Also where formats fit badly: many values saturate, or everything rounds to 0."""
    fixed = quantized(seed % 7, weight_bits=weights, feature_bits=features)
    name = fixed.layers[seed % len(fixed.layers)].name
    moved = {**fixed.formats}
    assert_same_values(displaced(fixed, name, moved[name].frac + shift), data(1, seed))


def displaced(fixed, name, frac):
    """`fixed` with another fractional length of one tensor, its readers adapted."""
    from tilewright.quant.constants import fix_layer

    formats = {**fixed.formats, name: QFormat(fixed.formats[name].bits, frac)}
    layers = []
    for layer in fixed.layers:
        layers.append(
            fix_layer(
                layer.layer,
                formats,
                formats[layer.name],
                shape=fixed.graph.shapes[layer.layer.inputs[0]],
                channels=fixed.graph.shapes[layer.name][0],
                weight_bits=layer.weight_bits,
                weight_frac=int(layer.weight_frac[0]),
                weight=layer.weight,
            )
        )
    return FixedGraph(graph=fixed.graph, formats=formats, layers=tuple(layers))


def test_left_shift_beyond_the_hardware_before_leaky_relu_executes_equally():
    fixed = quantized(weight_bits=2, feature_bits=4, layer_feature_bits={"dilated": 16})
    layer = fixed.layer("dilated")
    assert_same_values(displaced(fixed, "dilated", int(layer.acc_frac[0]) + 17), data(1))


def test_weight_fracs_may_differ_between_channels():
    fixed = quantized()
    layer = fixed.layer("dilated")
    step = np.array([0, 1, -1, 2])
    other = replace(layer, weight_frac=layer.weight_frac + step, acc_frac=layer.acc_frac + step)
    layers = tuple(other if x is layer else x for x in fixed.layers)
    assert_same_values(replace(fixed, layers=layers), data(1))


def test_negative_halves_round_up_which_qonnx_half_up_would_not():
    layer = Layer(
        name="conv",
        op=Op.CONV,
        inputs=("image",),
        conv=Conv(weight=np.ones((1, 1, 1, 1), np.float32), bias=np.zeros(1, np.float32)),
    )
    graph = Graph(
        name="halves",
        inputs=(Input(name="image", shape=(1, 1, 4)),),
        layers=(layer,),
        outputs=(Output(name="y", tensor="conv", shape=(4,)),),
    )
    raw = {"image": np.array([-1.5, -0.5, 0.5, 1.5], np.float32).reshape(1, 1, 1, 4)}
    fixed = quantize(graph, raw).fixed
    low = replace(fixed.layers[0], output=QFormat(8, 0), lo=-128, hi=127)
    fixed = replace(fixed, layers=(low,), formats=fixed.formats | {"conv": QFormat(8, 0)})
    context = execute(to_qonnx(fixed), raw)
    assert context["conv"].ravel().tolist() == [-1.0, 0.0, 1.0, 2.0]
    assert run_fixed(fixed, quantize_inputs(fixed, raw))["conv"].ravel().tolist() == [-1, 0, 1, 2]


# ---- the file ----------------------------------------------------------------------------------


def test_model_is_valid_onnx_with_power_of_two_scales(tmp_path):
    save_fixed(quantized(), tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(model)
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    quants = [node for node in model.graph.node if node.op_type == "Quant"]
    assert len(quants) > len(quantized().layers)
    for node in quants:
        assert node.domain == "qonnx.custom_op.general"
        scale, zero, bits = (constants[name] for name in node.input[1:])
        assert (np.frexp(scale)[0] == 0.5).all() and zero == 0.0 and 2 <= bits <= 18
    assert [o.name for o in model.graph.output] == ["fc", "grouped"]


@pytest.mark.parametrize("options", [{}, {"weight_bits": 3, "feature_bits": 16}, {"static": True}])
def test_loading_restores_exactly_what_was_saved(tmp_path, options):
    fixed = quantized(**options)
    save_fixed(fixed, tmp_path / "net.onnx")
    assert same(load_fixed(tmp_path / "net.onnx"), fixed)


def test_saving_replaces_a_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"old")
    save_fixed(quantized(), path)
    assert same(load_fixed(path), quantized())
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]


def test_unwritable_place_is_refused_by_name(tmp_path):
    with pytest.raises(
        TilewrightError, match=r"missing/net\.onnx: cannot be written: No such file"
    ):
        save_fixed(quantized(), tmp_path / "missing" / "net.onnx")


def refused(path, message):
    with pytest.raises(TilewrightError, match=message) as caught:
        load_fixed(path)
    assert str(path) in str(caught.value)


def test_files_that_are_no_saved_network_are_refused(tmp_path):
    path = tmp_path / "net.onnx"
    refused(path, r"cannot be read: No such file")
    path.write_bytes(b"\x89PNG not a network at all")
    refused(path, r"not an ONNX file, or a truncated one")
    save_fixed(quantized(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(path, r"truncated|changed or damaged|not a quantized network")
    model = onnx.load_from_string(whole)
    del model.metadata_props[:]
    onnx.save(model, path)
    refused(path, r"not a quantized network that Tilewright saved; import it")


def edit_metadata(old, new):
    def edit(model):
        assert old in model.metadata_props[0].value
        model.metadata_props[0].value = model.metadata_props[0].value.replace(old, new, 1)

    return edit


def edit_scale(model):
    scale = next(t for t in model.graph.initializer if t.name == "image/quant/scale")
    scale.raw_data = np.float32(3.0).tobytes()


def edit_weight(model):
    weight = next(t for t in model.graph.initializer if t.name == "stem/weight")
    weight.raw_data = np.float32(0.123).tobytes() + weight.raw_data[4:]


def edit_nodes(model):
    del model.graph.node[-1]


def drop_weights(model):
    kept = [t for t in model.graph.initializer if t.name != "stem/float_weight"]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            edit_metadata('"version": 1', '"version": 2'),
            r"version 2 of the format, this .* version 1",
        ),
        (edit_metadata('"layers"', '"slayer"'), r"changed or damaged .*\('layers'\)"),
        (edit_metadata('"groups": 8', '"groups": 4'), r"changed or damaged"),
        (edit_metadata('"op": "conv"', '"op": "lstm"'), r"changed or damaged .*'lstm'"),
        (edit_metadata('"lo": 0', '"lo": 1'), r"does not match its metadata"),
        (edit_metadata('"lo": 0', '"lo": -1'), r"clip range .* leaves its format"),
        (edit_metadata("{", "["), r"changed or damaged"),
        (edit_scale, r"initializer '.*/scale' does not match its metadata"),
        (edit_weight, r"weights are no integers of 8 bits"),
        (edit_nodes, r"nodes, its metadata describe"),
        (drop_weights, r"changed or damaged .*stem/float_weight"),
    ],
)
def test_files_changed_after_saving_are_refused(tmp_path, edit, message):
    model = to_qonnx(quantized())
    edit(model)
    onnx.save(model, tmp_path / "net.onnx")
    refused(tmp_path / "net.onnx", message)


def test_layer_named_like_another_layers_weights_is_refused():
    graph = network()
    layers = tuple(
        replace(
            layer,
            name="stem/weight" if layer.name == "relu" else layer.name,
            inputs=tuple("stem/weight" if n == "relu" else n for n in layer.inputs),
        )
        for layer in graph.layers
    )
    fixed = quantize(
        Graph(name="g", inputs=graph.inputs, layers=layers, outputs=graph.outputs), data()
    ).fixed
    with pytest.raises(TilewrightError, match=r"Layer 'stem/weight': QONNX needs this name"):
        to_qonnx(fixed)
