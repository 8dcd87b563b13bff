"""Learned rounding lowers the error of a layer's results, and never raises it."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from tilewright.graph.ir import Conv, Graph, Input, Layer, Op, Output
from tilewright.quant.config import QuantConfig
from tilewright.quant.floats import float_layer
from tilewright.quant.formats import QFormat
from tilewright.quant.quantize import quantize
from tilewright.quant.reconstruct import corrected_bias, reconstruct
from tilewright.quant.reference import dequantize_outputs, quantize_inputs, run_fixed
from tilewright.quant.samples import Samples, draw


def problem(seed=0, pixels=200, size=4, outputs=3, groups=1):
    rng = np.random.default_rng(seed)
    windows = rng.normal(size=(groups, pixels, size)) @ rng.normal(size=(size, size)) + 1.0
    weight = rng.normal(size=(outputs, size, 1, 1)).astype(np.float32)
    wanted = windows @ weight.reshape(groups, -1, size).transpose(0, 2, 1)
    wanted = wanted.transpose(1, 0, 2).reshape(pixels, -1)
    return weight, Samples(torch.from_numpy(windows).float(), torch.from_numpy(wanted).float())


def squared(weight, samples):
    """Squared error [O] of the centred results of real weights [O, d], one group."""
    error = samples.wanted.numpy() - samples.windows[0].numpy() @ weight.T
    return np.square(error - error.mean(axis=0)).mean(axis=0)


def test_the_best_of_all_roundings_is_no_better_by_much_and_the_nearest_worse():
    weight, samples = problem()
    form, fracs = QFormat(4, 0), np.full(3, 2)
    found = reconstruct(weight, form, fracs, samples, offsets=(0,), finest=fracs, per_channel=True)
    got = squared(found.weight.reshape(3, 4) / 4, samples)
    nearest = squared(
        QFormat(4, 2).dequantize(QFormat(4, 2).quantize(weight.reshape(3, 4))), samples
    )
    base = np.floor(weight.reshape(3, 4) * 4)
    every = np.array(list(itertools.product((-1, 0, 1, 2), repeat=4)))
    for channel in range(3):
        tried = np.clip(base[channel] + every, -8, 7) / 4
        one = Samples(samples.windows, samples.wanted[:, channel : channel + 1])
        best = squared(tried, one).min()
        assert best * 0.999 <= got[channel] <= nearest[channel] * 1.001
    assert got.sum() < 0.7 * nearest.sum()
    assert found.kept == pytest.approx(got.sum() / nearest.sum(), rel=0.2)


@pytest.mark.parametrize(("pixels", "groups"), [(200, 1), (200, 3), (3, 1), (1, 3)])
def test_mean_results_are_the_wanted_ones(pixels, groups):
    weight, samples = problem(1, pixels, groups=groups)
    fracs = np.array([1, 2, 3])
    found = reconstruct(
        weight, QFormat(4, 0), fracs, samples, offsets=(-1, 0, 1), finest=fracs, per_channel=True
    )
    real = np.ldexp(found.weight.astype(float), -found.weight_frac.reshape(-1, 1, 1, 1))
    assert (found.weight_frac <= fracs).all()
    np.testing.assert_allclose(found.bias, corrected_bias(real, samples))
    sums = samples.windows.numpy() @ real.reshape(groups, -1, 4).transpose(0, 2, 1)
    results = sums.transpose(1, 0, 2).reshape(pixels, -1) + found.bias
    np.testing.assert_allclose(results.mean(axis=0), samples.wanted.mean(dim=0), atol=1e-5)


@pytest.mark.parametrize("pixels", [3, 200])
def test_weights_of_exactly_zero_stay_zero_while_the_others_make_up_for_them(pixels):
    weight, samples = problem(pixels=pixels, size=8)
    weight[:, ::2] = 0.0
    form, fracs = QFormat(6, 0), np.full(3, 3)
    found = reconstruct(weight, form, fracs, samples, offsets=(0,), finest=fracs, per_channel=True)
    assert (found.weight[weight == 0] == 0).all()
    assert (found.weight[weight != 0] != 0).any()
    if pixels == 200:
        form = QFormat(6, 3)
        nearest = squared(form.dequantize(form.quantize(weight.reshape(3, 8))), samples)
        assert squared(found.weight.reshape(3, 8) / 8, samples).sum() < nearest.sum()


def test_few_samples_are_not_trusted_more_than_samples_held_out_allow():
    """What 30 samples of unrelated inputs say of 24 weights is mostly chance."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(16, 24, 1, 1)).astype(np.float32)

    def drawn(count):
        windows = rng.normal(size=(1, count, 24))
        parts = windows, windows[0] @ weight.reshape(16, 24).T
        return Samples(*(torch.from_numpy(part).float() for part in parts))

    few, other, fracs = drawn(30), drawn(5000), np.full(16, 2)
    errors = []
    for scarce in (False, True):
        found = reconstruct(
            weight, QFormat(5, 0), fracs, few, offsets=(0,), finest=fracs, per_channel=True,
            scarce=scarce,
        )  # fmt: skip
        errors.append(squared(found.weight.reshape(16, 24) / 4, other).sum())
    assert errors[1] < 0.9 * errors[0]


