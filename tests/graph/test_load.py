"""Real networks from PyPI packages, loaded and compared with ONNX Runtime."""

# mypy: disable-error-code="union-attr"

from pathlib import Path

import onnx
import pytest

from tilewright.errors import TilewrightError
from tilewright.graph import check_model, load_onnx

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def test_mnist_8():
    package = pytest.importorskip("qonnx", reason="qonnx is not installed")
    path = Path(package.__file__).parent / "data" / "onnx" / "mnist-conv" / "model.onnx"
    graph = load_onnx(path)
    assert graph.name == "model"
    assert [layer.kind for layer in graph.layers] == ["conv", "conv", "fc"]
    first, second, last = graph.layers
    assert (first.conv.pads, first.max_pool.kernel) == ((2, 2, 2, 2), (2, 2))
    assert (second.max_pool.kernel, second.max_pool.stride) == ((3, 3), (3, 3))
    assert last.conv.weight.shape == (10, 16, 4, 4)
    sizes = [layer.conv.weight.size + layer.conv.bias.size for layer in graph.layers]
    assert sum(sizes) == 5994


@pytest.mark.parametrize("name", ["bvlc_alexnet", "inception_v1", "zfnet512"])
def test_graphs_with_local_response_normalization_are_refused_in_full(name):
    path = LIGHT / f"light_{name}.onnx"
    found = check_model(path)
    assert [(f.op_type, f.attribute) for f in found] == [("LRN", None)] * 2
    with pytest.raises(TilewrightError, match="has 2 things that Tilewright does not support"):
        load_onnx(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("densenet121", {"conv": 121, "concat": 58, "max_pool": 1, "avg_pool": 4}),
        ("inception_v2", {"conv": 69, "concat": 10, "max_pool": 5, "avg_pool": 8, "fc": 1}),
        ("resnet50", {"conv": 53, "max_pool": 1, "avg_pool": 1, "fc": 1}),
        ("shufflenet", {"depthwise": 16, "fc": 1, "max_pool": 1, "avg_pool": 4}),
        ("squeezenet", {"conv": 26, "concat": 8, "max_pool": 3, "avg_pool": 1}),
        ("vgg19", {"conv": 16, "fc": 3}),
    ],
)
def test_full_size_graphs_import(name, kinds):
    graph = load_onnx(LIGHT / f"light_{name}.onnx")
    found = [layer.kind for layer in graph.layers]
    assert {kind: found.count(kind) for kind in kinds} == kinds
