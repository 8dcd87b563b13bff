# amaranth: UnusedElaboratable=no
"""LOAD, WEIGHTS, FETCH and parameter records: what enters, whatever the bus's width and mood."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from buses import Port
from coded_scenarios import coded
from feed_scenarios import (
    instruction,
    load,
    load_job,
    load_words,
    packed_load,
    weights,
    weights_job,
    written_word,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import Drive, Scenario, Sink, Source, Watch, run
from word_scenarios import encoded, fetch, legal_fields, parameters, refusal

from tilewright.compiler.isa import Opcode, encode
from tilewright.compiler.microarchitecture import HEAD_CYCLES, UNIT_QUEUE
from tilewright.compiler.target import Target
from tilewright.hw.fetch import FetchUnit
from tilewright.hw.load import LoadUnit
from tilewright.hw.weights import WeightsUnit

SEEDS = st.integers(0, 1 << 32)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_rectangles_arrive_with_their_padding_and_in_the_order_of_tokens(seed: int) -> None:
    run(load(seed))


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_packed_pixels_are_rotated_to_their_bank_groups(seed: int) -> None:
    run(packed_load(seed))


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_weight_streams_unpack_to_their_rows(seed: int) -> None:
    run(weights(seed))


@settings(max_examples=4, deadline=None)
@given(seed=SEEDS)
def test_compressed_streams_decode_to_their_rows_between_plain_ones(seed: int) -> None:
    run(coded(seed))


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_instructions_reach_their_units_in_order(seed: int) -> None:
    run(fetch(seed))


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_the_first_instruction_that_breaks_a_rule_is_named(seed: int) -> None:
    run(refusal(seed))


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_each_store_gets_its_own_parameter_records(seed: int) -> None:
    run(parameters(seed))


@pytest.mark.parametrize("sides", range(16))
def test_zeros_are_written_on_every_side_asked_for(sides: int) -> None:
    """All sixteen combinations of padded sides, then a rectangle that is nothing but zeros."""
    target = Target(rows=3, bus_bytes=4, burst_beats=4)
    dut = LoadUnit(target)
    random = Random(sides)
    names = ("pad_top", "pad_bottom", "pad_left", "pad_right")
    pads = {name: (sides >> bit & 1) * (bit + 1) for bit, name in enumerate(names)}
    job, size = load_job(random, target, 0, rows=2, cols=3, bank_address=5, narrow=0, **pads)
    zeros, _ = load_job(random, target, size, rows=0, cols=2, pad_top=2, pad_bottom=1)
    memory = random.randbytes(256)
    expected = load_words(job, memory, target, 12) + load_words(zeros, memory, target, 12)
    written: list[Any] = []
    cycles: list[int] = []

    def watch(ctx: Any, cycle: int) -> None:
        if ctx.get(dut.write_enable):
            written.append(written_word(ctx, dut, target))
            cycles.append(cycle)

    port = Port(dut.transfer, dut.beats, memory, 4, random=random)
    source = Source(dut.i, [job, zeros], random=random)
    run(
        Scenario(
            dut=dut,
            agents=[source, port, Watch(watch)],
            done=lambda: len(written) >= len(expected),
        )
    )
    assert written == expected
    zero_cycles = cycles[-len(load_words(zeros, memory, target, 12)) :]
    assert zero_cycles == list(range(zero_cycles[0], zero_cycles[-1] + 1)), "a zero a cycle"


@pytest.mark.parametrize("pack", [0, 2])
def test_a_pixel_is_written_in_every_cycle_when_the_bus_is_as_wide_as_a_pixel(pack: int) -> None:
    target = Target(rows=4, cols=4, bus_bytes=4, burst_beats=4)
    dut = LoadUnit(target)
    random = Random(0)
    shape = {"rows": 5, "cols": 6, "pad_top": 1, "pad_left": 0, "pad_right": 2}
    jobs = [
        load_job(random, target, 0, **shape, bank_address=0, pack=pack, phase=0, narrow=0)[0]
    ] * 2
    cycles: list[int] = []

    def watch(ctx: Any, cycle: int) -> None:
        if ctx.get(dut.write_enable):
            cycles.append(cycle)

    port = Port(dut.transfer, dut.beats, random.randbytes(1024), 4, random=random)
    source = Source(dut.i, list(jobs), random=random)
    job = jobs[0]
    width = job["pad_left"] + 8
    words = width * (6 + job["pad_bottom"])
    run(
        Scenario(
            dut=dut, agents=[source, port, Watch(watch)], done=lambda: len(cycles) == 2 * words
        )
    )
    assert cycles[words - 1] - cycles[0] <= words + 2, "the first beats may come late, no other"
    assert cycles[words] - cycles[words - 1] <= HEAD_CYCLES + 2, "a few cycles between rectangles"


@pytest.mark.parametrize("gather", [0, 1])
@pytest.mark.parametrize("container", [0, 1, 2])
def test_a_weight_row_leaves_in_every_cycle_when_the_bus_delivers(
    gather: int, container: int
) -> None:
    """Also from the last row of one instruction to the first row of the next."""
    target = Target(rows=4, cols=4, bus_bytes=8, burst_beats=1)
    dut = WeightsUnit(target)
    random = Random(0)
    memory, jobs, count = b"", [], 0
    for _ in range(3):
        job, data, rows = weights_job(
            random, target, len(memory), container=container, gather=gather, tiles=4
        )
        memory += data
        jobs.append(job)
        count += len(rows)
    port = Port(dut.transfer, dut.beats, memory, 8, random=random)
    sink = Sink(dut.o, random=random)
    source = Source(dut.i, jobs, random=random)
    # The rows wait until every beat that can has come, so that only the unit limits the pace.
    hold = Drive(lambda ctx, cycle: setattr(sink, "open", cycle >= 60))
    run(Scenario(dut=dut, agents=[hold, source, port, sink], done=lambda: len(sink.got) == count))
    steps = [b - a for a, b in zip(sink.cycles, sink.cycles[1:], strict=False)]
    between = HEAD_CYCLES * (len(jobs) - 1)
    assert sum(step - 1 for step in steps) <= between, "only an instruction's head takes time"


@pytest.mark.parametrize("opcode", [0, 7, 15])
def test_an_unknown_opcode_stops_dispatching_for_good(opcode: int) -> None:
    target = Target(bus_bytes=8)
    dut = FetchUnit(target)
    good = encode(Opcode.STAMP, address=8)
    memory = good * 2 + opcode.to_bytes(64, "little") + good * 3
    random = Random(opcode)
    port = Port(dut.transfer, dut.beats, memory, 8, random=random)
    sinks = [Sink(getattr(dut, n), random=random) for n in ("load", "weights", "calc", "store")]
    illegal: list[int] = []

    def start(ctx: Any, cycle: int) -> None:
        ctx.set(dut.start, int(cycle == 0))
        ctx.set(dut.count, 6)

    def watch(ctx: Any, cycle: int) -> None:
        if ctx.get(dut.illegal):
            illegal.append(cycle)

    run(
        Scenario(
            dut=dut,
            agents=[Drive(start), port, *sinks, Watch(watch)],
            done=lambda: bool(illegal),
            linger=40,
        )
    )
    assert illegal == list(range(illegal[0], illegal[0] + 40)), "stays set"
    assert [len(sink.got) for sink in sinks] == [0, 0, 0, 2]


def test_an_instruction_whose_unit_has_no_room_holds_up_those_behind_it() -> None:
    target = Target(bus_bytes=64, burst_beats=4)
    dut = FetchUnit(target)
    random = Random(0)
    stuck, work = (legal_fields(random, opcode, target) for opcode in (Opcode.LOAD, Opcode.CALC))
    memory = encoded(work) + encoded(stuck) + encoded(work)
    port = Port(dut.transfer, dut.beats, memory, 64, random=random)
    calc, load = Sink(dut.calc, random=random), Sink(dut.load, random=random)
    load.open = False
    blocked: list[int] = []

    def start(ctx: Any, cycle: int) -> None:
        ctx.set(dut.start, int(cycle == 0))
        ctx.set(dut.count, 3)
        load.open = cycle >= 60

    def watch(ctx: Any, cycle: int) -> None:
        if ctx.get(dut.blocked):
            blocked.append(cycle)

    agents = [Drive(start), port, calc, load, Watch(watch)]
    run(Scenario(dut=dut, agents=agents, done=lambda: len(calc.got) == 2))
    assert (calc.got, load.got) == ([work, work], [stuck])
    assert calc.cycles[1] > load.cycles[0] == 60
    assert blocked[-1] == 59


@pytest.mark.parametrize("unit", ["load", "weights"])
def test_a_unit_takes_as_many_instructions_as_its_queue_holds_before_it_gets_anywhere(
    unit: str,
) -> None:
    target = Target(bus_bytes=8)
    dut: Any = {"load": LoadUnit, "weights": WeightsUnit}[unit](target)
    job = instruction(Opcode[unit.upper()], rows=1, row_beats=1, cols=1, wait_store=1)
    if unit == "weights":
        job = instruction(Opcode.WEIGHTS, beats=1, tiles=1)
    source = Source(dut.i, [job] * 12, random=Random(0))
    run(
        Scenario(dut=dut, agents=[source], done=lambda: len(source.cycles) >= UNIT_QUEUE, linger=40)
    )
    assert len(source.cycles) == UNIT_QUEUE