def classified(rng, weight, count):
    """Samples [1, count, d] that lie along the weights [O, d] of random classes, and other things."""
    classes = weight[rng.integers(len(weight), size=count)]
    windows = 2.0 * classes + rng.normal(size=classes.shape) @ rng.normal(size=(64, 64)) / 16.0
    parts = windows[None], windows @ weight.T
    return Samples(*(torch.from_numpy(part).float() for part in parts))


def test_a_classifiers_coarse_weights_say_what_it_reads_where_samples_do_not():
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(40, 64)) / 4.0
    few, other, fracs = classified(rng, weight, 32), classified(rng, weight, 4000), np.full(40, 2)
    errors = []
    for classifier in (False, True):
        found = reconstruct(
            weight.reshape(40, 64, 1, 1).astype(np.float32), QFormat(4, 0), fracs, few,
            offsets=(0,), finest=fracs, per_channel=True, scarce=True, classifier=classifier,
        )  # fmt: skip
        errors.append(squared(found.weight.reshape(40, 64) / 4, other).sum())
    assert errors[1] < 0.9 * errors[0]


@pytest.mark.parametrize("outputs", [1, 2, 12])
def test_few_or_many_classes_and_few_images_give_finite_weights(outputs):
    """One class has no others to differ from; twelve are more than there are weights of each."""
    weight, samples = problem(pixels=8, size=9, outputs=outputs)
    fracs = np.full(outputs, 2)
    found = reconstruct(
        weight, QFormat(4, 0), fracs, samples, offsets=(0, -1, 1), finest=fracs, per_channel=True,
        scarce=True, classifier=True,
    )  # fmt: skip
    assert np.isfinite(found.bias).all() and np.isfinite(found.kept)
    nearest = QFormat(4, 2).quantize(weight).reshape(outputs, 9) / 4
    real = np.ldexp(found.weight.reshape(outputs, 9), -found.weight_frac[:, None])
    assert squared(real, samples).sum() < 2.0 * squared(nearest, samples).sum()


def test_one_offset_serves_all_channels_where_they_share_a_frac():
    weight, samples = problem(2)
    found = reconstruct(
        weight,
        QFormat(3, 0),
        np.full(3, 1),
        samples,
        offsets=(-1, 0, 1),
        finest=np.full(3, 1),
        per_channel=False,
    )
    assert len(set(found.weight_frac.tolist())) == 1


