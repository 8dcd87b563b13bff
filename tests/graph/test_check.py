"""The pre-flight check lists everything at once, and says where, why and what to do."""

# mypy: disable-error-code="union-attr"

import numpy as np
import pytest
from onnx import helper

from tilewright.errors import TilewrightError
from tilewright.graph import check_model, load_onnx

node = helper.make_node
ONE = np.ones((1,), np.float32)


def floats(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_everything_is_listed_at_once(make_model):
    nodes = [
        node("Conv", ["x", "w"], ["c"], name="first", colour=3),
        node("Conv", ["x", "w"], ["z"], name="bad", auto_pad="WRONG", strides=[1]),
        node("LRN", ["c"], ["l"], name="norm", size=3),
        node("Sin", ["l"], ["s"], name="wave"),
        node("MaxPool", ["s"], ["p"], name="pool", kernel_shape=[2, 2], dilations=[2, 1]),
        node("Mul", ["p", "p"], ["m"], name="gate"),
        node("Softmax", ["m"], ["t"], name="soft"),
        node("Relu", ["t"], ["y"], name="after"),
        node("Tan", ["x"], ["unused"], name="unused"),
    ]
    weights = {"w": floats(2, 2, 3, 3)}
    found = check_model(make_model(nodes, {"x": [1, 2, 9, 9]}, ["y", "z"], weights))
    assert [(f.node, f.op_type, f.attribute) for f in found] == [
        ("first", "Conv", "colour"),
        ("bad", "Conv", "strides"),
        ("bad", "Conv", "auto_pad"),
        ("norm", "LRN", None),
        ("wave", "Sin", None),
        ("pool", "MaxPool", "dilations"),
        ("gate", "Mul", None),
        ("after", "Relu", None),
    ]
    assert all(f.reason and f.advice and f.source is None for f in found)


def test_importing_raises_with_one_line_for_each_finding(make_model, tmp_path):
    nodes = [node("Sin", ["x"], ["s"], name="a"), node("Tan", ["s"], ["y"], name="b")]
    path = tmp_path / "net.onnx"
    path.write_bytes(make_model(nodes, {"x": [1, 2, 3, 3]}, ["y"]).SerializeToString())
    with pytest.raises(TilewrightError) as error:
        load_onnx(path)
    first, *lines = str(error.value).splitlines()
    assert first == f"{path} has 2 things that Tilewright does not support:"
    assert [line.split(":")[:2] for line in lines] == [["  a", " Sin"], ["  b", " Tan"]]


def test_a_model_that_can_be_imported_has_no_findings(make_model):
    model = make_model([node("Relu", ["x"], ["y"])], {"x": ["batch", 2, 3, 3]}, ["y"])
    assert check_model(model) == []


CASES = {
    "Conv.group": (node("Conv", ["x", "w3"], ["y"], group=3), "3 groups do not fit"),
    "Conv.kernel_shape": (node("Conv", ["x", "w1"], ["y"]), "1-d kernel found"),
    "Conv.W": (node("Conv", ["x", "nan"], ["y"]), "initializer 'nan' holds 1 NaN"),
    "Conv.B": (node("Conv", ["x", "w", "inf"], ["y"]), "initializer 'inf' holds 2 NaN"),
    "Conv.pads": (node("Conv", ["x", "w"], ["y"], pads=[-1, 0, 0, 0]), r"\[-1, 0, 0, 0\] found"),
    "AveragePool.dilations": (
        node("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], dilations=[1, 2]),
        "only .1, 1. is allowed",
    ),
    "MaxPool.storage_order": (
        node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], storage_order=1),
        "1 found, only 0 is allowed",
    ),
    "MaxPool": (node("MaxPool", ["x"], ["y", "i"], kernel_shape=[1, 1]), "output 'i' is used"),
    "BatchNormalization.training_mode": (
        node("BatchNormalization", ["x", "k", "k", "k", "k"], ["y"], training_mode=1),
        "1 found",
    ),
    "BatchNormalization.var": (
        node("BatchNormalization", ["x", "k", "k", "k", "minus"], ["y"]),
        "variance is not positive",
    ),
    "LeakyRelu.alpha": (node("LeakyRelu", ["x"], ["y"], alpha=1.5), "1.5 found, 0 to 1"),
    "PRelu.slope": (node("PRelu", ["x", "slopes"], ["y"]), "4 different slopes"),
    "Pad.mode": (node("Pad", ["x", "pads"], ["y"], mode="reflect"), "'reflect' found"),
    "Pad.pads": (node("Pad", ["x", "crop"], ["y"]), "must not be negative"),
    "Softmax.axis": (node("Softmax", ["x"], ["y"], axis=0), "the axis of the batch"),
    "Dropout.training_mode": (node("Dropout", ["x", "", "true"], ["y"]), "true found"),
    "Concat.axis": (node("Concat", ["x", "x"], ["y"], axis=2), "is not the channels"),
    "ReduceMean.axes": (node("ReduceMean", ["x"], ["y"], axes=[1]), "height and width"),
    "Div": (node("Div", ["one", "x"], ["y"]), "divided by each other"),
    "Div.B": (node("Div", ["x", "zero"], ["y"]), "the divisor holds zeros"),
    "Add": (node("Add", ["x", "pixels"], ["y"]), "differs between the pixels"),
    "Clip.max": (node("Clip", ["x", "", "x"], ["y"]), "computed at run time"),
    "Cast.to": (node("Cast", ["x"], ["y"], to=6), "no float"),
    "Output": (node("Transpose", ["x"], ["y"], perm=[0, 2, 3, 1]), "pixels were moved"),
    "MatMul": (node("MatMul", ["x", "w5"], ["y"]), "one row of 5 values"),
    "custom.Thing": (node("Thing", ["x"], ["y"], domain="custom"), "not supported"),
}


