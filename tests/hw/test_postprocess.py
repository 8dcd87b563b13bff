# amaranth: UnusedElaboratable=no
"""Post-processing and pooling against the same functions on NumPy integers."""

from __future__ import annotations

import re
from random import Random
from typing import Any

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from tilewright.compiler.microarchitecture import NEIGHBOURHOODS
from tilewright.compiler.target import Target
from tilewright.hw.hls import lower
from tilewright.hw.pooling import Pooling
from tilewright.hw.postprocess import PostProcess, limits, postprocess_datapath
from tilewright.quant import numerics


def run(dut, phases, random, *, gaps=True):
    """Each phase: settings, beats, number of results. Return per phase the beats received."""
    received = []

    async def bench(ctx):
        for configuration, beats, count in phases:
            for name, value in configuration.items():
                ctx.set(getattr(dut, name), value)
            for _ in range(NEIGHBOURHOODS):  # until it has passed to all columns
                await ctx.tick()
            todo, holding = list(beats), False
            got: list[Any] = []
            cycles = 0
            while todo or len(got) < count:
                holding = bool(todo) and (holding or not gaps or random.random() < 0.7)
                ctx.set(dut.i.valid, int(holding))
                if todo:
                    ctx.set(dut.i.p, todo[0])
                if ctx.get(dut.o.valid):
                    got.append(ctx.get(dut.o.p))
                if holding:
                    todo.pop(0)
                    holding = False
                await ctx.tick()
                cycles += 1
                assert cycles < 50 * len(beats) + 200, "it hangs"
            ctx.set(dut.i.valid, 0)
            received.append((got, cycles))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return received


def edge_or_random(random, bits):
    """A signed integer of so many bits, often an extreme or a small one."""
    top = 1 << (bits - 1)
    return random.choice(
        [-top, top - 1, 0, -1, 1, random.randint(-300, 300), random.randint(-top, top - 1)]
    )


def limited(value, bits):
    return max(-(1 << (bits - 1)), min((1 << (bits - 1)) - 1, value))


def accumulator(random, bias, bits):
    """A value that fits in so many bits, with and without the bias."""
    return limited(limited(edge_or_random(random, bits), bits) + bias, bits) - bias


def prepared(target, bias, biased_shift):
    """What the post-processing takes of a record."""
    bias, shift = numerics.prepare(bias, biased_shift, **limits(target))
    return {"bias": int(bias), "shift": int(shift)}


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 1 << 32),
    act_bits=st.sampled_from([2, 4, 8, 11, 16]),
    acc_bits=st.integers(24, 48),
    leaky=st.booleans(),
)
def test_lanes_equal_the_reference(seed, act_bits, acc_bits, leaky):
    random = Random(seed)
    weight_bits = min(8, 22 - act_bits)
    target = Target(
        rows=4,
        cols=3,
        act_bits=act_bits,
        weight_bits=weight_bits,
        acc_bits=acc_bits,
        leaky=leaky,
        edge_registers=random.choice((0, 2)),
    )
    top = (1 << (act_bits - 1)) - 1
    phases, expected = [], []
    for _ in range(3):
        slope = {
            "leaky": random.randint(0, 1),
            "slope_multiplier": random.randint(0, 255),
            "slope_shift": random.randint(1, 31),
        }
        biases = [limited(edge_or_random(random, acc_bits), acc_bits) for _ in range(3)]
        shifts = [random.choice([0, 15, 63, random.randint(0, 63)]) for _ in range(3)]
        configuration = {
            "records": [prepared(target, *pair) for pair in zip(biases, shifts, strict=True)],
            "lo": random.choice([-top - 1, 0, random.randint(-top, top)]),
            "hi": random.choice([top, random.randint(-top, top)]),
        }
        beats = [
            {
                "accs": [accumulator(random, bias, acc_bits) for bias in biases],
                "tag": random.randrange(4),
            }
            for _ in range(25)
        ]
        accs = np.array([beat["accs"] for beat in beats], dtype=object)
        wanted = numerics.postprocess(
            accs,
            np.array(biases, dtype=object),
            np.array(shifts, dtype=object),
            configuration["lo"],
            configuration["hi"],
            **(slope if leaky else {"leaky": 0, "slope_multiplier": 0, "slope_shift": 1}),
        )
        expected.append([(list(row), beat["tag"]) for row, beat in zip(wanted, beats, strict=True)])
        phases.append((configuration | (slope if leaky else {}), beats, len(beats)))
    received = run(PostProcess(target, tag_width=2), phases, random)
    for (got, _), wanted in zip(received, expected, strict=True):
        assert [(list(beat.lanes), beat.tag) for beat in got] == wanted


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 1 << 32), leaky=st.booleans(), act_bits=st.integers(2, 16))
def test_the_lowered_lane_equals_the_reference(seed, leaky, act_bits):
    """Many more values than simulation affords, on what the hardware is made from."""
    random = Random(seed)
    target = Target(rows=4, act_bits=act_bits, weight_bits=4, leaky=leaky)
    lane = lower(postprocess_datapath(target))
    top = (1 << (act_bits - 1)) - 1
    for _ in range(20):
        bias = limited(edge_or_random(random, random.choice([8, 32])), 32)
        acc, biased_shift = accumulator(random, bias, 32), random.randint(0, 63)
        clip = {name: random.randint(-top - 1, top) for name in ("lo", "hi")}
        slope = {
            "leaky": random.randint(0, 1),
            "slope_multiplier": random.randint(0, 255),
            "slope_shift": random.randint(1, 31),
        }
        without = {"leaky": 0, "slope_multiplier": 0, "slope_shift": 1}
        slope_or_not = slope if leaky else without
        expected = numerics.postprocess(acc, bias, biased_shift, **clip, **slope_or_not)
        rounded_bias, shift = prepared(target, bias, biased_shift).values()
        values = {"acc": acc, "rounded_bias": rounded_bias, "shift": shift, **clip}
        assert lane.evaluate(**values, **(slope if leaky else {})) == int(expected)