def test_inputs_that_never_change_leave_the_nearest_weights():
    weight, samples = problem(3)
    still = Samples(torch.zeros_like(samples.windows), torch.zeros_like(samples.wanted))
    fracs = np.full(3, 2)
    found = reconstruct(
        weight, QFormat(8, 0), fracs, still, offsets=(0,), finest=fracs, per_channel=True
    )
    np.testing.assert_array_equal(found.weight, QFormat(8, 2).quantize(weight))
    assert np.isfinite(found.bias).all()


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_windows_and_wanted_values_are_those_of_the_convolution(groups):
    rng = np.random.default_rng(4)
    conv = Conv(
        weight=rng.normal(size=(8, 4 // groups, 3, 2)).astype(np.float32),
        bias=rng.normal(size=8).astype(np.float32),
        stride=(2, 1),
        dilation=(1, 2),
        pads=(1, 0, 2, 1),
        groups=groups,
    )
    layer = Layer(name="c", op=Op.CONV, inputs=("x",), conv=conv, residual="r")
    x = rng.integers(-9, 9, (5, 4, 7, 6)).astype(np.float32) / np.float32(4)
    _, height, width = conv.output_shape((4, 7, 6))
    r = rng.integers(-9, 9, (5, 8, height, width)).astype(np.float32) / np.float32(2)
    floats = [[x[:2], x[2:]], [r[:2], r[2:]]]
    fixed = [[torch.from_numpy(part * 4) for part in floats[0]]]
    fixed.append([torch.from_numpy((part + 1) * 2) for part in floats[1]])
    samples = draw(layer, floats, fixed, [1 / 4, 1 / 2])
    expected = float_layer(layer, [x, r]) - (r + 1)
    pixels = expected.transpose(0, 2, 3, 1).reshape(-1, 8)
    np.testing.assert_allclose(samples.wanted, pixels, atol=1e-5)
    # Windows come from the fixed network, whose x is the same here.
    weight = torch.from_numpy(conv.weight).reshape(groups, 8 // groups, -1)
    sums = (samples.windows @ weight.transpose(1, 2)).transpose(0, 1).reshape(-1, 8)
    plain = float_layer(replace(layer, residual=None), [x])
    goal = plain.transpose(0, 2, 3, 1).reshape(-1, 8)
    np.testing.assert_allclose(sums + torch.from_numpy(conv.bias), goal, atol=1e-5)


def small(seed=0):
    rng = np.random.default_rng(seed)

    def layer(name, source, inputs, outputs, groups=1):
        shape = (outputs, inputs // groups, 3, 3)
        weight = rng.normal(0.0, (2.0 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32)
        bias = rng.normal(0.0, 0.1, outputs).astype(np.float32)
        return Layer(
            name=name,
            op=Op.CONV,
            inputs=(source,),
            conv=Conv(weight=weight, bias=bias, pads=(1,) * 4, groups=groups),
        )

    return Graph(
        name="small",
        inputs=(Input(name="x", shape=(3, 8, 8)),),
        layers=(layer("a", "x", 3, 16), layer("b", "a", 16, 16, 16), layer("c", "b", 16, 8)),
        outputs=(Output(name="y", tensor="c", shape=(8, 8, 8)),),
    )


def smooth(count, seed):
    """Images whose pixels resemble their neighbours, as in photographs: float32 [N, 3, 8, 8]."""
    rng = np.random.default_rng(seed)
    return np.cumsum(np.cumsum(rng.normal(size=(count, 3, 8, 8)), axis=2), axis=3).astype(
        np.float32
    )


@pytest.mark.parametrize("bits", [4, 8])
def test_results_on_other_images_come_closer_to_float(bits):
    graph, test = small(), smooth(32, seed=9)
    x = test
    for layer in graph.layers:
        x = float_layer(layer, [x])
    errors = {}
    for rounding in ("nearest", "learned"):
        config = QuantConfig(weight_bits=bits, feature_bits=12, rounding=rounding)
        fixed = quantize(graph, {"x": smooth(32, seed=8)}, config).fixed
        values = run_fixed(fixed, quantize_inputs(fixed, {"x": test}), keep=["c"])
        errors[rounding] = np.square(dequantize_outputs(fixed, values)["y"] - x).sum()
    assert errors["learned"] < 0.8 * errors["nearest"]


def test_one_calibration_image_is_enough_to_run():
    graph = small()
    result = quantize(graph, {"x": smooth(1, seed=8)}, QuantConfig(weight_bits=4))
    assert [s.kind for s in result.log].count("rounding") == 3


def test_the_result_does_not_depend_on_chance():
    first, second = (
        quantize(small(), {"x": smooth(4, seed=8)}, QuantConfig(weight_bits=4)).fixed
        for _ in range(2)
    )
    for a, b in zip(first.layers, second.layers, strict=True):
        np.testing.assert_array_equal(a.weight, b.weight)
        np.testing.assert_array_equal(a.bias, b.bias)


def test_a_channels_frac_is_chosen_on_samples_held_out():
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(4, 16, 1, 1)).astype(np.float32)
    windows = torch.from_numpy(rng.normal(size=(1, 64, 16)).astype(np.float32))
    wanted = windows[0] @ torch.from_numpy(weight.reshape(4, 16)).T
    fracs = np.array([1, -1, 3, 1])
    found = reconstruct(
        weight,
        QFormat(4, 0),
        fracs,
        Samples(windows, wanted),
        offsets=(0, -1, 1),
        finest=fracs + 1,
        per_channel=True,
        scarce=True,
    )
    # Normal weights reach 2 or 3: formats of 4 bits end at 4 or 2.
    assert found.weight_frac[1] == 0
    assert found.weight_frac[2] == 2
