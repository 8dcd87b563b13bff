"""What cannot be quantized is refused by name, and what is odd is named in the log."""

import numpy as np
import pytest
from float_networks import every_operation, images

from tilewright.errors import TilewrightError
from tilewright.graph.execute import run_float
from tilewright.quant.config import QuantConfig
from tilewright.quant.data import normalize
from tilewright.quant.quantize import quantize
from tilewright.quant.reference import quantize_inputs, run_fixed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_bits": 1}, r"weight_bits must be an integer in 2\.\.16, not 1"),
        ({"feature_bits": 17}, r"feature_bits must be an integer in 2\.\.16, not 17"),
        ({"weight_bits": 8.0}, r"weight_bits must be an integer in 2\.\.16, not 8\.0"),
        ({"acc_bits": 49}, r"acc_bits must be an integer in 16\.\.48, not 49"),
        ({"kind_weight_bits": {"dense": 8}}, r"names 'dense'; layer kinds are conv, depthwise, fc"),
        ({"layer_weight_bits": {"fc": 0}}, r"layer_weight_bits\['fc'\] must be .* 2\.\.16, not 0"),
    ],
)
def test_options_out_of_range_are_refused_by_name(options, message):
    with pytest.raises(TilewrightError, match=message):
        QuantConfig(**options)


def test_unknown_layers_are_refused_with_the_nearest_name():
    config = QuantConfig(layer_weight_bits={"stm": 4})
    with pytest.raises(TilewrightError, match=r"names 'stm', .*; did you mean 'stem'\?"):
        quantize(every_operation(), images(1), config)


def test_missing_calibration_input_is_named_with_its_shape():
    raw = images(1)
    del raw["image2"]
    with pytest.raises(
        TilewrightError, match=r"Calibration data: input 'image2' is missing; .*8, 8"
    ):
        quantize(every_operation(), raw)


def test_unequal_numbers_of_calibration_images_are_refused():
    raw = images(2)
    raw["image2"] = raw["image2"][:1]
    with pytest.raises(TilewrightError, match=r"same number of images, not 2 for 'image', 1 for"):
        quantize(every_operation(), raw)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_or_infinity_in_weights_is_refused_by_layer(bad):
    graph = every_operation()
    graph.layer("left").conv.weight[0, 0, 0, 0] = bad
    with pytest.raises(TilewrightError, match=r"Layer 'left': its weights hold NaN or infinity"):
        quantize(graph, images(1))


def test_calibration_data_that_never_change_are_refused():
    raw = images(2)
    raw["image"] = np.full_like(raw["image"], 255)
    with pytest.raises(
        TilewrightError, match=r"input 'image' is 255 everywhere, .*give real inputs"
    ):
        quantize(every_operation(), raw)


def test_layers_that_never_fire_are_named_in_the_log():
    graph = every_operation()
    stem = graph.layer("stem").conv
    assert stem is not None
    stem.bias[...] = -1e4
    stem.weight[3] = 0.0
    result = quantize(graph, images(2))
    notes = {s.tensor: s.note for s in result.log if s.kind == "features"}
    assert notes["stem"] == "0 everywhere on the calibration images"
    values = run_fixed(result.fixed, quantize_inputs(result.fixed, images(2)), keep=["fc"])
    assert len(np.unique(values["fc"])) > 1


def test_a_tensor_that_saturates_often_is_named_in_the_log():
    """One value a million times the others: the rest is worth more than it is."""
    graph = every_operation()
    raw = images(2)
    result = quantize(graph, raw, QuantConfig.paper(lowest=0, highest=16, feature_bits=2))
    assert any("of the values saturate" in step.note for step in result.log)


def test_a_channel_that_never_changes_leaves_the_others_their_resolution():
    graph, raw = every_operation(), images(4)
    raw["image"][:, 0] = 200
    fixed = quantize(graph, raw).fixed
    seen = {i.name: normalize(i, raw[i.name]) for i in graph.inputs}
    wanted = run_float(graph, seen, keep=["fc"])["fc"]
    values = run_fixed(fixed, quantize_inputs(fixed, raw), keep=["fc"])["fc"]
    noise = np.square(fixed.formats["fc"].dequantize(values) - wanted).sum()
    assert 10 * np.log10(np.square(wanted).sum() / noise) > 20.0


def test_dead_layers_of_zeros_quantize_to_zeros():
    graph = every_operation()
    graph.layer("left").conv.weight[...] = 0.0
    graph.layer("left").conv.bias[...] = 0.0
    fixed = quantize(graph, images(1)).fixed
    values = run_fixed(fixed, quantize_inputs(fixed, images(1)), keep=["left"])
    assert not values["left"].any()
