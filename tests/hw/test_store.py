# amaranth: UnusedElaboratable=no
"""STORE: which accumulators become which bytes of memory, and when the others are told."""

from __future__ import annotations

from drain_scenarios import drain, lanes, rows, stamp
from hypothesis import given, settings
from hypothesis import strategies as st
from store_scenarios import store
from streams import run

SEEDS = st.integers(0, 1 << 32)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_every_window_is_read_once_in_order(seed: int) -> None:
    run(drain(seed))


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_each_output_row_is_one_transfer(seed: int) -> None:
    run(rows(seed))


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_columns_go_to_their_lanes_and_no_other_byte_is_written(seed: int) -> None:
    run(lanes(seed))


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_a_stamp_is_eight_bytes_on_any_bus(seed: int) -> None:
    run(stamp(seed))


@settings(max_examples=12, deadline=None)
@given(seed=SEEDS)
def test_stores_and_stamps_write_what_the_reference_says_and_finish_comes_last(seed: int) -> None:
    run(store(seed))
