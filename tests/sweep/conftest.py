"""A small network with labelled data in a working directory of its own, and running `sweep` on it."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tilewright.cli import main

pytest.importorskip("optuna")
pytest.importorskip("distributed")


def network():
    """Two layers with weights: [2, 8, 8] to 3 classes."""
    rng = np.random.default_rng(1)
    shapes = {"w": (8, 2, 3, 3), "b": (8,), "v": (3, 8), "c": (3,)}
    weights = [
        numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["conv"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"], "relu"),
        helper.make_node("MaxPool", ["relu"], ["pool"], "pool", kernel_shape=[8, 8]),
        helper.make_node("Flatten", ["pool"], ["flat"], "flat"),
        helper.make_node("Gemm", ["flat", "v", "c"], ["y"], "fc", transB=1),
    ]
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", kind, (1, 2, 8, 8))],
        [helper.make_tensor_value_info("y", kind, (1, 3))], weights,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Folder with net.onnx, labelled data and a configuration without slow learned rounding."""
    path = tmp_path_factory.mktemp("sweep")
    onnx.save(network(), path / "net.onnx")
    (path / "tilewright.toml").write_text('[quant]\nrounding = "nearest"\n')
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 96)
    images = rng.normal(size=(96, 2, 8, 8)) + labels[:, None, None, None]
    np.savez(path / "data.npz", x=images.astype(np.float32), labels=labels)
    np.save(path / "unlabelled.npy", images.astype(np.float32))
    return path


@pytest.fixture
def sweep(folder, monkeypatch, capsys):
    """Run the command in threads of this process; gives its JSON."""
    monkeypatch.chdir(folder)

    def run(*arguments, model="net.onnx"):
        given = ("sweep", model, "--data", "data.npz", "--quiet", "--json", "--workers", "0")
        assert main([*given, *arguments]) == 0
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def refused(folder, monkeypatch, capsys):
    """The message of a command that must end with exit code 2."""
    monkeypatch.chdir(folder)

    def run(*arguments, data="data.npz", model="net.onnx"):
        given = ("sweep", model, "--data", data, "--quiet", "--workers", "0")
        assert main([*given, *arguments]) == 2
        out, err = capsys.readouterr()
        assert out == "" and "Traceback" not in err
        return err

    return run
