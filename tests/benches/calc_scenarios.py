"""Scenarios of the CALC unit, held against the instruction's meaning in plain loops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from bus_scenarios import CHANCES
from feed_scenarios import instruction
from streams import Agent, Drive, Scenario, Source, Watch

from tilewright.compiler.isa import Opcode
from tilewright.compiler.microarchitecture import SUM_LATENCY
from tilewright.compiler.target import Target
from tilewright.hw.array import array_latency
from tilewright.hw.calc import CalcUnit
from tilewright.hw.tile_loader import TileLoader
from tilewright.hw.tile_walker import TileWalker

__all__ = ["CalcBench", "bases", "calc", "calc_job", "loader", "walker"]

CONTROL = ("address", "half", "first", "shift")
"""Fields of the accumulators' control, besides `valid`."""


def calc_job(random: Random, **wanted: int) -> dict[str, int]:
    """A random CALC whose addresses may wrap and whose steps may be negative."""
    job = instruction(
        Opcode.CALC,
        signal_load=random.randrange(2),
        signal_store=random.randrange(2),
        half=random.randrange(2),
        first=random.randrange(2),
        gather=random.randrange(2),
        shift=random.randrange(2),
        base=random.randrange(1 << 16),
        rows=random.randint(1, 3),
        cols=random.randint(1, 4),
        row_step=random.randrange(1 << 16),
        col_step=random.randrange(1 << 16),
        acc_base=random.randrange(4),
        acc_step=random.choice((1, 1, 4, 8, 15)),
        **{f"tiles{n}": random.choice((1, 1, 2, 3)) for n in range(3)},
        **{f"step{n}": random.randrange(-1 << 15, 1 << 15) for n in range(3)},
    )
    return {**job, **wanted}


def bases(job: dict[str, int]) -> Iterator[int]:
    """Bank address of each tile's first pixel."""
    for outer in range(job["tiles2"]):
        for middle in range(job["tiles1"]):
            for inner in range(job["tiles0"]):
                steps = outer * job["step2"] + middle * job["step1"] + inner * job["step0"]
                yield (job["base"] + steps) % (1 << 16)


def pixels_of(job: dict[str, int]) -> Iterator[tuple[int, int, dict[str, int]]]:
    """(bank address, first of its tile, accumulator control) of each pixel of an instruction."""
    for number, base in enumerate(bases(job)):
        for y in range(job["rows"]):
            for x in range(job["cols"]):
                address = base + y * job["row_step"] + x * job["col_step"]
                control = {
                    "valid": 1,
                    "address": job["acc_base"] + (y * job["cols"] + x) * job["acc_step"],
                    "half": job["half"],
                    "first": int(job["first"] and number == 0),
                    "shift": job["shift"],
                }
                yield address % (1 << 16), int(x == y == 0), control


def walker(seed: int) -> Scenario:
    """The walker visits the tiles of three nested loops, and says which come first and last."""
    random = Random(seed)
    dut = TileWalker(Target(act_depth=1 << 16))
    jobs = [calc_job(random) for _ in range(4)]
    expected = [
        (base, int(n == 0), int(n == len(tiles) - 1))
        for tiles in (list(bases(job)) for job in jobs)
        for n, base in enumerate(tiles)
    ]
    ahead = list(jobs)
    state: dict[str, Any] = {"job": None, "left": 0, "rest": 0}
    seen: list[Any] = []
    looks = [False, False]

    def drive(ctx: Any, cycle: int) -> None:
        act = state["rest"] == 0 and random.random() < 0.7 and (ahead or state["left"])
        load = bool(act and not state["left"] and ahead)
        ctx.set(dut.load, int(load))
        ctx.set(dut.step, int(bool(act and not load)))
        if state["job"] is not None:
            ctx.set(dut.job, state["job"])
        if ahead:
            ctx.set(dut.next_job, ahead[0])
        state["rest"] = max(state["rest"] - 1, 0)
        state["act"], state["load"] = bool(act), load

    def watch(ctx: Any, cycle: int) -> None:
        looks.append(state.pop("look", False))
        if looks.pop(0):  # in the third cycle
            seen.append((ctx.get(dut.base), ctx.get(dut.first), ctx.get(dut.last)))
        if not state["act"]:
            return
        if state["load"]:
            state["job"] = ahead.pop(0)
            state["left"] = len(list(bases(state["job"]))) - 1
        else:
            state["left"] -= 1
        state["rest"], state["look"] = 3, True

    def check() -> None:
        assert seen == expected

    return Scenario(
        dut=dut,
        agents=[Drive(drive), Watch(watch)],
        done=lambda: len(seen) >= len(expected),
        check=check,
    )


