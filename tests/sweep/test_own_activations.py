"""A sweep of a network with an activation of one's own, which workers get with the work."""

import onnx
import pytest

from tilewright.graph import functions
from tilewright.sweep.engine import Engine

HARD_SWISH = """
import torch
import tilewright
from tilewright.quant.numerics import clip


@tilewright.activation(onnx="HardSwish", reference=torch.nn.functional.hardswish)
def hard_swish(x, frac):
    gate = clip(x + (3 << frac), 0, 6 << frac)
    return (x * gate + (3 << frac)) // (6 << frac)
"""


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    monkeypatch.setattr(functions, "_functions", {})


@pytest.fixture
def file(folder):
    """The activation's file; net_swish.onnx is the folder's network with it in the place of its ReLU."""
    path = folder / "swish.py"
    path.write_text(HARD_SWISH)
    model = onnx.load(folder / "net.onnx")
    (relu,) = (node for node in model.graph.node if node.op_type == "Relu")
    relu.op_type = "HardSwish"
    onnx.save(model, folder / "net_swish.onnx")
    return path


def names() -> list[str]:
    return list(functions.registered())


def test_every_worker_knows_the_activations(file):
    with Engine(workers=1, activations=str(file)) as engine:
        assert list(engine.run(names, [()])) == [(0, ["hard_swish"])]


def test_designs_have_the_activations_on_boards_too(sweep, refused, file):
    given = ("--activations", "swish.py", "-o", "swish", "--arrays", "2x2", "--bits", "8")
    found = sweep(*given, "--board", "ulx3s-85f", model="net_swish.onnx")
    (point,) = found["points"]
    assert point["accuracy"] is not None and point["luts"] is None
    (entry,) = point["target"]["activations"]
    assert entry.startswith("hard_swish:")
    assert "--activations swish.py" in point["command"]
    assert sweep(*given, "--board", "ulx3s-85f", model="net_swish.onnx")["measured_now"] == 0
    text = refused(*given, "--objective", "luts", "-t", "tiny", model="net_swish.onnx")
    assert "own activations" in text