def test_postprocessing_takes_a_pixel_every_cycle():
    target = Target(rows=4, cols=2)
    dut = PostProcess(target)
    configuration = {"records": [prepared(target, 0, 15)] * 2, "lo": -128, "hi": 127}
    beats = [{"accs": [index, -index], "tag": 0} for index in range(50)]
    [(got, cycles)] = run(dut, [(configuration, beats, 50)], Random(0), gaps=False)
    assert [list(beat.lanes) for beat in got] == [[index, -index] for index in range(50)]
    assert cycles == 50 + dut.latency


def test_without_leaky_there_is_no_multiplier_and_no_port_for_it():
    with_leaky, without = (
        PostProcess(Target(rows=4, cols=1, leaky=leaky)) for leaky in (True, False)
    )
    assert "leaky" in with_leaky.signature.members
    assert "leaky" not in without.signature.members
    assert re.search(r"cell \$mul\b", rtlil.convert(with_leaky))
    assert not re.search(r"cell \$mul\b", rtlil.convert(without))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1 << 32), acc_bits=st.integers(24, 48), edges=st.integers(1, 2))
def test_windows_are_pooled_as_the_reference_does(seed, acc_bits, edges):
    random = Random(seed)
    target = Target(rows=4, cols=3, acc_bits=acc_bits, edge_registers=edges)
    phases, expected = [], []
    for is_sum in (0, 1, 0):
        beats, results = [], []
        for _ in range(15):
            size = random.choice([1, 1, 2, 4, 9])
            tag = random.randrange(4)
            window = [[edge_or_random(random, acc_bits - 1) for _ in range(3)] for _ in range(size)]
            if is_sum:  # sums fit the accumulator
                window = [[value // 16 for value in accs] for accs in window]
            running = np.array(window[0], dtype=object)
            for value in window[1:]:
                running = numerics.pool_step(running, np.array(value, dtype=object), bool(is_sum))
            results.append((list(running), tag))
            beats += [
                {
                    "accs": accs,
                    "first": int(index == 0),
                    "last": int(index == size - 1),
                    "tag": tag if index == size - 1 else random.randrange(4),
                }
                for index, accs in enumerate(window)
            ]
        phases.append(({"is_sum": is_sum}, beats, len(results)))
        expected.append(results)
    received = run(Pooling(target, tag_width=2), phases, random)
    for (got, _), results in zip(received, expected, strict=True):
        assert [(list(beat.accs), beat.tag) for beat in got] == results


@pytest.mark.parametrize("edges", [1, 2])
@pytest.mark.parametrize("size", [1, 4])
def test_pooling_takes_a_pixel_every_cycle(size, edges):
    beats = [
        {"accs": [index], "first": int(index % size == 0), "last": int(index % size == size - 1)}
        for index in range(40)
    ]
    target = Target(rows=4, cols=1, edge_registers=edges)
    dut = Pooling(target)
    [(got, cycles)] = run(dut, [({}, beats, 40 // size)], Random(0), gaps=False)
    assert [list(beat.accs) for beat in got] == [[index] for index in range(size - 1, 40, size)]
    assert cycles == 40 + target.pooling_latency


@pytest.mark.parametrize("edges", [0, 1, 2])
@pytest.mark.parametrize("leaky", [False, True])
@pytest.mark.parametrize("acc_bits", [16, 20, 24, 32, 40, 48])
def test_every_width_fits_the_latency_that_the_cycle_model_counts_on(leaky, acc_bits, edges):
    for act_bits in range(2, 17):
        widths = {"act_bits": act_bits, "weight_bits": 2, "acc_bits": max(acc_bits, act_bits + 4)}
        target = Target(rows=4, cols=1, leaky=leaky, edge_registers=edges, **widths)
        assert PostProcess(target).latency == target.postprocess_latency
