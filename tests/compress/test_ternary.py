"""Ternary weights: two trained scales, the paper's gradients, and what cannot be ternary."""

import numpy as np
import pytest
import torch
from torch import nn

from tilewright.compress.steps import TERNARY
from tilewright.compress.ternary import fix_ternary, ternarize
from tilewright.errors import TilewrightError


def network():
    """Four small layers."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 6)
    )


@pytest.mark.parametrize("method", TERNARY[:-1])
def test_middle_layers_get_three_values_and_the_module_stays_ordinary(method):
    model = network()
    assert ternarize(model, method=method) == ("2",)
    output = model(torch.randn(3, 1, 8, 8))
    scales = fix_ternary(model)["2"]
    weight = model[2].weight.detach().numpy()
    expected = np.where(scales.signs > 0, scales.positive, -scales.negative) * (scales.signs != 0)
    np.testing.assert_allclose(weight, expected, rtol=1e-6)
    assert len(np.unique(weight)) == 3
    assert (scales.positive == scales.negative) == (method != "ttq")
    assert output.shape == (3, 6)
    assert isinstance(model[2].weight, nn.Parameter)


def test_shifts_are_powers_of_two_for_each_output_channel():
    model = network()
    ternarize(model, method="shift")
    model(torch.randn(3, 1, 8, 8)).sum().backward()
    assert model[2].parametrizations.weight[0].scale.grad.shape == (4, 1, 1, 1)
    fix_ternary(model)
    for channel in model[2].weight.detach().numpy():
        (size,) = np.unique(np.abs(channel[channel != 0]))
        assert np.log2(size) == np.round(np.log2(size))


def test_gradients_are_the_papers():
    layer = nn.Linear(5, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 0.5, 0.01, -0.6, -0.04]]))
    ternarize(layer := nn.Sequential(layer), skip=())
    item = layer[0].parametrizations.weight
    positive, negative = item[0].positive.item(), item[0].negative.item()
    assert (positive, negative) == (pytest.approx(0.75), pytest.approx(0.6))
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]])
    layer(x).sum().backward()
    assert float(item[0].positive.grad) == 3.0
    assert float(item[0].negative.grad) == -4.0
    grads = [positive, 2 * positive, 3.0, 4 * negative, 5.0]
    np.testing.assert_allclose(item.original.grad.numpy()[0], grads, rtol=1e-6)


def test_training_moves_both_scales():
    model = network()
    ternarize(model)
    scale = model[2].parametrizations.weight[0]
    before = scale.positive.item(), scale.negative.item()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.randn(8, 1, 8, 8)).square().mean().backward()
    optimizer.step()
    assert scale.positive.item() != before[0]
    assert scale.negative.item() != before[1]


def test_what_cannot_be_ternary_is_refused():
    model = network()
    with pytest.raises(TilewrightError, match="no layer 'conv9'"):
        ternarize(model, skip=["conv9"])
    with pytest.raises(TilewrightError, match="not 'binary'"):
        ternarize(model, method="binary")
    with pytest.raises(TilewrightError, match="0, 2 stay as they are"):
        ternarize(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)))
    with torch.no_grad():
        model[2].weight.zero_()
    with pytest.raises(TilewrightError, match="Layer '2': all of its weights are zero"):
        ternarize(model)
