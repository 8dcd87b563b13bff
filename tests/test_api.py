"""The Python API, as the README's ten lines use it."""

import io
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

import tilewright
from tilewright.errors import TilewrightError

IMAGES = np.random.default_rng(0).normal(size=(8, 3, 6, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU6(), nn.Conv2d(4, 2, 1))
    return tilewright.load(module, IMAGES[:1], name="two", mean=[0.5], scale=[1, 2, 3])


def test_a_module_is_loaded_with_its_preprocessing(net):
    assert net.name == "two"
    assert (net.inputs[0].mean, net.inputs[0].scale) == ((0.5,), (1.0, 2.0, 3.0))


def test_a_module_needs_an_example():
    with pytest.raises(TilewrightError, match=r"^A PyTorch module needs example="):
        tilewright.load(nn.ReLU())


def test_preprocessing_must_fit_the_channels():
    with pytest.raises(
        TilewrightError, match="has 3 channels; scale must have 1 or 3 values, not 2"
    ):
        tilewright.load(nn.Conv2d(3, 4, 3), IMAGES[:1], scale=[1, 2])


def test_an_array_and_a_dataloader_calibrate_alike(net):
    dataset = torch.utils.data.TensorDataset(torch.from_numpy(IMAGES))
    loader = torch.utils.data.DataLoader(dataset, batch_size=3)
    one = tilewright.quantize(net, IMAGES, bits=6)
    other = tilewright.quantize(net, loader, bits=6)
    assert one.fixed.formats == other.fixed.formats
    assert {form.bits for form in one.fixed.formats.values()} == {6}


def test_a_quantized_network_is_fine_tuned_on_a_loader(net):
    labels = torch.arange(8) % 32
    dataset = torch.utils.data.TensorDataset(torch.from_numpy(IMAGES), labels)
    loader = torch.utils.data.DataLoader(dataset, batch_size=4, shuffle=True)
    quantized = tilewright.quantize(net, IMAGES, bits=4)
    tuned = tilewright.fine_tune(quantized, loader)
    assert tuned.formats == quantized.fixed.formats
    with pytest.raises(TilewrightError, match="the loss is nan"):
        tilewright.fine_tune(quantized, [(IMAGES * np.nan, labels)])


def test_the_report_prints_and_returns_float_fixed_and_predicted_cycles(net):
    compiled = tilewright.compile(tilewright.quantize(net, IMAGES))
    console = Console(file=io.StringIO(), record=True, width=200)
    found = tilewright.report(compiled, IMAGES, console=console)
    assert "float / fixed / RTL" in console.export_text()
    first = found.layers[0]
    assert first.sqnr_db is not None and first.sqnr_db > 15
    assert first.cycles_predicted and first.cycles_measured is None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_readme_s_ten_lines_run_as_they_stand_there(tmp_path, monkeypatch, net, capsys):
    text = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    (lines,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    np.save("images.npy", IMAGES)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU6(), nn.Conv2d(4, 2, 1)).eval()
    torch.onnx.export(module, (torch.from_numpy(IMAGES[:1]),), "model.onnx", dynamo=False)
    Path("ten_lines.py").write_text(lines, "utf-8")
    runpy.run_path("ten_lines.py")
    assert capsys.readouterr().out.startswith("True []\n")
    assert Path("out/verilog/tilewright.v").is_file()
