"""BatchNorm with scales that are powers of two, and ternary layers that keep their three integers."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from tilewright import api
from tilewright.compress.layers import fold_batch_norm, normalized, weight_layers
from tilewright.compress.shift_norm import fix_shift_norms, settle_shift_norms, shift_norms
from tilewright.compress.steps import parse_steps
from tilewright.compress.ternary import fix_ternary, ternarize
from tilewright.compression import quant_config
from tilewright.quant.config import QuantConfig
from tilewright.shrinking import ternary_layers


@pytest.fixture
def model():
    """Four convolutions, the middle ones with a BatchNorm that has seen data; some scales negative."""
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU()),
        *(nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)),
    )
    with torch.no_grad():
        for norm in normalized(model).values():
            norm.weight.normal_(0.0, 2.0)
        for _ in range(3):
            model(images())
    return model.eval()


def images():
    """Eight noisy images."""
    return torch.randn(8, 1, 12, 12, generator=torch.Generator().manual_seed(1))


def train_a_little(model):
    """Three steps of Adam towards other outputs."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=0.01)
    model.train()
    for _ in range(3):
        optimizer.zero_grad()
        (model(images()) - 1).square().mean().backward()
        optimizer.step()
    model.eval()


def test_negative_scales_are_turned_round_without_a_change(model):
    before = model(images())
    assert shift_norms(model, ("3",)) == ("3",)
    norm = model[4]
    assert (norm.parametrizations.weight.original > 0).all()
    with torch.no_grad():
        # With the scales as they were, nothing else has changed.
        original = norm.parametrizations.weight.original.clone()
        nn.utils.parametrize.remove_parametrizations(norm, "weight")
        norm.weight.copy_(original)
    torch.testing.assert_close(model(images()), before)


def test_scales_are_powers_of_two_while_trained_and_after(model):
    shift_norms(model, weight_layers(model))
    weights = [norm.parametrizations.weight.original.clone() for norm in normalized(model).values()]
    train_a_little(model)
    for norm, before in zip(normalized(model).values(), weights, strict=True):
        assert not torch.equal(norm.parametrizations.weight.original, before)
    trained = model(images())
    fix_shift_norms(model)
    for norm in normalized(model).values():
        logs = (norm.weight / (norm.running_var + norm.eps).sqrt()).log2()
        torch.testing.assert_close(logs, logs.round(), rtol=0, atol=1e-5)
        torch.testing.assert_close(2.0 ** -logs.round() * 2.0**logs, torch.ones(len(logs)))
    torch.testing.assert_close(model(images()), trained)


def test_an_exponent_stays_until_the_scale_is_far_from_it(model):
    shift_norms(model, ("3",))
    norm = model[4]
    part, original = norm.parametrizations.weight[0], norm.parametrizations.weight.original
    deviation = (norm.running_var + norm.eps).sqrt()
    norm.train()
    for start, factor, end in ((0.0, 1.6, 0.0), (1.0, 1.25, 1.0), (0.0, 1.8, 1.0)):
        part.exponents.fill_(start)
        with torch.no_grad():
            original.copy_(deviation * factor)
        torch.testing.assert_close(norm.weight, deviation * 2.0**end)


def test_settled_norms_compute_in_training_what_they_compute_after(model):
    shift_norms(model, ("3", "6"))
    settle_shift_norms(model)
    bias, scale = model[4].bias.clone(), model[4].parametrizations.weight.original.clone()
    train_a_little(model)
    assert not torch.equal(model[4].bias, bias)
    assert torch.equal(model[4].parametrizations.weight.original, scale)
    evaluated = model(images())
    for name in ("4", "7"):
        model.get_submodule(name).train()
    torch.testing.assert_close(model(images()), evaluated)
    fix_shift_norms(model)
    assert not torch.allclose(model.train()(images()), evaluated)
    assert model[4].weight.requires_grad


def test_a_layer_without_batch_norm_stays_as_it_is(model):
    assert shift_norms(model, ("11",)) == ()


@pytest.mark.parametrize(("method", "bits"), [("ttq", 8), ("twn", 8), ("shift", 2)])
def test_quantized_ternary_layers_hold_three_integers(model, method, bits):
    names = ternarize(model, method=method)
    assert names == ("3", "6")
    train_a_little(model)
    fix_ternary(model)
    trained = model(images())
    torch.testing.assert_close(fold_batch_norm(copy.deepcopy(model))(images()), trained)
    graph = api.load(model, images()[:1].numpy())
    shifts = ternary_layers(graph) if method == "shift" else ()
    config = quant_config(QuantConfig(), parse_steps((f"ternary {method}",)), shifts)
    fixed = api.quantize(graph, images().numpy(), config=config).fixed
    for layer in [layer for layer in fixed.layers if layer.weight is not None][1:3]:
        assert layer.weight is not None
        assert layer.weight_bits == bits
        assert len(np.unique(layer.weight)) <= 3
        assert len(set(layer.weight_frac.tolist())) > 1
