"""Pruning, sharing and retraining on a small problem that a module learns in a moment."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from tilewright import compression
from tilewright.compress.layers import fix_zeros, set_masks, sparsity, weight_layers
from tilewright.compress.magnitude import (
    Scan,
    adjust_dropout,
    dropout_rates,
    input_sizes,
    magnitude_masks,
    prune_in_rounds,
    qualities,
    scan,
)
from tilewright.compress.refit import refit
from tilewright.compress.share import cluster, fix_shared, share_weights
from tilewright.compress.train import TrainConfig, accuracy, train
from tilewright.errors import TilewrightError


class Batches:
    """Two noisy clouds, in shuffled batches."""

    def __init__(self):
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 2, 256)
        points = rng.normal(size=(256, 8)) + 2.0 * labels[:, None] * (np.arange(8) < 3)
        self.x, self.y = torch.from_numpy(points).float(), torch.from_numpy(labels)

    def __len__(self):
        return 8

    def __iter__(self):
        for part in torch.randperm(256).split(32):
            yield self.x[part], self.y[part]


LOADER = Batches()


def network(seed=0):
    """Two layers with dropout between them."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 2))


@pytest.fixture(scope="module")
def trained():
    """State of a trained network."""
    model = network()
    losses = train(model, LOADER, TrainConfig(epochs=6, learning_rate=1e-2))
    assert losses[-1] < losses[0]
    return model.state_dict()


@pytest.fixture
def model(trained):
    """A trained network."""
    result = network()
    result.load_state_dict(trained)
    return result.eval()


def test_pruning_in_rounds_keeps_accuracy_and_restores_dropout(model):
    before = accuracy(model, LOADER)
    scans = scan(model, lambda: accuracy(model, LOADER))
    seen = []

    def retrain(number):
        seen.append((number, round(sparsity(model), 2), model[2].p))
        train(model, LOADER, TrainConfig(epochs=2, learning_rate=1e-2, seed=number))

    prune_in_rounds(model, scans, 0.2, 2, retrain)
    assert sparsity(model) == pytest.approx(0.8, abs=0.01)
    assert [number for number, *_ in seen] == [1, 2]
    assert 0.0 < seen[1][2] < seen[0][2] < 0.5
    assert model[2].p == 0.5
    assert accuracy(model, LOADER) > before - 0.03
    assert isinstance(model[0].weight, nn.Parameter)


def test_layers_that_matter_less_are_pruned_more(model):
    scans = {
        "0": Scan(shares=(1.0, 0.7, 0.1), losses=(0.0, 0.2, 0.5)),
        "3": Scan(shares=(1.0, 0.7, 0.1), losses=(0.0, 0.0, 0.05)),
    }
    quality = qualities(model, scans, 0.8)
    masks = magnitude_masks(model, quality)
    kept = {name: float(mask.float().mean()) for name, mask in masks.items()}
    assert kept["3"] < 0.5
    assert kept["0"] > 0.8
    for name, layer in weight_layers(model).items():
        limit = quality[name] * float(layer.weight.detach().std())
        assert float(layer.weight.detach()[masks[name]].abs().min()) >= limit * 0.999
    with pytest.raises(TilewrightError, match=r"not possible: between 10\.00%"):
        qualities(model, scans, 0.05)


def test_a_small_layer_keeps_more_than_a_large_one_that_would_lose_as_much(model):
    alike = Scan(shares=(1.0, 0.5, 0.2, 0.1), losses=(0.0, 0.02, 0.1, 0.5))
    masks = magnitude_masks(model, qualities(model, {"0": alike, "3": alike}, 0.3))
    large, small = (masks[name].float().mean() for name in ("0", "3"))
    assert large < small
    assert sum(int(mask.sum()) for mask in masks.values()) == pytest.approx(0.3 * 320, abs=2)


def test_layers_whose_weights_are_all_alike_stay_whole(model):
    with torch.no_grad():
        model[0].weight.fill_(0.5)
    scans = scan(model, lambda: accuracy(model, LOADER))
    prune_in_rounds(model, scans, 0.5, 1, lambda number: None)
    assert bool((model[0].weight == 0.5).all())


