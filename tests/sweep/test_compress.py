"""--compress: a module is compressed in each of the ways asked for, and each is a point."""

import json
import shlex

import pytest

from tilewright.cli import main

pytest.importorskip("torch")

NET = """
import torch
from torch import nn

torch.manual_seed(1)
model = nn.Sequential(
    nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(),
    nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(8), nn.Flatten(), nn.Linear(8, 3),
)
"""
SETTINGS = """
[compress]
train = "data.npz"
epochs = 1
rounds = 1
[quant]
rounding = "nearest"
"""


def test_compressed_networks_are_points_beside_the_one_as_it_is(
    folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "tilewright.toml").write_text(SETTINGS)
    (tmp_path / "data.npz").write_bytes((folder / "data.npz").read_bytes())

    def sweep(*arguments):
        given = ("sweep", "net.py:model", "--data", "data.npz", "--workers", "0", "-o", "out")
        assert main([*given, *arguments, "--json", "--quiet"]) == 0
        return json.loads(capsys.readouterr().out)

    asked = ("--objective", "accuracy,cycles")
    methods = ("--compress", "none", "--compress", "prune 0.9, share 8")
    found = sweep("--bits", "8", "--arrays", "4x4", *asked, *methods)
    points = {tuple(point["setting"]["compress"]): point for point in found["points"]}
    assert set(points) == {(), ("prune 0.9", "share 8")} and not found["failed"]
    small = points["prune 0.9", "share 8"]
    assert small["accuracy"] is not None
    assert small["cycles"] < points[()]["cycles"]  # terms that are zero take no tile
    # Its command finds the compressed point again, and measures nothing.
    words = shlex.split(small["command"])
    again = sweep(*words[words.index("--compress") : -2], *asked)
    assert again["measured_now"] == 0
    (only,) = again["points"]
    assert only["cycles"] == small["cycles"]
