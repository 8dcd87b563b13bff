"""Compiled programs, run on the instruction-level model, against the integer reference."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tilewright.compiler.lower import compile_network
from tilewright.errors import TilewrightError
from tilewright.quant.reference import run_fixed
from tilewright.sim.isa_model import execute
from tilewright.sim.random_layers import random_inputs, random_layer, random_network, random_target


def _check(fixed, target, seed, **options):
    inputs = random_inputs(fixed, seed)
    expected = run_fixed(fixed, {name: x[None] for name, x in inputs.items()})
    program = compile_network(fixed, target, **options)
    for name, values in execute(program, inputs).items():
        np.testing.assert_array_equal(values, expected[name][0], err_msg=name)
    return program


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32 - 1))
def test_random_layer_on_random_target_equals_reference(seed):
    target = random_target(seed)
    fixed = random_layer(seed, target)
    try:
        _check(fixed, target, seed)
    except TilewrightError as error:
        assert "one output needs" in str(error)


@pytest.mark.slow
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32 - 1))
def test_many_random_layers_equal_reference(seed):
    target = random_target(seed)
    fixed = random_layer(seed, target)
    try:
        _check(fixed, target, seed)
    except TilewrightError as error:
        assert "one output needs" in str(error)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_random_network_equals_reference_with_and_without_memory_reuse(seed, keep):
    target = random_target(seed)
    fixed = random_network(seed, target)
    try:
        _check(fixed, target, seed, keep=keep)
    except TilewrightError as error:
        assert "one output needs" in str(error) or "lie too far apart" in str(error)