def loader(seed: int) -> Scenario:
    """Exactly R rows enter for each tile, the next ones from the tile's start on."""
    random = Random(seed)
    target = Target(rows=random.randint(1, 5), cols=2)
    dut = TileLoader(target)
    tiles = 6
    rows = [{"offset": 0, "weights": [0, 0]}] * (target.rows * tiles)
    source = Source(dut.i, rows, chance=random.choice(CHANCES), random=random)
    eager = random.random() < 0.5
    state = {"complete": False, "entered": 0, "started": 0, "start": False}

    def drive(ctx: Any, cycle: int) -> None:
        state["start"] = state["entered"] == target.rows * (state["started"] + 1)
        state["start"] &= eager or random.random() < 0.3
        ctx.set(dut.start, int(state["start"]))

    def watch(ctx: Any, cycle: int) -> None:
        due = target.rows * (state["started"] + 1)
        assert ctx.get(dut.complete) == (state["entered"] == due)
        state["started"] += state["start"]
        state["entered"] += ctx.get(dut.word_valid)
        assert state["entered"] <= target.rows * (state["started"] + 1), "a row too many"

    def check() -> None:
        if eager and source.chance == 1.0:
            assert source.cycles == list(range(len(rows))), "a row a cycle, across tiles"

    return Scenario(
        dut=dut,
        agents=[Drive(drive), source, Watch(watch)],
        done=lambda: state["started"] == tiles,
        check=check,
    )


@dataclass
class CalcBench(Agent):
    """Feeds a CALC unit and records what it does.

    `issued` lists the cycles in which pixels were issued, `sent` (cycle, address, swap, gather) of
    what the banks got, `control` (cycle, accumulator control), `given` the cycles of tokens, and
    `waits` how many cycles each wait flag was set.
    """

    dut: Any
    jobs: list[dict[str, int]]
    random: Random
    token_chance: float = 1.0
    issued: list[int] = field(default_factory=list)
    sent: list[tuple[int, int, int, int]] = field(default_factory=list)
    control: list[tuple[int, Any]] = field(default_factory=list)
    given: dict[str, list[int]] = field(default_factory=lambda: {"load": [], "store": []})
    waits: dict[str, int] = field(default_factory=dict)
    swaps: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tokens = {unit: 0 for unit in self.given}
        self.tokens_seen = {unit: 0 for unit in self.given}

    def drive(self, ctx: Any, cycle: int) -> None:
        for unit in self.tokens:
            self.tokens_seen[unit] = self.tokens[unit]
            total = sum(job[f"wait_{unit}"] for job in self.jobs)
            go = self.tokens[unit] < total and self.random.random() < self.token_chance
            ctx.set(getattr(self.dut, f"give_from_{unit}"), int(go))
            self.tokens[unit] += go

    def sample(self, ctx: Any, cycle: int) -> None:
        dut = self.dut
        pixel, control = ctx.get(dut.pixel), ctx.get(dut.control)
        if self.issued and self.issued[-1] == cycle - 1:
            self.sent.append((cycle, pixel["address"], pixel["swap"], pixel["gather"]))
        else:
            assert not pixel["swap"], "a swap without a pixel"
        if pixel["swap"]:
            self.swaps.append(cycle)
        if ctx.get(dut.issuing):
            self.issued.append(cycle)
        if control["valid"]:
            self.control.append((cycle, {name: control[name] for name in CONTROL}))
        for unit, cycles in self.given.items():
            if ctx.get(getattr(dut, f"give_{unit}")):
                cycles.append(cycle)
        for name in ("wait_load", "wait_store", "wait_weights"):
            self.waits[name] = self.waits.get(name, 0) + ctx.get(getattr(dut, name))


