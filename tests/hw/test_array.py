# amaranth: UnusedElaboratable=no
"""Multiplier, array, banks and accumulators against models on Python integers."""

from __future__ import annotations

import pytest
from accumulator_scenarios import accumulators
from array_scenarios import array, array_of_pairs, banks, multiplier
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import run
from ternary_scenarios import ternary_array

from tilewright.hw.multipliers.generic import GenericMultiplier

SEEDS = st.integers(0, 1 << 32)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_a_product_is_exact_also_at_the_extremes(seed: int) -> None:
    run(multiplier(seed))


def test_a_multiplier_without_a_register_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^Multiplier stages must be a positive integer, not 0$"):
        GenericMultiplier(a_bits=8, b_bits=8, stages=0)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_each_columns_sum_stands_where_and_when_the_latency_says(seed: int) -> None:
    run(array(seed))


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_two_narrow_weights_share_a_multiplier(seed: int) -> None:
    run(array_of_pairs(seed))


@settings(max_examples=12, deadline=None)
@given(seed=SEEDS)
def test_ternary_cells_add_up_what_their_columns_scales_multiply(seed: int) -> None:
    run(ternary_array(seed))


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_rows_read_at_their_own_offsets_and_words_find_their_rows(seed: int) -> None:
    run(banks(seed))


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_one_half_drains_with_pauses_while_the_other_accumulates(seed: int) -> None:
    run(accumulators(seed))
