"""Low rank: reconstruction is optimal where it can be, and ranks follow energy and cycles."""

import numpy as np
import pytest
import torch
from torch import nn

from tilewright.compress.layers import fold_batch_norm
from tilewright.compress.lowrank import METHODS, approximate, energies, fit
from tilewright.compress.ranks import choose_ranks
from tilewright.errors import TilewrightError

RNG = np.random.default_rng(0)
MIX = RNG.standard_normal((12, 12)) * 0.7 ** np.arange(12)
RESPONSES = MIX @ RNG.standard_normal((12, 800)) + RNG.standard_normal((12, 1))


def error(factors, inputs, targets, relu):
    """Mean squared error of what follows the layer."""
    found = factors.left @ factors.right @ inputs + factors.bias[:, None]
    if relu:
        found, targets = np.maximum(found, 0), np.maximum(targets, 0)
    return np.square(found - targets).mean()


def test_linear_reconstruction_is_pca():
    values = np.linalg.eigvalsh(np.cov(RESPONSES, bias=True))
    for rank in (2, 5, 9):
        factors = fit(RESPONSES, RESPONSES, rank, relu=False)
        assert factors.left.shape == (12, rank)
        found = error(factors, RESPONSES, RESPONSES, relu=False) * 12
        assert found == pytest.approx(values[: 12 - rank].sum())


def test_reconstruction_with_the_relu_beats_the_linear_one_after_it():
    for rank in (2, 4, 6):
        linear = fit(RESPONSES, RESPONSES, rank, relu=False)
        nonlinear = fit(RESPONSES, RESPONSES, rank, relu=True)
        better = error(nonlinear, RESPONSES, RESPONSES, relu=True)
        assert better < 0.95 * error(linear, RESPONSES, RESPONSES, relu=True)


def test_approximated_inputs_are_made_up_for():
    seen = RESPONSES + 0.5 * MIX[:, :1] * RNG.standard_normal((1, 800)) + 0.3
    asymmetric = fit(seen, RESPONSES, 8, relu=True)
    symmetric = fit(RESPONSES, RESPONSES, 8, relu=True)
    better = error(asymmetric, seen, RESPONSES, relu=True)
    assert better < error(symmetric, seen, RESPONSES, relu=True)


def network():
    """A small network with BatchNorm, in evaluation mode."""
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 12, 3, stride=2), nn.ReLU(), nn.Flatten()),
        nn.Linear(12 * 9, 10),
    ).eval()


@pytest.mark.parametrize("method", METHODS)
def test_full_rank_changes_nothing_and_lower_rank_is_an_ordinary_module(method):
    images = torch.randn(60, 3, 8, 8)
    model = fold_batch_norm(network())
    with torch.inference_mode():
        whole = approximate(model, images, {"0": 8, "3": 12, "6": 10}, method=method)(images)
        torch.testing.assert_close(whole, model(images), rtol=1e-3, atol=1e-4)
    less = approximate(model, images, {"0": 4, "3": 6, "6": 5}, method=method)
    shapes = [tuple(m.weight.shape) for m in less.modules() if hasattr(m, "weight")]
    assert shapes == [(4, 3, 3, 3), (8, 4, 1, 1), (6, 8, 3, 3), (12, 6, 1, 1), (5, 108), (10, 5)]
    assert len(list(model.modules())) < len(list(less.modules()))


def test_energies_rise_to_one():
    found = energies(fold_batch_norm(network()), torch.randn(60, 3, 8, 8), ["3", "6"])
    assert [len(item) for item in found.values()] == [12, 10]
    for item in found.values():
        assert (np.diff(item) >= 0).all()
        assert item[-1] == pytest.approx(1.0)


def test_ranks_are_cut_where_energy_is_cheapest_until_the_budget_is_met():
    energy = {"a": np.array([0.9, 0.99, 0.999, 1.0]), "b": np.array([0.4, 0.6, 0.8, 1.0])}
    costs = {"a": {1: 10.0, 2: 20.0, 3: 30.0}, "b": {1: 10.0, 2: 20.0, 3: 30.0}}
    dense = {"a": 40.0, "b": 40.0, "other": 5.0}
    assert choose_ranks(energy, dense, costs, 100.0) == {}
    assert choose_ranks(energy, dense, costs, 75.0) == {"a": 3}
    assert choose_ranks(energy, dense, costs, 55.0) == {"a": 1}
    found = choose_ranks(energy, dense, costs, 30.0)
    assert found["a"] == 1
    assert 5 + costs["a"][found["a"]] + costs["b"][found["b"]] <= 30
    with pytest.raises(TilewrightError, match=r"below one lane.*at most 3\.40x \(25 of 85"):
        choose_ranks(energy, dense, costs, 24.0)
    with pytest.raises(TilewrightError, match="all are too small; use vectors or prune"):
        choose_ranks(energy, {"a": 10.0, "b": 9.0}, costs, 15.0)


def test_impossible_ranks_are_refused():
    model, images = fold_batch_norm(network()), torch.randn(20, 3, 8, 8)
    with pytest.raises(TilewrightError, match=r"Layer '3': a rank of 13 is not possible, 1\.\.12"):
        approximate(model, images, {"3": 13})
    with pytest.raises(TilewrightError, match="not 'magic'"):
        approximate(model, images, {"3": 3}, method="magic")