def calc_bench(
    target: Target, jobs: list[dict[str, int]], random: Random, **chances: float
) -> tuple[CalcBench, Scenario]:
    """The unit with everything around it, until all its pixels have passed the array."""
    dut = CalcUnit(target)
    bench = CalcBench(
        dut,
        jobs,
        random,
        token_chance=chances.get("tokens", 1.0),
    )
    source = Source(dut.i, list(jobs), chance=chances.get("arrive", 1.0), random=random)
    tiles = sum(len(list(bases(job))) for job in jobs)
    row = {"offset": 0, "weights": [0] * target.cols}
    weights = Source(
        dut.weights,
        [row] * (tiles * target.rows),
        chance=chances.get("weights", 1.0),
        random=random,
    )
    total = sum(len(list(pixels_of(job))) for job in jobs)
    array = array_latency(target) + target.cols
    tail = 1 + target.bank_latency + array + 2 * target.accumulate_latency + 4
    return bench, Scenario(
        dut=dut,
        agents=[bench, source, weights],
        done=lambda: len(bench.issued) >= total,
        linger=tail + target.accumulate_latency,
        limit=200 * total + 3000,
    )


def calc(seed: int) -> Scenario:
    """Addresses, swaps, controls, tokens and least periods of any instructions."""
    random = Random(seed)
    target = Target(
        rows=random.randint(1, 5),
        cols=random.randint(1, 3),
        act_depth=1 << 16,
        acc_depth=256,
        multiplier_stages=random.randint(1, 4),
        edge_registers=random.choice((0, 0, 1, 2)),
    )
    jobs = [
        calc_job(random, wait_load=random.choice((0, 0, 1, 3)), wait_store=random.choice((0, 0, 1)))
        for _ in range(5)
    ]
    bench, scenario = calc_bench(
        target,
        jobs,
        random,
        arrive=random.choice(CHANCES),
        weights=random.choice(CHANCES),
        tokens=random.choice((0.02, 0.3, 1.0)),
    )

    def check() -> None:
        check_calc(target, jobs, bench)

    scenario.check = check
    return scenario


def check_calc(target: Target, jobs: list[dict[str, int]], bench: CalcBench) -> None:
    """What every run of the CALC unit must have done."""
    plan = [(job, pixel) for job in jobs for pixel in pixels_of(job)]
    assert len(bench.issued) == len(plan)
    assert bench.sent == [
        (cycle + 1, address, swap, job["gather"])
        for cycle, (job, (address, swap, _)) in zip(bench.issued, plan, strict=True)
    ]
    late = 1 + target.bank_latency + array_latency(target) - target.control_lead
    assert bench.control == [
        (cycle + late, {name: control[name] for name in CONTROL})
        for cycle, (_, (_, _, control)) in zip(bench.issued, plan, strict=True)
    ]
    # Tiles are at least as far apart as loading R rows or accumulating again needs.
    steps = [b - a for a, b in zip(bench.swaps, bench.swaps[1:], strict=False)]
    assert all(step >= target.min_tile_period for step in steps)
    # Tokens: after the last accumulator's write, soon, one for each instruction that asks.
    position = 0
    last = {"load": [], "store": []}  # type: dict[str, list[int]]
    for job in jobs:
        position += len(list(pixels_of(job)))
        for unit, cycles in last.items():
            if job[f"signal_{unit}"]:
                cycles.append(bench.control[position - 1][0])
    written = target.cols - 1 + target.control_lead + SUM_LATENCY
    for unit, cycles in last.items():
        assert len(bench.given[unit]) == len(cycles)
        for given, end in zip(bench.given[unit], cycles, strict=True):
            assert end + written <= given <= end + written + target.accumulate_latency
