"""Constants of a layer in fixed point, and the formats that they start from."""

from dataclasses import replace

import numpy as np
import pytest
from float_networks import conv, every_operation, images
from hypothesis import given
from hypothesis import strategies as st

from tilewright.graph.ir import Activation, ActivationKind, Conv, Layer, Op
from tilewright.quant.accumulator import accumulator_bound
from tilewright.quant.candidates import initial_frac
from tilewright.quant.config import QuantConfig
from tilewright.quant.constants import clip_range, fix_layer, fix_slope
from tilewright.quant.fixed import Leaky
from tilewright.quant.formats import QFormat
from tilewright.quant.quantize import quantize


@given(
    st.floats(-1e6, 1e6, allow_subnormal=False, width=32),
    st.floats(-1e6, 1e6, allow_subnormal=False, width=32),
    st.integers(2, 16),
)
def test_initial_frac_is_the_largest_that_does_not_overflow(a, b, bits):
    def fits(frac):
        scaled = np.floor(np.ldexp(np.array([a, b]), frac) + 0.5)
        form = QFormat(bits, frac)
        return form.min <= scaled.min() and scaled.max() <= form.max

    frac = initial_frac(min(a, b), max(a, b), bits)
    if a == b == 0.0:
        assert frac == bits - 1
    else:
        assert fits(frac)
        assert frac == 48 or not fits(frac + 1)


def test_minus_a_power_of_two_uses_the_most_negative_integer():
    assert initial_frac(-1.0, 0.5, 8) == 7
    assert initial_frac(-0.5, 1.0, 8) == 6


def test_slopes_of_known_form():
    quarter = fix_slope(Activation(kind=ActivationKind.LEAKY, slope=0.25))
    tenth = fix_slope(Activation(kind=ActivationKind.LEAKY, slope=0.1))
    assert quarter == Leaky(multiplier=1, shift=2)
    assert tenth == Leaky(multiplier=205, shift=11)


@given(st.floats(1e-6, 0.9999))
def test_no_multiplier_and_shift_is_nearer_to_the_slope(slope):
    chosen = fix_slope(Activation(kind=ActivationKind.LEAKY, slope=slope))
    assert chosen is not None and 0 < chosen.multiplier <= 255 and 1 <= chosen.shift <= 31
    pairs = np.ldexp(np.arange(256.0)[:, None], -np.arange(1, 32)[None, :])
    assert abs(chosen.multiplier * 2.0**-chosen.shift - slope) == np.abs(pairs - slope).min()


def test_maps_that_cannot_be_negative_have_no_sign_and_twice_the_resolution():
    raw = images()
    signed, fixed = (
        quantize(
            every_operation(), raw, QuantConfig(unsigned=on, rescale=False, rounding="nearest")
        ).fixed
        for on in (False, True)
    )
    without = {name for name, form in fixed.formats.items() if not form.signed}
    # An average of rectified values, and what is rectified after a sum; never a plain convolution.
    assert without == {"stem", "depthwise", "add", "relu", "mean"}
    assert all(form.signed for form in signed.formats.values())
    for name in without:
        assert fixed.formats[name].frac == signed.formats[name].frac + 1


def test_an_input_without_negative_values_has_no_sign():
    graph = every_operation()
    graph = replace(graph, inputs=(replace(graph.inputs[0], mean=(0.0,)), graph.inputs[1]))
    fixed = quantize(graph, images(), QuantConfig(rounding="nearest")).fixed
    assert fixed.formats["image"] == QFormat(8, 6, signed=False)  # 255 / 64
    assert fixed.formats["image2"].signed


def test_sums_over_unsigned_maps_stay_below_the_bound_with_and_without_their_offset():
    layer = conv(np.random.default_rng(0), "y", "x", 3, 2)
    form = QFormat(8, 4, signed=False)
    fixed = fix_layer(layer, {"x": form}, QFormat(8, 0), shape=(3, 4, 4), channels=2, weight_frac=6)
    assert fixed.weight is not None
    flat = fixed.weight.reshape(2, -1)
    positive, negative = np.maximum(flat, 0).sum(axis=1), np.minimum(flat, 0).sum(axis=1)
    plain = np.maximum(255 * positive + np.maximum(fixed.bias, 0), -255 * negative)
    assert max(plain) <= accumulator_bound(fixed, {"x": form})
    shifted = np.maximum(127 * positive - 128 * negative, 128 * positive - 127 * negative)
    assert max(shifted) <= accumulator_bound(fixed, {"x": form})


@pytest.mark.parametrize("slope", [0.0, 1e-12])
def test_slope_zero_is_a_clip_at_zero(slope):
    activation = Activation(kind=ActivationKind.LEAKY, slope=slope)
    assert fix_slope(activation) is None
    assert clip_range(activation, QFormat(8, 3)) == (0, 127)


def test_slope_one_is_no_activation():
    activation = Activation(kind=ActivationKind.LEAKY, slope=1.0)
    assert fix_slope(activation) is None
    assert clip_range(activation, QFormat(8, 3)) == (-128, 127)


def test_clip_levels_are_rounded_in_the_output_format_and_saturate():
    levels = Activation(kind=ActivationKind.CLIP, lo=-0.3, hi=6.0)
    assert clip_range(levels, QFormat(8, 4)) == (-5, 96)
    assert clip_range(levels, QFormat(8, 5)) == (-10, 127)
    assert clip_range(levels, QFormat(8, -1)) == (0, 3)


def test_bias_is_rounded_half_up_at_the_accumulator():
    conv = Conv(
        weight=np.ones((4, 1, 1, 1), np.float32),
        bias=np.array([0.75, -0.75, 0.6, -0.6], np.float32),
    )
    layer = Layer(name="c", op=Op.CONV, inputs=("x",), conv=conv)
    form = QFormat(8, 0)
    fixed = fix_layer(layer, {"x": form}, form, shape=(1, 1, 1), channels=4, weight_frac=1)
    assert fixed.bias.tolist() == [2, -1, 1, -1]
