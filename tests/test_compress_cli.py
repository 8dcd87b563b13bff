"""`tilewright compress`: from a module and labelled images to a quantized network and its streams."""

import json

import numpy as np
import pytest

from tilewright.cli import main
from tilewright.compress.steps import parse_steps
from tilewright.compress.unstream import unpack_codes
from tilewright.data import Data
from tilewright.errors import TilewrightError
from tilewright.shrinking import held_out

NET = """
import torch
from torch import nn

torch.manual_seed(1)
model = nn.Sequential(
    nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(),
    nn.Conv2d(8, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(8), nn.Flatten(), nn.Linear(24, 3),
)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Working directory with net.py and labelled data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 96)
    images = rng.normal(size=(96, 2, 8, 8)) + labels[:, None, None, None]
    np.savez(tmp_path / "data.npz", x=images.astype(np.float32), labels=labels)
    return tmp_path


GIVEN = ("compress", "net.py:model", "-c", "data.npz", "-t", "tiny", "--quiet")
TRAINED = (*GIVEN, "--train", "data.npz", "--epochs", "1", "--rounds", "2")


def run(capsys, *arguments):
    """The JSON of a command that must succeed."""
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, *arguments):
    """The message of a command that must end with exit code 2."""
    assert main(list(arguments)) == 2
    out, err = capsys.readouterr()
    assert out == "" and "Traceback" not in err
    return err


def test_methods_run_in_the_order_in_which_they_are_written(folder, capsys):
    found = run(
        capsys,
        *TRAINED,
        "--vectors",
        "0.5",
        "--prune",
        "0.7",
        "--share",
        "16",
        "--huffman",
        "--html",
    )
    steps = [stage["step"] for stage in found["stages"]]
    assert steps == ["float", "vectors 0.5", "prune 0.7", "share 16"]
    left = [stage["parameters"] for stage in found["stages"]]
    assert left[0] > left[1] > left[2] == left[3]
    assert found["stream_bytes"] < found["plain_bytes"]
    coded = [row for row in found["layers"] if row["stream_bytes"] is not None]
    assert coded and all(row["stream_bytes"] < row["plain_bytes"] for row in coded)
    for row in coded:
        path = folder / "build" / "net" / "streams" / f"{row['layer']}.tws"
        assert path.stat().st_size == row["stream_bytes"]
        assert len(unpack_codes(path.read_bytes()).values) <= 16
    quantized = str(folder / "build" / "net" / "quantized.onnx")
    compiled = run(capsys, "compile", quantized, "-t", "tiny", "-o", "again", "--quiet")
    assert [layer["op"] for layer in compiled["layers"]].count("conv") == 3


def test_low_rank_and_ternary_make_ordinary_networks(folder, capsys):
    found = run(capsys, *TRAINED, "--low-rank", "2x", "--ternary", "shift", "-o", "out")
    assert [stage["step"] for stage in found["stages"]] == [
        "float",
        "low-rank 2",
        "ternary shift",
    ]
    ranks = found["stages"][1]["notes"]["ranks"]
    assert ranks and all(rank % 4 == 0 for rank in ranks.values())
    names = {row["layer"] for row in found["layers"]}
    assert {f"{name}.{part}" for name in ranks for part in (0, 1)} < names


def test_methods_may_stand_in_the_configuration(folder, capsys):
    (folder / "tilewright.toml").write_text(
        '[compress]\nmethods = ["prune 0.5", "huffman"]\ntrain = "data.npz"\n'
        "epochs = 0\nrounds = 1\n"
    )
    found = run(capsys, *GIVEN)
    assert [stage["step"] for stage in found["stages"]] == ["float", "prune 0.5"]


def test_mistakes_are_named(folder, capsys):
    assert "Nothing to do" in refused(capsys, *TRAINED)
    assert "give --train FILE" in refused(capsys, *GIVEN, "--prune", "0.5")
    assert "share 256 is out of range" in refused(capsys, *TRAINED, "--share", "256")
    assert "--rounds must be in 1..100, not 0" in refused(
        capsys, *GIVEN, "--rounds", "0", "--train", "data.npz", "--prune", "0.5"
    )
    assert "ranks below one lane" in refused(capsys, *TRAINED, "--low-rank", "50x")
    few = dict(np.load("data.npz"))
    np.savez("few.npz", **{name: array[:9] for name, array in few.items()})
    assert "few.npz: has 9 images" in refused(
        capsys, *GIVEN, "--train", "few.npz", "--prune", "0.5"
    )
    few["labels"] = few["labels"] + 1
    np.savez("other.npz", **few)
    assert "other.npz: Labels must be in 0..2" in refused(
        capsys, *GIVEN, "--train", "other.npz", "--prune", "0.5"
    )
    assert not (folder / "build" / "net" / "quantized.onnx").exists()


def test_targets_that_nothing_reaches_are_refused_before_anything_is_trained(folder, capsys):
    message = refused(capsys, *TRAINED, "--prune", "0.995")
    assert "Pruning to 0.50% of the weights is not possible" in message
    assert "each needs at least one" in refused(capsys, *TRAINED, "--vectors", "0.98")
    assert not list((folder / "build" / "net" / "checkpoints").iterdir())


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (("--prune", "0.5"), "all of its weights are zero, so pruning cannot tell"),
        (("--vectors", "0.5"), "leaves none of its weights"),
        (("--low-rank", "1.2x"), "gives the same for all calibration images"),
        (("--ternary",), "all of its weights are zero, so they have no scale"),
        (("--share", "4"), "all of its weights are zero, so there is nothing to share"),
    ],
)
def test_a_layer_of_zeros_is_named(folder, capsys, method, message):
    (folder / "net.py").write_text(NET + "nn.init.zeros_(model[2].weight)\n")
    found = refused(capsys, *TRAINED, *method)
    assert "Layer '2'" in found and message in found


def test_networks_that_cannot_be_retrained_are_refused(folder, capsys):
    (folder / "net.py").write_text(
        """
import torch
from torch import nn

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 8, 8)

    def forward(self, x):
        y = self.conv(x)
        return torch.relu(y), y

model = Two()
"""
    )
    assert "one input and one output, not 1 and 2" in refused(capsys, *TRAINED, "--prune", "0.5")


def test_pruning_chooses_on_images_that_are_not_trained_on():
    numbers = np.arange(35).reshape(35, 1, 1, 1)
    train, tune = held_out(Data(inputs={"x": numbers}, labels=numbers.ravel()), "train.npz")
    assert train.labels is not None and tune.labels is not None
    assert tune.inputs["x"].ravel().tolist() == tune.labels.tolist() == [9, 19, 29]
    assert sorted([*train.labels, *tune.labels]) == list(range(35))
    assert train.inputs["x"].ravel().tolist() == train.labels.tolist()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["squeeze 2"], "no method 'squeeze'"),
        (["share 32", "prune 0.5"], "prune after share would undo it"),
        (["prune 0.5", "prune 0.6"], "given twice"),
        (["prune 0.5", "ternary"], "zeros of their own"),
        (["ternary binary"], "not 'binary'"),
        (["prune much"], "needs a number"),
        (["huffman 3"], "takes no value"),
        (["prune 1.5"], "prune 1.5 is out of range"),
        (["prune nan"], "prune nan is out of range"),
        (["share inf"], "share inf is out of range"),
        (["low-rank infx"], "low-rank infx is out of range"),
    ],
)
def test_impossible_sequences_are_refused(texts, message):
    with pytest.raises(TilewrightError, match=message):
        parse_steps(texts)
