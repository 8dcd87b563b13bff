"""Searching further than the greedy pass: joint choice, and coordinate descent."""

import numpy as np
import pytest
from float_networks import every_operation, images

from tilewright.graph.execute import run_float
from tilewright.quant.accumulator import accumulator_bound
from tilewright.quant.config import QuantConfig
from tilewright.quant.data import prepare
from tilewright.quant.descent import descend
from tilewright.quant.quantize import quantize
from tilewright.quant.reference import dequantize_outputs, quantize_inputs, run_fixed


def distance(fixed, raw):
    """Squared error of each output relative to its energy, of the integer reference."""
    got = dequantize_outputs(fixed, run_fixed(fixed, quantize_inputs(fixed, raw)))
    data = prepare(fixed.graph, raw)
    exact = run_float(fixed.graph, data, keep=[o.tensor for o in fixed.graph.outputs])
    pairs = [(got[o.name], exact[o.tensor]) for o in fixed.graph.outputs]
    return sum(np.square(a.reshape(b.shape) - b).sum() / np.square(b).sum() for a, b in pairs)


@pytest.mark.parametrize("options", [{"weight_bits": 4}, {"rounding": "learned"}])
def test_coordinate_descent_brings_the_outputs_closer(options):
    graph, raw = every_operation(), images(1)
    config = QuantConfig.paper(**options)
    greedy = quantize(graph, raw, config).fixed
    found, changes = descend(greedy, prepare(graph, raw), config)
    assert changes
    assert distance(found, raw) < distance(greedy, raw)
    moved = {step.kind for step in changes}
    assert ("weights" in moved) <= (config.rounding == "nearest")
    last = changes[-1]
    assert last.candidates[1].error < last.candidates[0].error
    assert all(accumulator_bound(x, found.formats) < 1 << 47 for x in found.layers)
    assert all(x.output == found.formats[x.name] for x in found.layers)


def test_the_option_descends_and_logs_it():
    graph, raw = every_operation(), images(1)
    result = quantize(graph, raw, QuantConfig.paper(weight_bits=4, descent=True))
    assert any("coordinate descent" in str(step) for step in result.log)
    config = QuantConfig.paper(weight_bits=4)
    assert distance(result.fixed, raw) < distance(quantize(graph, raw, config).fixed, raw)


def test_joint_choice_lowers_the_error_of_what_layers_store():
    graph, raw = every_operation(), images(1)
    errors = {}
    for joint in (False, True):
        result = quantize(graph, raw, QuantConfig.paper(weight_bits=4, joint=joint))
        first = next(x.name for x in graph.layers if x.conv is not None)
        step = next(s for s in result.log if (s.tensor, s.kind) == (first, "features"))
        errors[joint] = min(candidate.error for candidate in step.candidates)
    assert errors[True] <= errors[False]
    other = quantize(graph, raw, QuantConfig.paper(weight_bits=4, joint=True))
    assert any("together" in step.note for step in other.log)