def test_a_share_that_cannot_be_reached_is_refused_before_any_round(model):
    scans = scan(model, lambda: accuracy(model, LOADER))
    with pytest.raises(TilewrightError, match=r"Pruning to 0\.50% .* between 1\.00%"):
        prune_in_rounds(model, scans, 0.005, 4, lambda number: pytest.fail("a round began"))


def test_weights_of_small_inputs_go_first(model):
    images = torch.randn(64, 8) * torch.tensor([0.0, 0.01, 1, 1, 1, 1, 1, 1])
    sizes = input_sizes(model, images)
    torch.testing.assert_close(sizes["0"], images.square().mean(0).sqrt()[None])
    alike = Scan(shares=(1.0, 0.5, 0.1), losses=(0.0, 0.1, 0.5))
    quality = qualities(model, {"0": alike, "3": alike}, 0.5, sizes=sizes)
    mask = magnitude_masks(model, quality, sizes=sizes)["0"]
    assert not mask[:, :2].any()
    assert float(mask[:, 2:].float().mean()) > 0.4


def test_a_convolution_s_inputs_are_sized_by_channel():
    conv = nn.Sequential(nn.Conv2d(4, 2, 3), nn.Conv2d(2, 2, 1, groups=2))
    images = torch.ones(3, 4, 5, 5) * torch.tensor([1.0, 2, 3, 4])[:, None, None]
    sizes = input_sizes(conv, images)
    torch.testing.assert_close(sizes["0"], torch.tensor([1.0, 2, 3, 4]).reshape(1, 4, 1, 1))
    assert torch.equal(sizes["1"], torch.ones(2, 1, 1, 1))


def test_dropout_falls_with_the_root_of_the_connections(model):
    rates = dropout_rates(model)
    mask = torch.zeros(32, 8)
    mask[:, :2] = 1
    set_masks(model, {"0": mask})
    adjust_dropout(rates)
    assert model[2].p == pytest.approx(0.25)


def test_zeros_stay_zeros_while_the_others_are_trained(model):
    mask = torch.rand(32, 8) < 0.5
    set_masks(model, {"0": mask})
    before = model[0].weight.detach().clone()
    train(model, LOADER, TrainConfig(epochs=1, learning_rate=1e-2))
    fix_zeros(model)
    assert bool((model[0].weight[~mask] == 0).all())
    assert bool((model[0].weight[mask] != before[mask]).any())
    with pytest.raises(TilewrightError, match="Layer '0': pruning leaves none"):
        set_masks(model, {"0": torch.zeros(32, 8)})


def test_an_interrupted_retraining_goes_on_where_it_was(model, tmp_path):
    path, state = tmp_path / "state.npz", {k: v.clone() for k, v in model.state_dict().items()}
    config = TrainConfig(epochs=3, learning_rate=1e-3, checkpoint=path)
    whole = train(model, LOADER, config)
    path.unlink()

    def stop(done, total, text):
        if done == 2:
            raise KeyboardInterrupt

    again = network()
    again.load_state_dict(state)
    with pytest.raises(KeyboardInterrupt):
        train(again, LOADER, config, progress=stop)
    again.load_state_dict(state)
    assert train(again, LOADER, config) == whole
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
    with pytest.raises(TilewrightError, match="of another network or with other choices"):
        train(network(5), LOADER, config)
    path.write_bytes(b"nothing")
    with pytest.raises(TilewrightError, match="not a checkpoint"):
        train(network(5), LOADER, config)


def test_a_teacher_is_followed_and_not_the_labels(model, tmp_path):
    wrong = [(x, 1 - y) for x, y in LOADER]
    config = TrainConfig(epochs=6, learning_rate=1e-2, checkpoint=tmp_path / "state.npz")
    student = network(3)
    losses = train(student, wrong, config, teacher=model)
    assert losses[-1] < 0.3 * losses[0]
    assert accuracy(student, LOADER) > 0.9
    with pytest.raises(TilewrightError, match="of another network or with other choices"):
        train(network(3), wrong, config, teacher=network(4).eval())
    with pytest.raises(TilewrightError, match="a temperature above 0"):
        TrainConfig(temperature=0.0)


