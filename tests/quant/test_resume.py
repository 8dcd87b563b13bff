"""A search that was interrupted goes on where it was, to the same result."""

import numpy as np
import pytest

from tilewright.errors import TilewrightError
from tilewright.graph.ir import Activation, ActivationKind, Conv, Graph, Input, Layer, Op, Output
from tilewright.quant import resume
from tilewright.quant.config import QuantConfig
from tilewright.quant.quantize import quantize

LEAKY = Activation(kind=ActivationKind.LEAKY, slope=0.1)
RELU = Activation(kind=ActivationKind.CLIP, lo=0.0)


def network(scale=1.0):
    """Four convolutions, the third with a residual that is far back."""
    rng = np.random.default_rng(0)

    def conv(name, source, **layer):
        weight = scale * rng.normal(0.0, 0.3, (4, 4, 3, 3)).astype(np.float32)
        bias = rng.normal(0.0, 0.1, 4).astype(np.float32)
        return Layer(
            name=name,
            op=Op.CONV,
            inputs=(source,),
            conv=Conv(weight=weight, bias=bias, pads=(1,) * 4),
            **layer,
        )

    layers = (
        conv("a", "x", activation=RELU),
        conv("b", "a", activation=LEAKY),
        conv("c", "b", residual="a"),
        Layer(name="d", op=Op.ADD, inputs=("c", "b")),
    )
    return Graph(
        name="n",
        inputs=(Input(name="x", shape=(4, 6, 6)),),
        layers=layers,
        outputs=(Output(name="y", tensor="d", shape=(4, 6, 6)),),
    )


def images(seed=1):
    return {"x": np.random.default_rng(seed).normal(size=(5, 4, 6, 6)).astype(np.float32)}


def stop_at(count):
    """Progress that is interrupted at its step number `count`."""

    def progress(done, total, text):
        if done == count:
            raise KeyboardInterrupt

    return progress


def interrupted(path, count, config=None):
    with pytest.raises(KeyboardInterrupt):
        quantize(network(), images(), config, progress=stop_at(count), checkpoint=path)


def integers(result):
    found = []
    for x in result.fixed.layers:
        arrays = (None if a is None else a.tolist() for a in (x.weight, x.weight_frac, x.bias))
        found.append((x.name, x.output, x.lo, x.hi, x.leaky, x.weight_bits, *arrays))
    return found


def test_the_result_is_that_of_an_undisturbed_search_wherever_it_was_interrupted(tmp_path):
    path = tmp_path / "folder" / "state.npz"
    whole = quantize(network(), images())
    steps = len(whole.log)
    kept = set()
    for count in range(1, steps + 1):
        interrupted(path, count)
        kept.add(path.exists())
        result = quantize(network(), images(), checkpoint=path)
        assert integers(result) == integers(whole)
        assert result.log == whole.log
        assert result.fixed.formats == whole.fixed.formats
        assert not path.exists()
    assert kept == {False, True}


def test_layers_that_are_done_are_not_searched_again(tmp_path, monkeypatch):
    path = tmp_path / "state.npz"
    interrupted(path, len(quantize(network(), images()).log))
    searched = []
    monkeypatch.setattr(
        "tilewright.quant.search.adapt", lambda fixed, *_, **__: searched.append(fixed)
    )
    quantize(network(), images(), checkpoint=path)
    assert searched == []


def test_a_long_search_is_written_now_and_then_without_being_asked(tmp_path, monkeypatch):
    path, seen = tmp_path / "state.npz", []
    monkeypatch.setattr(resume, "_SECONDS", -1.0)
    quantize(network(), images(), checkpoint=path, progress=lambda *_: seen.append(path.exists()))
    assert seen[-1] and not path.exists()


@pytest.mark.parametrize(
    "other",
    [
        lambda: (network(2.0), images(), None),
        lambda: (network(), images(2), None),
        lambda: (network(), images(), QuantConfig(weight_bits=4)),
    ],
    ids=["network", "images", "options"],
)
def test_what_was_kept_of_something_else_is_refused(tmp_path, other):
    path = tmp_path / "state.npz"
    interrupted(path, len(quantize(network(), images()).log))
    with pytest.raises(
        TilewrightError, match=r"state.npz: a calibration of another network, other"
    ):
        quantize(*other(), checkpoint=path)


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "state.npz"
    interrupted(path, len(quantize(network(), images()).log))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TilewrightError, match=r"state.npz: not a checkpoint of calibration"):
        quantize(network(), images(), checkpoint=path)
