"""Fine-tuning: exact emulation, less loss, the same result from the same seed, and every mishap."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tilewright.errors import TilewrightError
from tilewright.graph.ir import (
    Activation,
    ActivationKind,
    Conv,
    Graph,
    Input,
    Layer,
    Op,
    Output,
    Pool,
)
from tilewright.quant.config import QuantConfig
from tilewright.quant.data import normalize
from tilewright.quant.emulate import run_emulated
from tilewright.quant.finetune import FineTuneConfig, fine_tune
from tilewright.quant.metrics import accuracy
from tilewright.quant.quantize import quantize
from tilewright.quant.reference import quantize_inputs, run_fixed

RELU = Activation(kind=ActivationKind.CLIP, lo=0.0)
LEAKY = Activation(kind=ActivationKind.LEAKY, slope=0.1)


def network(seed=0):
    rng = np.random.default_rng(seed)

    def conv(name, source, inputs, outputs, kernel, pads=(0, 0, 0, 0), **layer):
        weight = rng.normal(
            0.0, (2.0 / (inputs * kernel * kernel)) ** 0.5, (outputs, inputs, kernel, kernel)
        )
        bias = rng.normal(0.0, 0.1, outputs).astype(np.float32)
        made = Conv(weight=weight.astype(np.float32), bias=bias, pads=pads)
        return Layer(name=name, op=Op.CONV, inputs=(source,), conv=made, **layer)

    pool = Pool(kernel=(2, 2), stride=(2, 2))
    layers = (
        conv("stem", "x", 1, 6, 3, (0, 1, 1, 0), activation=RELU, max_pool=pool),
        conv("mid", "stem", 6, 6, 3, (1, 1, 1, 1), residual="stem", activation=LEAKY),
        Layer(name="both", op=Op.CONCAT, inputs=("mid", "stem")),
        Layer(name="twice", op=Op.ADD, inputs=("both", "both"), activation=RELU),
        Layer(
            name="mean", op=Op.AVG_POOL, inputs=("twice",), pool=Pool(kernel=(3, 3), stride=(3, 3))
        ),
        conv("fc", "mean", 12, 4, 1),
    )
    return Graph(
        name="small",
        inputs=(Input(name="x", shape=(1, 8, 8), mean=(1.0,), scale=(0.5,)),),
        layers=layers,
        outputs=(Output(name="y", tensor="fc", shape=(4,)),),
    )


def quadrants(count, seed):
    """Images with a bright quadrant, and which one it is."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    images = rng.normal(1.0, 0.6, (count, 1, 8, 8)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        row, column = 4 * (label // 2), 4 * (label % 2)
        image[:, row : row + 4, column : column + 4] += 1.0
    return images, labels


def loader(count=256, seed=3, batch=32):
    images, labels = quadrants(count, seed)
    data = torch.utils.data.TensorDataset(torch.from_numpy(images), torch.from_numpy(labels))
    return torch.utils.data.DataLoader(data, batch_size=batch, shuffle=True)


@pytest.fixture(scope="module")
def fixed():
    images, _ = quadrants(16, 1)
    return quantize(network(), {"x": images}, QuantConfig(weight_bits=4, feature_bits=6)).fixed


def test_the_emulation_gives_the_values_of_the_reference(fixed):
    images, _ = quadrants(5, 2)
    exact = run_fixed(fixed, quantize_inputs(fixed, {"x": images}))
    seen = torch.from_numpy(normalize(fixed.graph.inputs[0], images)).double()
    emulated = run_emulated(fixed, {"x": seen})
    for name, values in exact.items():
        np.testing.assert_array_equal(emulated[name], fixed.formats[name].dequantize(values), name)


def test_the_loss_falls_and_the_answers_get_better(fixed):
    images, labels = quadrants(400, 5)
    before = accuracy(fixed, {"x": images}, labels).fixed_correct
    config = FineTuneConfig(epochs=6, learning_rate=2e-2)
    result = fine_tune(fixed, loader(), config)
    assert result.stopped is None and len(result.losses) == 6
    assert result.losses[-1] < 0.8 * result.losses[0]
    assert accuracy(result.fixed, {"x": images}, labels).fixed_correct > before + 40
    for old, new in zip(fixed.layers, result.fixed.layers, strict=True):
        assert (new.output, new.weight_bits, new.name) == (old.output, old.weight_bits, old.name)
        if new.weight is not None:
            assert new.weight.min() >= -8 and new.weight.max() <= 7


