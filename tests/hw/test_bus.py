# amaranth: UnusedElaboratable=no
"""Bursts, readers, arbiter and writer under random pauses and latencies."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from bus_scenarios import ReadBus, ReadSide, WriteBus, pattern, reader, splitter, writer
from hypothesis import example, given, settings
from hypothesis import strategies as st
from streams import Drive, Scenario, Sink, Source, Watch, run

from tilewright.compiler.microarchitecture import READS_UNDER_WAY, WRITES_PENDING
from tilewright.compiler.target import Target
from tilewright.hw.burst import BurstSplitter
from tilewright.hw.read_arbiter import ReadArbiter
from tilewright.hw.reader import BurstReader
from tilewright.hw.writer import BurstWriter

SEEDS = st.integers(0, 1 << 32)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_transfers_become_the_fewest_bursts_within_pages_and_the_burst_limit(seed: int) -> None:
    run(splitter(seed))


@settings(max_examples=15, deadline=None)
@example(seed=439034)  # a FIFO of two beats once lost one that came right behind another
@given(seed=SEEDS)
def test_readers_get_their_data_in_order_and_never_ask_for_more_than_fits(seed: int) -> None:
    run(reader(seed))


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_writes_keep_their_order_and_completions_follow_the_last_response(seed: int) -> None:
    run(writer(seed))


def test_a_burst_leaves_every_third_cycle() -> None:
    dut = BurstSplitter(Target(bus_bytes=8), longest=16)
    random = Random(0)
    source = Source(dut.i, [{"address": 0, "beats": 160, "tag": 0}], random=random)
    sink = Sink(dut.o, random=random)
    run(Scenario(dut=dut, agents=[source, sink], done=lambda: len(sink.got) == 10))
    steps = [b - a for a, b in zip(sink.cycles, sink.cycles[1:], strict=False)]
    assert max(steps) <= 3


def test_the_arbiter_serves_all_readers_in_turn() -> None:
    dut = ReadArbiter(3)
    random = Random(1)
    sources = [
        Source(port, [{"address": index, "length": 0, "tag": 0}] * 20, random=random)
        for index, port in enumerate(dut.requests)
    ]
    sink = Sink(dut.ar, chance=0.7, random=random)
    beats: list[int] = []

    def answer(ctx: Any, cycle: int) -> None:
        ctx.set(dut.r_valid, int(len(beats) < len(sink.got)))
        ctx.set(dut.r_last, 1)

    def route(ctx: Any, cycle: int) -> None:
        if len(beats) < len(sink.got):
            beats.append(ctx.get(dut.beat_valid))

    # Each answer is sampled before the next burst is taken: a beat comes a cycle after its burst.
    run(
        Scenario(
            dut=dut,
            agents=[Drive(answer), Watch(route), *sources, sink],
            done=lambda: len(beats) == 60,
        )
    )
    order = [item["address"] for item in sink.got]
    assert all(set(order[at : at + 3]) == {0, 1, 2} for at in range(0, 57, 3))
    assert beats == [1 << reader for reader in order]


def test_no_more_bursts_are_under_way_than_the_order_queue_holds() -> None:
    dut = ReadArbiter(2)
    random = Random(2)
    source = Source(dut.requests[1], [{"address": 0, "length": 0, "tag": 0}] * 40, random=random)
    sink = Sink(dut.ar, random=random)
    run(Scenario(dut=dut, agents=[source, sink], done=lambda: len(sink.got) >= READS_UNDER_WAY))
    assert len(sink.got) == READS_UNDER_WAY


@pytest.mark.parametrize("edges", [0, 2])
@pytest.mark.parametrize("halted_at", range(4, 40, 5))
def test_a_halted_read_side_becomes_idle_and_asks_for_nothing_more(
    halted_at: int, edges: int
) -> None:
    target = Target(bus_bytes=4, burst_beats=4, edge_registers=edges)
    dut = ReadSide(target, count=2, depth=16)
    random = Random(halted_at)
    memory = ReadBus(dut, 4, random, chance=0.6, latency=12)
    sources = [
        Source(dut.i[n], [{"address": n << 24, "beats": 400, "tag": 0}], random=random)
        for n in range(2)
    ]
    sinks = [Sink(dut.o[n], random=random) for n in range(2)]
    idle: list[int] = []
    asked_after: list[int] = []

    def watch(ctx: Any, cycle: int) -> None:
        if cycle > halted_at:
            asked_after[:] = [at for at in memory.bursts.cycles if at > halted_at + 1]
            if ctx.get(dut.idle):
                idle.append(cycle)
                assert not memory.waiting

    run(
        Scenario(
            dut=dut,
            agents=[
                memory,
                *sources,
                *sinks,
                Drive(lambda ctx, cycle: ctx.set(dut.halt, int(cycle >= halted_at))),
                Watch(watch),
            ],
            done=lambda: bool(idle),
            linger=60,
            limit=600,
        )
    )
    assert idle == list(range(idle[0], idle[0] + 60)), "idle stays"
    # Only an address that was valid before may still be taken.
    assert len(asked_after) <= 1
    assert all(
        sink.got == [pattern((n << 24) + 4 * at, 4) for at in range(len(sink.got))]
        for n, sink in enumerate(sinks)
    )


@pytest.mark.parametrize("edges", [0, 2])
@pytest.mark.parametrize("halted_at", range(4, 40, 5))
def test_a_halted_writer_finishes_its_bursts_and_becomes_quiet(halted_at: int, edges: int) -> None:
    target = Target(bus_bytes=4, burst_beats=4, edge_registers=edges)
    dut = BurstWriter(target)
    random = Random(halted_at)
    bus = WriteBus(dut, random, address_chance=0.5, data_chance=0.6, latency=9)
    source = Source(dut.i, [{"address": 0, "beats": 400, "tag": 1}], random=random)
    data = Source(dut.beats, [{"data": n, "strobe": 15} for n in range(400)], random=random)
    quiet: list[int] = []

    def watch(ctx: Any, cycle: int) -> None:
        if cycle > halted_at and ctx.get(dut.quiet):
            quiet.append(cycle)
            assert not ctx.get(dut.idle), "a transfer is left"
            assert len(bus.answered) == len(bus.addresses.got) == len(bus.beats) - 1
            assert not bus.beats[-1], "no burst is cut off"

    run(
        Scenario(
            dut=dut,
            agents=[
                source,
                data,
                bus,
                Drive(lambda ctx, cycle: ctx.set(dut.halt, int(cycle >= halted_at))),
                Watch(watch),
            ],
            done=lambda: bool(quiet),
            linger=60,
            limit=600,
        )
    )
    assert quiet == list(range(quiet[0], quiet[0] + 60)), "quiet stays"
    assert not bus.completed


def test_the_writer_bounds_the_responses_it_waits_for() -> None:
    dut = BurstWriter(Target(bus_bytes=4, burst_beats=1))
    random = Random(3)
    source = Source(dut.i, [{"address": 0, "beats": 60, "tag": 0}], random=random)
    data = Source(dut.beats, [{"data": 0, "strobe": 1}] * 60, random=random)
    addresses, words = Sink(dut.aw, random=random), Sink(dut.w, random=random)
    run(
        Scenario(
            dut=dut,
            agents=[source, data, addresses, words],
            done=lambda: len(addresses.got) >= WRITES_PENDING,
            linger=40,
        )
    )
    assert len(addresses.got) == len(words.got) == WRITES_PENDING


def test_a_fifo_that_cannot_hold_a_burst_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^FIFO depth must be at least a burst, not 15$"):
        BurstReader(Target(), longest=16, depth=15)