@pytest.mark.parametrize("what", CASES)
def test_refusals_name_the_operator_and_the_attribute(make_model, what):
    made, reason = CASES[what]
    nan = floats(4, 4, 3, 3)
    nan[0, 0, 0, 0] = np.nan
    weights = {"w": floats(4, 4, 3, 3), "w3": floats(4, 2, 3, 3), "w1": floats(4, 4, 3)}
    weights |= {"nan": nan, "inf": np.array([1, np.inf, -np.inf, 2], np.float32)}
    weights |= {"k": np.ones(4, np.float32), "minus": -np.ones(4, np.float32), "w5": floats(5, 2)}
    weights |= {"slopes": np.linspace(0, 1, 4, dtype=np.float32).reshape(4, 1, 1)}
    weights |= {"pads": np.array([0, 0, 1, 1] * 2), "crop": np.array([0, 0, -1, 0] * 2)}
    weights |= {"one": ONE, "zero": ONE * 0, "pixels": floats(1, 4, 6, 5), "true": np.array(True)}
    outputs = ["y", "i"] if "i" in made.output else ["y"]
    found = check_model(make_model([made], {"x": [1, 4, 6, 5]}, outputs, weights))
    assert len(found) == 1
    name = found[0].op_type + (f".{found[0].attribute}" if found[0].attribute else "")
    assert name == what
    with pytest.raises(TilewrightError, match=reason):
        load_onnx(make_model([made], {"x": [1, 4, 6, 5]}, outputs, weights))


def test_nan_behind_folded_constants_names_the_initializer(make_model):
    weight = floats(4, 2)
    weight[1, 1] = np.inf
    nodes = [node("Transpose", ["w"], ["t"]), node("MatMul", ["x", "t"], ["y"])]
    (found,) = check_model(make_model(nodes, {"x": [1, 2]}, ["y"], {"w": weight}))
    assert "initializer 'w' holds 1 NaN or infinite" in found.reason


@pytest.mark.parametrize("shape", [[1, 3, "h", 8], ["n", "c", 8, 8]])
def test_dynamic_dimensions_other_than_the_batch_are_refused(make_model, shape):
    (found,) = check_model(make_model([node("Relu", ["x"], ["y"])], {"x": shape}, ["y"]))
    assert (found.node, found.op_type, found.attribute) == ("x", "Input", "shape")


def test_a_constant_too_large_for_memory_is_not_computed(make_model):
    nodes = [node("ConstantOfShape", ["s"], ["k"]), node("Add", ["x", "k"], ["y"])]
    weights = {"s": np.array([1, 2, 1 << 20, 1 << 20])}
    found = check_model(make_model(nodes, {"x": [1, 2, 3, 3]}, ["y"], weights))
    assert (found[0].op_type, found[0].node) == ("ConstantOfShape", "k")


def test_random_numbers_are_not_folded(make_model):
    shape = [1, 2, 3, 3]
    nodes = [node("RandomNormal", [], ["k"], shape=shape), node("Add", ["x", "k"], ["y"])]
    (found,) = check_model(make_model(nodes, {"x": shape}, ["y"]))
    assert found.op_type == "RandomNormal"


def test_a_fixed_batch_in_a_reshape_is_explained(make_model):
    nodes = [node("Reshape", ["x", "s"], ["f"]), node("Gemm", ["f", "w"], ["y"])]
    weights = {"s": np.array([4, 24]), "w": floats(24, 3)}
    found = check_model(make_model(nodes, {"x": [4, 2, 3, 4]}, ["y"], weights))
    assert found[0].op_type == "Reshape"
    assert "batch size 1" in found[0].advice
