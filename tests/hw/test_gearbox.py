# amaranth: UnusedElaboratable=no
"""The gearbox against a model on Python integers."""

from __future__ import annotations

import math

import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from tilewright.hw.gearbox import Gearbox


def cut(segments, in_width, width, flush):
    """Words (value, last) that the segments must give."""
    words = []
    for beats in segments:
        stream = sum(beat << (index * in_width) for index, beat in enumerate(beats))
        bits = len(beats) * in_width
        count = bits // width if flush == "drop" else math.ceil(bits / width)
        mask = (1 << width) - 1
        for index in range(count):
            last = flush == "pad" and index == count - 1
            words.append(((stream >> (index * width)) & mask, int(last)))
    return words


def run(dut, jobs, *, offer=lambda: True, take=lambda: True):
    """Feed jobs (mode, width, segments, expected words) one after the other.

    Return per job the words and the cycles in which they left. What is not filled of a padded word
    is read as 0. Before each job its mode stands for a cycle.
    """
    results = []

    async def bench(ctx):
        cycle = 0
        for mode, width, segments, expected in jobs:
            ctx.set(dut.mode, mode)
            ctx.set(dut.i.valid, 0)
            ctx.set(dut.o.ready, 0)
            await ctx.tick()
            beats = [
                (beat, int(index == len(segment) - 1))
                for segment in segments
                for index, beat in enumerate(segment)
            ]
            words: list[tuple[int, int]] = []
            cycles: list[int] = []
            holding = False
            budget = 30 * (len(beats) + len(expected)) + 100
            while beats or len(words) < len(expected):
                holding = bool(beats) and (holding or offer())
                ctx.set(dut.i.valid, int(holding))
                if beats:
                    ctx.set(dut.i.p, {"data": beats[0][0], "last": beats[0][1]})
                ready = take()
                ctx.set(dut.o.ready, int(ready))
                if ready and ctx.get(dut.o.valid):
                    last = ctx.get(dut.o.p.last)
                    filled = ctx.get(dut.filled) * dut.unit if last else 0
                    value = ctx.get(dut.o.p.data) & ((1 << (filled or width)) - 1)
                    words.append((value, last))
                    cycles.append(cycle)
                if holding and ctx.get(dut.i.ready):
                    beats.pop(0)
                    holding = False
                await ctx.tick()
                cycle += 1
                budget -= 1
                assert budget > 0, "the gearbox hangs"
            results.append((words, cycles))
        ctx.set(dut.i.valid, 0)
        ctx.set(dut.o.ready, 1)
        for _ in range(4):
            assert not ctx.get(dut.o.valid), "a word too many"
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return results


@settings(max_examples=60, deadline=None)
@given(
    unit=st.sampled_from([1, 2, 8]),
    in_units=st.integers(1, 8),
    out_units=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    flush=st.sampled_from(["drop", "pad"]),
    short=st.booleans(),
    random=st.randoms(use_true_random=False),
)
def test_every_segment_is_cut_into_its_words(unit, in_units, out_units, flush, short, random):
    in_width = unit * in_units
    widths = tuple(unit * units for units in out_units)
    jobs = []
    for _ in range(4):
        mode = random.randrange(len(widths))
        segments = [
            [random.getrandbits(in_width) for _ in range(random.randint(1, 12))]
            for _ in range(random.randint(1, 4))
        ]
        jobs.append((mode, widths[mode], segments, cut(segments, in_width, widths[mode], flush)))
    offer_rate, take_rate = random.choice([0.2, 0.7, 1.0]), random.choice([0.2, 0.7, 1.0])
    results = run(
        Gearbox(in_width, widths, flush=flush, short=short),
        jobs,
        offer=lambda: random.random() < offer_rate,
        take=lambda: random.random() < take_rate,
    )
    for (words, _), (_, _, _, expected) in zip(results, jobs, strict=True):
        assert words == expected


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("flush", ["drop", "pad"])
@pytest.mark.parametrize(
    ("in_width", "width"), [(64, 64), (64, 128), (128, 64), (64, 96), (96, 64), (64, 16), (16, 64)]
)
def test_the_narrower_side_never_waits(flush, short, in_width, width):
    """The first word leaves as soon as it can, and the whole takes no cycle more than it must."""
    count = math.lcm(in_width, width) // in_width * 4
    segments = [[(7 * index + 1) % (1 << in_width) for index in range(count)]] * 3
    expected = cut(segments, in_width, width, flush)
    [(words, cycles)] = run(
        Gearbox(in_width, (width, 8), flush=flush, short=short), [(0, width, segments, expected)]
    )
    assert words == expected
    first = math.ceil(width / in_width)
    assert cycles[0] == first
    if in_width >= width:
        assert cycles == list(range(first, first + len(words)))
    else:
        assert cycles[-1] == 3 * count


def test_a_ragged_segment_costs_no_bubble():
    segments = [[index] * 3 for index in range(1, 6)]
    expected = cut(segments, 64, 128, "pad")
    [(words, cycles)] = run(Gearbox(64, (128,), flush="pad"), [(0, 128, segments, expected)])
    assert words == expected
    assert [word[1] for word in words] == [0, 1] * 5
    assert cycles == [2, 3, 5, 6, 8, 9, 11, 12, 14, 15]


def test_impossible_parameters_are_refused():
    with pytest.raises(ValueError, match=r"^Widths must be positive, not 0 and \(8,\)$"):
        Gearbox(0, (8,))
    with pytest.raises(ValueError, match=r"^Widths must be positive, not 8 and \(\)$"):
        Gearbox(8, ())
    with pytest.raises(ValueError, match=r"^flush must be 'drop' or 'pad', not 'keep'$"):
        Gearbox(8, (8,), flush="keep")
