# amaranth: UnusedElaboratable=no
"""Traced functions: the recorded datapath, its lowering and its hardware against plain Python."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from amaranth import Module, Signal, signed, unsigned
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from tilewright.errors import TilewrightError
from tilewright.hw.hls import DelayTable, Input, Pipeline, combinational, lower, trace
from tilewright.hw.hls.nodes import Op, signed_bits
from tilewright.quant import numerics


def simulate(dut, held, beats, random):
    """Send the beats with random gaps and back-pressure; return the results."""
    results = []

    async def send(ctx):
        for beat in beats:
            while random.random() < 0.3:
                await ctx.tick()
            ctx.set(dut.i.p, beat)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)

    async def receive(ctx):
        for _ in range(50 * len(beats) + 200):
            ready = random.random() < 0.7
            ctx.set(dut.o.ready, int(ready))
            if ready and ctx.get(dut.o.valid):
                results.append(int(ctx.get(dut.o.p)))
            await ctx.tick()
            if len(results) == len(beats):
                return

    async def hold(ctx):
        ctx.set(dut.held, held)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    for bench in (hold, send, receive):
        simulator.add_testbench(bench)
    simulator.run()
    return results


def random_function(random, names):
    """A random chain of operations, as a list that `interpret` runs on any kind of value."""
    steps = []
    for _ in range(random.randint(1, 9)):
        kind = random.choice(
            ["add", "sub", "mul", "neg", "shl", "shr", "vshl", "vshr", "where", "min", "max"]
            + ["clip"] * 3
            + ["vshr"] * 2
        )
        steps.append((kind, *(random.randrange(1000) for _ in range(3)), random.randint(0, 8)))
    return steps


def interpret(steps, values):
    pool = list(values)
    distance = pool[-1]  # never negative
    for kind, i, j, k, n in steps:
        a, b, c = (pool[index % len(pool)] for index in (i, j, k))
        # Operands of multiplications and left shifts are limited, so that widths stay bounded.
        match kind:
            case "add":
                result = a + b
            case "sub":
                result = a - b
            case "mul":
                wide = numerics.clip(a, -(1 << 20), 3 << n)
                result = wide * numerics.clip(pool[0], -(1 << 12), 1 << n)
            case "neg":
                result = -a
            case "shl":
                result = numerics.clip(a, -1000, 1000) << n
            case "shr":
                result = a >> n
            case "vshl":
                result = numerics.saturate(a, 12) << distance
            case "vshr":
                result = a >> distance
            case "where":
                result = numerics.where(a <= b, b, c)
            case "min":
                result = numerics.minimum(n - 3, a)
            case "max":
                result = numerics.maximum(a, b)
            case "clip":
                result = numerics.clip(a, -(1 << n), (1 << n) - 1)
        pool.append(result)
    return pool[-1]


@settings(max_examples=400, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_trace_and_lowering_mean_what_the_function_means(seed):
    random = Random(seed)
    steps = random_function(random, "xys")
    most = random.choice([1, 3, 5, 13, 20])
    bounds = {"x": (-(1 << 15), 77), "y": (-100, 30000), "s": (0, most)}
    datapath = trace(lambda x, y, s: interpret(steps, (x, y, s)), bounds)
    lowered = lower(datapath)
    assert {node.op for node in lowered.nodes}.isdisjoint({Op.VSHL, Op.VSHR, Op.MIN, Op.MAX})
    for _ in range(20):
        values = {
            name: random.choice([lo, hi, random.randint(lo, hi), max(lo, min(hi, -1))])
            for name, (lo, hi) in bounds.items()
        }
        expected = interpret(steps, tuple(values.values()))
        assert datapath.evaluate(**values) == expected
        assert lowered.evaluate(**values) == expected


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1 << 32), period=st.sampled_from([2.0, 4.0, 10.0, 100.0]))
def test_hardware_computes_what_the_function_computes(seed, period):
    random = Random(seed)
    steps = random_function(random, "xys")
    bounds = {"x": Input(-(1 << 15), 77), "y": Input(-100, 3000), "s": Input(0, 13, constant=True)}
    datapath = trace(lambda x, y, s: interpret(steps, (x, y, s)), bounds)
    beats = [
        {name: random.choice([bounds[name].lo, random.randint(*bounds[name][:2])]) for name in "xy"}
        for _ in range(20)
    ]
    distance = random.randint(0, 13)
    dut = Pipeline(datapath, period_ns=period)
    results = simulate(dut, {"s": distance}, beats, random)
    assert results == [interpret(steps, (beat["x"], beat["y"], distance)) for beat in beats]


def test_combinational_hardware_has_no_latency():
    datapath = trace(lambda a, b: numerics.maximum(a * b, a - b), {"a": signed(6), "b": signed(6)})
    m = Module()
    a, b, o = Signal(signed(6)), Signal(signed(6)), Signal(signed(12))
    m.d.comb += o.eq(combinational(m, datapath, {"a": a, "b": b}))

    async def bench(ctx):
        for x in range(-32, 32, 3):
            for y in range(-32, 32, 5):
                ctx.set(a, x)
                ctx.set(b, y)
                assert ctx.get(o) == max(x * y, x - y)

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize(
    ("function", "interval"),
    [
        (lambda x, y: x + y, (-128, 142)),
        (lambda x, y: x * x, (0, 16384)),
        (lambda x, y: x - x, (0, 0)),
        (lambda x, y: -x, (-127, 128)),
        (lambda x, y: abs(x), (0, 128)),
        (lambda x, y: numerics.clip(x * y, -10, y), (-10, 15)),
        (lambda x, y: (x << 4) >> 6, (-32, 31)),
        (lambda x, y: numerics.where(x < 0, y, x), (0, 127)),
        (lambda x, y: numerics.where(x <= y, x, 3), (-128, 15)),
        (lambda x, y: (x > 3) & (y > 3), (0, 1)),
        (lambda x, y: 1 << y, (1, 32768)),
    ],
)
def test_ranges_are_as_narrow_as_they_can_be_said(function, interval):
    datapath = trace(function, {"x": signed(8), "y": range(16)})
    assert datapath.nodes[datapath.output].interval == interval


def test_constants_fold_and_common_subexpressions_merge():
    datapath = trace(
        lambda x, n: (x * 8 + (n - n)) + (x << 3) + numerics.where(n < 3, 0, x),
        {"x": signed(8)},
        n=2,
    )
    ops = [node.op for node in datapath.nodes]
    assert sorted(op.value for op in ops) == ["add", "input", "shl"]


@pytest.mark.parametrize("low", [0, -1, -8])
@pytest.mark.parametrize("limit", [1, 2, 4, 7, 8])
def test_a_clipped_shift_is_exact_for_every_value(low, limit):
    """Limits at and beside powers of two, where a bit too few would show."""

    def function(x, s):
        return numerics.clip(((x >> s) + 1) >> 1, low, limit)

    datapath = lower(trace(function, {"x": signed(9), "s": unsigned(3)}))
    for s in range(8):
        for x in range(-256, 256):
            assert datapath.evaluate(x=x, s=s) == function(x, s)


def test_a_clipped_shift_is_narrow():
    """What lies beyond the clip is not shifted: far fewer bits are selected than without it."""

    def selected(function):
        datapath = lower(trace(function, {"x": signed(48), "s": unsigned(6)}))
        return sum(node.width for node in datapath.nodes if node.op is Op.SELECT)

    clipped = selected(lambda x, s: numerics.saturate((x << 16) >> s, 8))
    unclipped = selected(lambda x, s: (x << 16) >> s)
    assert clipped < unclipped / 2


def test_a_faster_clock_gives_more_stages_and_a_slow_one_a_single_register():
    datapath = trace(
        lambda x, s: numerics.saturate(((x >> s) + 1) >> 1, 8), {"x": signed(32), "s": unsigned(5)}
    )
    latencies = [Pipeline(datapath, period_ns=period).latency for period in (1000.0, 10.0, 5.0)]
    assert latencies[0] == 1
    assert latencies == sorted(set(latencies))


@pytest.mark.parametrize(("left", "right"), [(18, 18), (19, 8), (30, 17), (40, 37)])
def test_a_wide_product_is_made_of_multiplier_blocks(left, right):
    datapath = trace(lambda x, y: x * y, {"x": signed(left), "y": signed(right)})
    lowered = lower(datapath)
    blocks = [node for node in lowered.nodes if node.op is Op.MUL]
    assert (len(blocks) == 1) == (max(left, right) <= 18)
    for node in blocks:
        assert all(signed_bits(*lowered.nodes[arg].interval) <= 18 for arg in node.args)
    tops = [(-(1 << bits - 1), -1, 0, 1, 12345 % (1 << bits - 1), (1 << bits - 1) - 1)
            for bits in (left, right)]  # fmt: skip
    for x in tops[0]:
        for y in tops[1]:
            assert lowered.evaluate(x=x, y=y) == x * y


def test_a_multiplication_is_between_registers():
    datapath = trace(lambda x: (x * x) + 1, {"x": signed(8)})
    assert Pipeline(datapath, period_ns=1000.0).latency == 3


def test_held_inputs_cost_no_registers():
    def registers(constant):
        inputs = {"x": Input.of(signed(8)), "k": Input.of(signed(8), constant=constant)}
        return Pipeline(trace(lambda x, k: (x * x) * k, inputs))

    assert list(registers(True).i.p.shape().members) == ["x"]
    assert list(registers(True).held.shape().members) == ["k"]


def test_a_slow_table_cuts_more():
    datapath = trace(lambda x, y: numerics.clip(x + y, -3, 5), {"x": signed(8), "y": signed(8)})
    fast = Pipeline(datapath, delays=DelayTable(lut=0.1, carry=0.1))
    slow = Pipeline(datapath, delays=DelayTable(lut=8.0, carry=8.0))
    assert fast.latency < slow.latency
    with pytest.raises(ValueError, match=r"^period_ns must be more than the registers' 1.0 ns"):
        Pipeline(datapath, period_ns=1.0)


def test_numpy_constants_are_integers():
    datapath = trace(lambda x: np.int64(3) * x + np.int64(1), {"x": signed(8)})
    assert datapath.evaluate(x=-5) == -14


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x if x < 3 else 4, "a Python branch"),
        (lambda x: max(x, 3), "a Python branch"),
        (lambda x: x * 0.5, "0.5 is used as a value"),
        (lambda x: x / 2, "division into a float has no hardware"),
        (lambda x: 100 // (x + 200), "division by a value has no hardware"),
        (lambda x: x // -2, "division by -2 has no hardware"),
        (lambda x: 7 % x, "division by a value has no hardware"),
        (lambda x: np.sqrt(x), "test_hls.py:.*only the arithmetic of docs/hls.md"),
        (lambda x: sum(range(x)), "a loop's bound that only the hardware knows"),
        (lambda x: numerics.lookup([1, 2], x), r"an index can be -128\.\.127"),
        (lambda x: 1.5, "returns 1.5, not an integer"),
        (lambda x: x**2, "the power \\*\\* has no hardware"),
        (lambda x: float(x), "conversion to float has no hardware"),
        (lambda x: [1, 2][x], "an index or a loop's bound"),
        (lambda x: 5 >> x, "a shift distance can be -128"),
        (lambda x: 1 << (x + 1000), "a shift to the left by up to 1127 bits"),
        (lambda x: x & 1, "& and | join conditions"),
        (lambda x: (x * x << 250) + 1, "more than 256"),
    ],
)
def test_what_hardware_cannot_do_is_said(function, message):
    with pytest.raises(TilewrightError, match=f"^Traced function: .*{message}"):
        trace(function, {"x": signed(8)})


def unrolled(x):
    while x > 0:
        x = x - 1
    return x


def test_a_refusal_names_the_line_and_quotes_it():
    line = unrolled.__code__.co_firstlineno + 1
    wanted = f"^Traced function: .*test_hls.py:{line}, `while x > 0:`: a Python branch"
    with pytest.raises(TilewrightError, match=wanted):
        trace(unrolled, {"x": signed(8)})


@pytest.mark.parametrize("divisor", [1, 2, 3, 6, 7, 25, 96])
def test_division_by_a_constant_is_exact(divisor):
    for bounds in ((-128, 127), (0, 255), (-5, -2)):
        quotient = trace(lambda x: x // divisor, {"x": bounds})
        rest = lower(trace(lambda x: x % divisor, {"x": bounds}))
        for x in range(bounds[0], bounds[1] + 1):
            assert quotient.evaluate(x=x) == x // divisor
            assert rest.evaluate(x=x) == x % divisor


@pytest.mark.parametrize("size", [1, 2, 5, 11, 64])
def test_a_table_is_looked_up(size):
    table = [(7 * i * i) % 83 - 40 for i in range(size)]
    datapath = trace(lambda x: numerics.lookup(table, x), {"x": (0, size - 1)})
    for form in (datapath, lower(datapath)):
        assert [form.evaluate(x=x) for x in range(size)] == table
    assert list(numerics.lookup(table, np.arange(size))) == table


def test_evaluation_refuses_values_that_were_not_declared():
    datapath = trace(lambda x: x + 1, {"x": (0, 9)})
    with pytest.raises(ValueError, match=r"^Input 'x' must be in 0\.\.9, not 10$"):
        datapath.evaluate(x=10)
    with pytest.raises(ValueError, match=r"^Inputs must be \['x'\], not \['y'\]$"):
        datapath.evaluate(y=1)
    with pytest.raises(TilewrightError, match="input 'x' has the empty range"):
        trace(lambda x: x, {"x": (3, 2)})
