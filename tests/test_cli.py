"""The command line: results, exit codes and messages."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tilewright.cli import main
from tilewright.quant.adapt import adapt

Capture = pytest.CaptureFixture[str]

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(2, 5, 3, padding=1)
        self.fc = nn.Linear(5 * 16, 3)

    def forward(self, x):
        x = nn.functional.max_pool2d(nn.functional.relu(self.conv(x)), 2)
        return self.fc(x.flatten(1))

class Bad(nn.Module):
    def forward(self, x):
        return torch.sin(x) + torch.cumsum(x, 2)

model = Net()
number = 3

def broken():
    raise ValueError("no weights")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Working directory with net.py and data.npz."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(12, 2, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=images, labels=rng.integers(0, 3, 12))
    return tmp_path


def run_json(capsys: Capture, *arguments: str) -> tuple[int, Any]:
    code = main([*arguments, "--json", "--quiet"])
    return code, json.loads(capsys.readouterr().out)


def refused(capsys: Capture, *arguments: str) -> str:
    """The message of a command that must end with exit code 2 and say one thing."""
    assert main([*arguments, "--quiet"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("tilewright: ") and "Traceback" not in err
    return err


def test_check_lists_the_layers_of_a_network_that_can_run(folder, capsys):
    code, found = run_json(capsys, "check", "net.py:Net", "--input-shape", "2", "8", "8")
    assert code == 0
    assert [layer["kind"] for layer in found["layers"]] == ["conv", "fc"]
    assert run_json(capsys, "check", "net.py:Net", "-c", "data.npz") == (0, found)


def test_check_lists_everything_that_cannot_run(folder, capsys):
    err = refused(capsys, "check", "net.py:Bad", "--input-shape", "2", "8", "8")
    assert "Sin" in err and "CumSum" in err


def test_quantize_writes_a_network_that_later_commands_read(folder, capsys):
    code, found = run_json(capsys, "quantize", "net.py:model", "-c", "data.npz", "-o", "out")
    assert code == 0
    assert found["formats"]["x"]["bits"] == 8
    assert [layer["name"] for layer in found["layers"]] == ["conv", "fc"]
    names = sorted(p.name for p in Path("out").iterdir())
    assert names == ["quantize.json", "quantized.onnx", "tilewright.toml"]
    code, found = run_json(capsys, "compile", "out/quantized.onnx", "-t", "tiny", "-o", "out")
    assert code == 0 and found["target"]["rows"] == 4
    assert {"program.twp", "program.txt", "quantize.json"} <= {
        p.name for p in Path("out").iterdir()
    }


def test_the_default_output_folder_is_named_after_the_network(folder, capsys):
    code, found = run_json(capsys, "quantize", "net.py:model", "-c", "data.npz")
    assert code == 0 and Path(found["output"]) == Path("build/Net")


def test_quantize_says_what_each_layer_costs_where_there_are_labels(folder, capsys):
    command = ("quantize", "net.py:Net", "-c", "data.npz", "-o", "out")
    code, found = run_json(capsys, *command, "--test", "data.npz")
    assert code == 0
    assert [x["name"] for x in found["losses"]] == [x["name"] for x in found["layers"]]
    assert {x["images"] for x in found["losses"]} == {12}
    assert main([*command, "--test", "data.npz", "--quiet"]) == 0
    assert "loss of accuracy layer by layer (float: " in capsys.readouterr().out
    assert run_json(capsys, *command)[1]["losses"] == []


def test_an_interrupted_calibration_goes_on_with_resume(folder, capsys, monkeypatch):
    command = ("quantize", "net.py:Net", "-c", "data.npz", "-o", "out", "--quiet")
    assert "nothing to go on with" in refused(capsys, *command[:-1], "--resume")

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        # The second layer's features come after the first layer is done.
        patched.setattr("tilewright.quant.search.adapt", _once(adapt, interrupt))
        assert main(command) == 130
    err = capsys.readouterr().err
    assert err == (
        "tilewright: Interrupted; out/calibration.npz keeps what was done; the same command with "
        "--resume goes on\n"
    )
    assert main([*command, "--resume"]) == 0
    assert sorted(p.name for p in Path("out").iterdir()) == [
        "quantize.json",
        "quantized.onnx",
        "tilewright.toml",
    ]
    assert main([*command[:-2], "whole", "--quiet"]) == 0
    first, second = (Path(name, "quantized.onnx").read_bytes() for name in ("out", "whole"))
    assert first == second


def _once(function, then):
    """`function` the first time, `then` afterwards."""
    turns = iter([function])
    return lambda *arguments, **options: next(turns, then)(*arguments, **options)


def test_the_configuration_in_the_working_directory_holds_and_options_win(folder, capsys):
    Path("tilewright.toml").write_text(
        '[model]\npath = "net.py:model"\ncalibration = "data.npz"\n[quant]\nweight_bits = 5\n'
        "feature_bits = 6\n"
    )
    code, found = run_json(capsys, "quantize", "--feature-bits", "7", "-o", "out")
    assert code == 0
    weights = [step["bits"] for step in found["steps"] if step["kind"] == "weights"]
    assert weights == [5, 5] and found["formats"]["x"]["bits"] == 7
    code, again = run_json(capsys, "quantize", "--config", "out/tilewright.toml", "-o", "again")
    assert again["formats"] == found["formats"]


def test_paper_leaves_only_its_two_phases_and_options_win_over_it(folder, capsys):
    arguments = ("quantize", "net.py:model", "-c", "data.npz", "-o", "out", "--paper")
    _, found = run_json(capsys, *arguments)
    assert {step["kind"] for step in found["steps"]} == {"weights", "features"}
    assert not any(step["channels"] for step in found["steps"])
    _, found = run_json(capsys, *arguments, "--rounding", "learned")
    assert [step["kind"] for step in found["steps"]].count("rounding") == 2


@pytest.mark.parametrize(
    "budget",
    [
        ("--average-bits", "5"),
        ("--average-bits", "5", "--no-refine"),
        ("--cycles", "3000"),
        ("--loss", "0.05"),
    ],
)
def test_a_budget_chooses_the_bits_of_each_layer(folder, capsys, budget):
    code, found = run_json(
        capsys, "quantize", "net.py:model", "-c", "data.npz", "-o", "out", *budget
    )
    assert code == 0
    assert len(found["front"]) > 1 and found["front"][0]["bits"] == {"conv": 8, "fc": 8}
    assert main(["quantize", "net.py:model", "-c", "data.npz", "-o", "out", *budget, "-q"]) == 0
    out = capsys.readouterr().out
    assert "front: cost" in out and "chosen: cost" in out
    assert bool(found["measured"]) == ("measured: " in out) == ("--loss" not in budget)
    if "--no-refine" in budget:
        assert not any(name.startswith(("more bits", "fewer bits")) for name in found["measured"])


def test_a_budget_that_cannot_be_met_names_the_nearest(folder, capsys):
    arguments = ("quantize", "net.py:model", "-c", "data.npz", "-o", "out")
    assert "nearest that can is" in refused(capsys, *arguments, "--weight-bytes", "10")
    assert "Give one budget, not 2" in refused(
        capsys, *arguments, "--weight-bytes", "10", "--loss", "0.5"
    )


def test_report_sets_static_beside_dynamic_precision(folder, capsys):
    arguments = ("net.py:model", "-c", "data.npz", "--test", "data.npz", "--precision", "8", "4")
    code, found = run_json(capsys, "report", *arguments, "-o", "out")
    assert code == 0
    assert [row["bits"] for row in found["precision"]] == [8, 4]
    assert found["accuracy"]["images"] == 12
    assert found["layers"][0]["cycles_predicted"] > 0
    # A machine gets what the pictures are made of.
    assert json.loads(Path("out/report.json").read_text()) == found
    assert [found["name"] for found in found["ranges"]] == ["conv", "fc"]
    assert found["timeline"]["cycles"] >= found["timeline"]["overview"][-1]["end"]
    assert [layer["layer"] for layer in found["timeline"]["layers"]] == ["conv", "fc"]


def test_report_for_a_board_predicts_its_memory_and_says_what_its_part_has(folder, capsys):
    arguments = ("report", "net.py:model", "-c", "data.npz", "--precision", "-o", "out")
    text = refused(capsys, *arguments, "--board", "icepi-zero", "-t", "tiny")
    assert "--board and --target exclude each other" in text
    assert main([*arguments, "--board", "icepi-zero"]) == 0
    printed = capsys.readouterr().out
    assert "Hardware: icepi-zero" in printed and "24,288" in printed
    found = json.loads(Path("out/report.json").read_text())
    assert found["board"] == "icepi-zero" and found["hardware"]["rows"] == 4
    assert found["timeline"] is None  # nobody asked for a picture


@pytest.mark.slow
def test_verilog_leaves_one_file_its_map_and_a_manifest_that_match(folder, capsys):
    import hashlib

    code, found = run_json(capsys, "verilog", "-t", "tiny", "-o", "rtl")
    assert code == 0
    assert found["files"] == [
        "files.f", "manifest.json", "registers.json", "registers.md", "tilewright.v",
        "tilewright_registers.h",
    ]  # fmt: skip
    manifest = json.loads(Path("rtl/manifest.json").read_text())
    assert "tilewright_top" in manifest["modules"]
    for name, digest in manifest["sha256"].items():
        assert hashlib.sha256(Path("rtl", name).read_bytes()).hexdigest() == digest
    assert "#define TILEWRIGHT_CTRL " in Path("rtl/tilewright_registers.h").read_text()


@pytest.mark.slow
def test_build_proves_the_whole_network_in_rtl(folder, capsys):
    code, found = run_json(
        capsys, "build", "net.py:model", "-c", "data.npz", "-t", "tiny", "--images", "2",
        "--precision", "8", "-o", "out",
    )  # fmt: skip
    assert code == 0
    assert (found["rtl"]["images"], found["rtl"]["mismatches"]) == (2, 0)
    assert found["rtl"]["values"] == 2 * (5 * 4 * 4 + 3)
    for layer in found["layers"]:
        assert abs(layer["deviation"]) < 0.01
        assert 0 < layer["utilization"] <= 1
    assert Path("out/verilog/tilewright.v").is_file()


@pytest.mark.slow
def test_one_tile_of_one_layer_is_simulated_with_a_waveform(folder, capsys):
    code, found = run_json(
        capsys, "simulate", "net.py:model", "-c", "data.npz", "-t", "tiny", "--layer", "conv",
        "--tile", "0", "--waves", "-o", "out",
    )  # fmt: skip
    assert code == 0 and found["passed"]
    assert [layer["name"] for layer in found["layers"]] == ["conv"]
    names = sorted(Path(path).name for path in found["files"])
    assert names == ["actual.npz", "compared.npz", "expected.npz", "simulation.log", "waves.vcd"]
    assert (found["layer"], found["tile"]) == ("conv", 0)
    assert Path(found["waves"]).read_text()[:2000].count("$scope") > 0
    assert json.loads(Path("out/simulate.json").read_text()) == found
    arrays = {}
    for name in ("actual", "compared", "expected"):
        with np.load(f"out/simulation/{name}.npz") as file:
            arrays[name] = file["conv"]
    tile = arrays["compared"]
    assert arrays["expected"].shape == (1, *tile.shape) == (1, 5, 4, 4)
    assert 0 < tile.sum() == found["compared"] < tile.size
    np.testing.assert_array_equal(arrays["actual"][0][tile], arrays["expected"][0][tile])


@pytest.mark.slow
def test_a_mismatch_ends_with_exit_code_1(folder, capsys, monkeypatch):
    from tilewright import simulation

    def wrong(compiled, images):
        inputs, expected = reference(compiled, images)
        name = next(reversed(expected))
        expected[name] = expected[name].copy()
        expected[name][0, 0, 0, 0] ^= 1
        return inputs, expected

    reference = simulation._reference
    monkeypatch.setattr(simulation, "_reference", wrong)
    code, found = run_json(
        capsys, "simulate", "net.py:model", "-c", "data.npz", "-t", "tiny", "-o", "out", "--html"
    )
    assert code == 1 and not found["passed"]
    assert found["mismatches"][0][0]["count"] == 1
    assert [layer["mismatches"] for layer in found["report"]["layers"]] == [0, 1]
    assert all(abs(layer["deviation"]) < 0.01 for layer in found["report"]["layers"])
    assert 'id="mismatches"' in Path("out/simulate.html").read_text()


def test_targets_and_doctor_answer(capsys):
    code, found = run_json(capsys, "targets")
    assert code == 0 and found["default"]["rows"] == 16
    _, found = run_json(capsys, "doctor")
    assert {"numpy", "g++"} <= {tool["name"] for tool in found["tools"]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("check", "No model: give an .onnx file"),
        ("check none.onnx", "none.onnx"),
        ("check net.py:modle", "net.py has no 'modle'; did you mean 'model'?"),
        ("check net.py", "net.py: name the module too, as net.py:model"),
        ("check none.py:model", "none.py: no such file"),
        ("check net.py:number", "net.py:number must be a torch.nn.Module"),
        ("check net.py:broken", "net.py:broken() raised ValueError: no weights"),
        ("check net.py:model", "give --calibration or --input-shape"),
        ("check data.npz", "data.npz is not an ONNX file"),
        ("quantize net.py:model --input-shape 2 8 8", "No calibration data"),
        ("quantize net.py:model -c data.npz --bits 17", "weight_bits must be an integer in 2..16"),
        ("quantize net.py:model -c data.npz --mean 1 2 3", "mean must have 1 or 2 values, not 3"),
        ("quantize net.py:model -c data.npz --calibration-images 0", "must be positive, not 0"),
        ("quantize net.py:model -c data.npz -o data.npz/x", "data.npz/x cannot be written"),
        ("quantize net.py:model -c none.npy", "none.npy: cannot be read"),
        (
            "compile net.py:model -c data.npz -t tyni",
            "Target 'tyni' is unknown; did you mean 'tiny'",
        ),
        ("simulate net.py:model -c data.npz --tile 1", "Option --tile needs --layer"),
        ("simulate net.py:model -c data.npz --layer conf", "no layer 'conf'; did you mean 'conv'?"),
        ("simulate net.py:model -c data.npz --layer conv --tile 99", "tiles 0.."),
        ("check net.py:model --config none.toml", "none.toml: cannot be read"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2_and_leaves_nothing(
    folder, capsys, arguments, message
):
    before = sorted(folder.iterdir())
    assert message in refused(capsys, *arguments.split())
    left = [p for p in sorted(folder.iterdir()) if p.name != "__pycache__"]
    assert left == before


def test_an_error_is_json_too_if_json_was_asked_for(folder, capsys):
    code, found = run_json(capsys, "check", "none.onnx")
    assert code == 2 and "none.onnx" in found["error"]


def test_data_with_nan_are_refused(folder, capsys):
    np.save("nan.npy", np.full((2, 2, 8, 8), np.nan, np.float32))
    assert "NaN" in refused(capsys, "quantize", "net.py:model", "-c", "nan.npy")


def test_it_runs_as_a_module_and_says_its_version():
    command = [sys.executable, "-m", "tilewright", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0.1.0"
