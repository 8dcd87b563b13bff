# amaranth: UnusedElaboratable=no
"""CALC: which pixel meets which weights and which accumulator, and in which cycle."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from calc_scenarios import calc, calc_bench, calc_job, check_calc, loader, pixels_of, walker
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import run

from tilewright.compiler.target import Target

SEEDS = st.integers(0, 1 << 32)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_tiles_follow_three_nested_loops_with_steps_of_both_signs(seed: int) -> None:
    run(walker(seed))


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_exactly_r_rows_enter_for_each_tile(seed: int) -> None:
    run(loader(seed))


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_instructions_issue_their_pixels_under_any_pauses(seed: int) -> None:
    run(calc(seed))


@pytest.mark.parametrize("pixels", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("rows", [1, 4, 6])
def test_tiles_and_instructions_follow_without_a_bubble(rows: int, pixels: int) -> None:
    """A tile takes max(pixels, R, accumulating again), also across instructions."""
    target = Target(rows=rows, cols=2, act_depth=1 << 16, acc_depth=256)
    random = Random(rows * pixels)
    jobs = [calc_job(random, rows=1, cols=pixels, tiles0=3, tiles1=1, tiles2=2) for _ in range(3)]
    bench, scenario = calc_bench(target, jobs, random)
    run(scenario)
    check_calc(target, jobs, bench)
    period = max(pixels, target.min_tile_period)
    assert bench.swaps == [bench.swaps[0] + period * n for n in range(18)]
    if pixels >= target.min_tile_period:
        assert bench.issued == list(range(bench.issued[0], bench.issued[0] + 18 * pixels))
    assert bench.waits["wait_load"] == bench.waits["wait_store"] == 0


@pytest.mark.parametrize("unit", ["load", "store"])
def test_an_instruction_waits_for_all_its_tokens_and_says_so(unit: str) -> None:
    target = Target(rows=2, cols=2, act_depth=1 << 16, acc_depth=256)
    random = Random(0)
    jobs = [calc_job(random, rows=1, cols=4, **{f"wait_{unit}": 3}) for _ in range(2)]
    bench, scenario = calc_bench(target, jobs, random, tokens=0.05)
    tokens_at: list[int] = []
    original = bench.sample

    def sample(ctx: Any, cycle: int) -> None:
        original(ctx, cycle)
        if ctx.get(bench.dut.issuing):
            tokens_at.append(bench.tokens_seen[unit])

    bench.sample = sample  # type: ignore[method-assign]
    run(scenario)
    first = len(list(pixels_of(jobs[0])))
    assert min(tokens_at[:first]) >= 3
    assert min(tokens_at[first:]) == 6
    other = {"load": "store", "store": "load"}[unit]
    assert bench.waits[f"wait_{unit}"] > 0
    assert bench.waits[f"wait_{other}"] == 0
    check_calc(target, jobs, bench)


def test_waiting_for_weights_is_counted() -> None:
    target = Target(rows=3, cols=2, act_depth=1 << 16, acc_depth=256)
    random = Random(5)
    jobs = [calc_job(random, rows=1, cols=1, tiles0=3, tiles1=3, tiles2=1)]
    bench, scenario = calc_bench(target, jobs, random, weights=0.2)
    run(scenario)
    check_calc(target, jobs, bench)
    late = sum(b - a - 4 for a, b in zip(bench.swaps, bench.swaps[1:], strict=False))
    assert late > 0
    assert bench.waits["wait_weights"] >= late