def test_batch_norm_needs_more_than_one_image():
    model = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    one = [(LOADER.x[:1], LOADER.y[:1])]
    with pytest.raises(TilewrightError, match="a batch of 1 with one value a channel"):
        train(model, one, TrainConfig(epochs=1))


@pytest.mark.parametrize(
    ("count", "sizes"), [(65, [32, 33]), (64, [32, 32]), (66, [32, 32, 2]), (1, [1])]
)
def test_a_last_image_joins_the_batch_before_it(count, sizes):
    batches = compression.Batches(LOADER.x[:count], LOADER.y[:count], 32, shuffle=True)
    assert [len(labels) for _, labels in batches] == sizes
    assert len(batches) == len(sizes)


def test_retraining_says_what_is_wrong():
    with pytest.raises(TilewrightError, match="gives no batches"):
        train(network(), [], TrainConfig())
    with pytest.raises(TilewrightError, match="the loss is nan"):
        train(network(), [(torch.full((2, 8), torch.nan), torch.tensor([0, 1]))], TrainConfig())


def test_clusters_are_those_of_lloyd_from_a_linear_start():
    values = np.concatenate([np.full(5, -1.0), np.full(3, 0.2), [0.9, 1.1]])
    np.testing.assert_allclose(cluster(values, 3), [-1, 0.2, 1.0])
    np.testing.assert_allclose(cluster(values, 2), [-1, (0.6 + 2.0) / 5])


def test_shared_weights_lie_on_the_grid_and_are_trained(model):
    mask = torch.rand(32, 8) < 0.5
    set_masks(model, {"0": mask})
    fix_zeros(model)
    first = share_weights(model, {"0": 6, "3": 4})
    train(model, LOADER, TrainConfig(epochs=2, learning_rate=1e-2))
    books = fix_shared(model)
    assert any((books[n].values != first[n].values).any() for n in books)
    for name, layer in weight_layers(model).items():
        weight = layer.weight.detach().double().numpy()
        integers = np.ldexp(weight, books[name].frac)
        np.testing.assert_array_equal(integers, np.round(integers))
        assert np.abs(integers).max() <= 128
        assert set(np.unique(integers)) - {0.0} <= set(books[name].values.tolist())
    assert bool((model[0].weight[~mask] == 0).all())
    assert accuracy(model, LOADER) > 0.9


def test_codebooks_that_the_hardware_cannot_hold_are_refused(model):
    with pytest.raises(TilewrightError, match=r"a codebook of 300 entries .* 1\.\.255"):
        share_weights(model, 300)
    with torch.no_grad():
        model[0].weight.zero_()
    with pytest.raises(TilewrightError, match="Layer '0': all of its weights are zero"):
        share_weights(model, 4)


@pytest.mark.parametrize("linear", [True, False])
def test_refitting_brings_responses_back_and_keeps_zeros(linear):
    torch.manual_seed(0)
    # Channels that depend on each other: what is left can stand in for what is gone.
    images = torch.randn(400, 2, 6, 6)
    images = torch.cat([images, images + 0.1 * torch.randn(400, 2, 6, 6)], 1)
    last = nn.Linear(144, 5) if linear else nn.Conv2d(4, 8, 3, stride=2, padding=1)
    original = nn.Sequential(*([nn.Flatten()] if linear else []), last).eval()
    pruned = copy.deepcopy(original)
    mask = torch.rand(last.weight.shape) < 0.5
    with torch.no_grad():
        pruned[-1].weight.mul_(mask)

    def error():
        with torch.inference_mode():
            return float((pruned(images) - original(images)).square().mean())

    before = error()
    refit(pruned, original, images)
    assert error() < 0.5 * before
    assert bool((pruned[-1].weight[~mask] == 0).all())
