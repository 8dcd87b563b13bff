"""Broken model files end in one clear message."""

# mypy: disable-error-code="union-attr"

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tilewright.errors import TilewrightError
from tilewright.graph import load_onnx

node = helper.make_node


@pytest.fixture
def conv(make_model):
    weights = {"w": np.ones((2, 2, 3, 3), np.float32)}
    return make_model([node("Conv", ["x", "w"], ["y"])], {"x": [1, 2, 5, 5]}, ["y"], weights)


def test_a_missing_file(tmp_path):
    with pytest.raises(TilewrightError, match=r"^Cannot read model .*none\.onnx: No such file"):
        load_onnx(tmp_path / "none.onnx")


@pytest.mark.parametrize("data", [b"", b"no model", b"\x89PNG\r\n\x1a\n" * 9, b"\x00" * 64])
def test_a_file_that_is_not_onnx(tmp_path, data):
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    with pytest.raises(TilewrightError, match=r"net\.onnx is not (an|a complete) ONNX"):
        load_onnx(path)


def test_every_truncation_is_refused(conv, tmp_path):
    data = conv.SerializeToString()
    path = tmp_path / "net.onnx"
    for length in range(0, len(data) - 1, 7):
        path.write_bytes(data[:length])
        with pytest.raises(TilewrightError):
            load_onnx(path)


def test_external_weights_beside_the_model(conv, tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(conv, path, save_as_external_data=True, location="weights", size_threshold=0)
    assert load_onnx(path).layers[0].conv.weight.shape == (2, 2, 3, 3)
    (tmp_path / "weights").unlink()
    with pytest.raises(TilewrightError, match=r"weight 'w' cannot be read from 'weights'"):
        load_onnx(path)


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "a/../../secret", ""])
def test_external_weights_outside_the_folder_are_refused(conv, tmp_path, location):
    (tmp_path / "secret").write_bytes(bytes(144))
    folder = tmp_path / "model"
    folder.mkdir()
    (tensor,) = conv.graph.initializer
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    (folder / "net.onnx").write_bytes(conv.SerializeToString())
    with pytest.raises(TilewrightError, match="outside the model's folder"):
        load_onnx(folder / "net.onnx")


def test_a_link_out_of_the_folder_is_refused(conv, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    onnx.save(conv, folder / "net.onnx", save_as_external_data=True, location="w", size_threshold=0)
    (folder / "w").rename(tmp_path / "w")
    (folder / "w").symlink_to(tmp_path / "w")
    with pytest.raises(TilewrightError, match="outside the model's folder"):
        load_onnx(folder / "net.onnx")


@pytest.mark.parametrize("opset", [6, 999])
def test_opsets_that_are_too_old_or_too_new(make_model, opset):
    model = make_model([node("Relu", ["x"], ["y"])], {"x": [1, 2, 3, 3]}, ["y"], opset=opset)
    with pytest.raises(TilewrightError, match=f"uses opset {opset}; opsets 7 to"):
        load_onnx(model)


def test_tensors_that_nothing_makes(make_model):
    model = make_model([node("Relu", ["z"], ["y"])], {"x": [1, 2, 3, 3]}, ["y"])
    with pytest.raises(TilewrightError, match="reads tensor 'z', which nothing before it makes"):
        load_onnx(model)
    model = make_model([node("Relu", ["x"], ["y"])], {"x": [1, 2, 3, 3]}, ["q"])
    with pytest.raises(TilewrightError, match="output 'q' is made by no node"):
        load_onnx(model)


def test_local_functions_are_inlined(make_model):
    model = make_model(
        [node("Twice", ["x"], ["y"], domain="own")], {"x": [1, 2, 3, 3]}, ["y"], opset=17
    )
    body = [node("Add", ["a", "a"], ["b"]), node("Relu", ["b"], ["c"])]
    imports = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("own", "Twice", ["a"], ["c"], body, imports))
    model.opset_import.append(helper.make_opsetid("own", 1))
    assert [layer.kind for layer in load_onnx(model).layers] == ["add"]