def same(a, b):
    return all(
        np.array_equal(x.bias, y.bias) and (x.weight is None or np.array_equal(x.weight, y.weight))
        for x, y in zip(a.layers, b.layers, strict=True)
    )


def test_the_seed_decides_the_result(fixed):
    first, second, other = (
        fine_tune(fixed, loader(), FineTuneConfig(learning_rate=1e-2, seed=seed)).fixed
        for seed in (0, 0, 1)
    )
    assert same(first, second) and not same(first, other)


class Interrupted(Exception):
    pass


def broken(after):
    """A loader that fails in the pass after `after` whole ones."""
    data, passes = loader(), 0

    class Loader:
        def __iter__(self):
            nonlocal passes
            passes += 1
            if passes > after:
                raise Interrupted
            return iter(data)

    return Loader()


def test_an_interrupted_run_goes_on_where_it_was(fixed, tmp_path):
    path = str(tmp_path / "state.npz")
    plain = FineTuneConfig(epochs=3, learning_rate=1e-2)
    kept = replace(plain, checkpoint=path)
    whole = fine_tune(fixed, loader(), plain)
    with pytest.raises(Interrupted):
        fine_tune(fixed, broken(2), kept)
    resumed = fine_tune(fixed, broken(1), kept)
    assert same(whole.fixed, resumed.fixed) and resumed.losses == whole.losses


def test_a_checkpoint_of_something_else_is_refused(fixed, tmp_path):
    path = str(tmp_path / "state.npz")
    fine_tune(fixed, loader(32), FineTuneConfig(checkpoint=path))
    with pytest.raises(
        TilewrightError, match=r"state\.npz: a checkpoint of another network or with"
    ):
        fine_tune(fixed, loader(32), FineTuneConfig(checkpoint=path, seed=7))
    (tmp_path / "state.npz").write_bytes(b"PK nothing")
    with pytest.raises(TilewrightError, match="not a checkpoint of fine-tuning"):
        fine_tune(fixed, loader(32), FineTuneConfig(checkpoint=path))


def test_a_loss_that_is_no_number_stops_with_the_last_good_state(fixed):
    good = [tuple(torch.from_numpy(part) for part in quadrants(32, 3))]
    passes = 0

    class Loader:
        def __iter__(self):
            nonlocal passes
            passes += 1
            if passes == 1:
                return iter(good)
            return iter([*good, (torch.full((2, 1, 8, 8), float("nan")), torch.tensor([0, 1]))])

    config = FineTuneConfig(epochs=4, learning_rate=1e-2)
    result = fine_tune(fixed, Loader(), config)
    assert result.stopped is not None
    assert "epoch 2, batch 2" in result.stopped and "kept the state after epoch 1" in result.stopped
    assert len(result.losses) == 1
    passes = -10
    once = fine_tune(fixed, Loader(), replace(config, epochs=4))
    assert once.stopped is not None and same(once.fixed, fixed)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "the loader gives no batches"),
        ([torch.zeros(2, 1, 8, 8)], r"batch 1: the loader must give \(images, labels\)"),
        (
            [(torch.zeros(2, 8, 8), torch.zeros(2, dtype=torch.int64))],
            r"images must be \[N, 1, 8, 8\]",
        ),
        ([(torch.zeros(2, 1, 8, 8), torch.tensor([0, 4]))], r"labels must be integers in 0\.\.3"),
        (
            [(torch.zeros(2, 1, 8, 8), torch.tensor([0.0, 1.0]))],
            r"labels must be integers in 0\.\.3",
        ),
    ],
)
def test_batches_that_do_not_fit_are_named(fixed, batches, message):
    with pytest.raises(TilewrightError, match=message):
        fine_tune(fixed, batches)


@pytest.mark.parametrize("options", [{"epochs": 0}, {"learning_rate": 0.0}, {"acc_bits": 50}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(TilewrightError, match=next(iter(options))):
        FineTuneConfig(**options)
