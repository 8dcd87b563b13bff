"""The timeline: every instruction once, none at the same time as its unit's others."""

import itertools

import pytest

from tilewright.compiler.cycles import Event, MemoryTiming, predict
from tilewright.compiler.listing import instructions
from tilewright.compiler.lower import compile_network
from tilewright.compiler.timeline import make_timeline
from tilewright.sim.random_layers import random_network, random_target

UNITS = ("load", "weights", "calc", "store")


@pytest.mark.parametrize("seed", range(10))
def test_each_unit_does_its_instructions_one_after_the_other_within_the_run(seed):
    target = random_target(seed)
    program = compile_network(random_network(seed, target), target)
    report = predict(program, MemoryTiming(latency=seed), trace=True)
    opcodes = [name.lower() for name, _ in instructions(program)]
    for unit in UNITS:
        found = [event for event in report.events if event.unit == unit]
        assert len(found) == opcodes.count(unit)
        assert [event.region for event in found] == sorted(event.region for event in found)
        assert all(a.end <= b.begin for a, b in itertools.pairwise(found))
        assert all(0 < e.begin < e.end <= report.cycles for e in found)
        assert all(0 <= e.stalled <= e.end - e.begin for e in found)
    assert predict(program, MemoryTiming(latency=seed)).events == ()


def test_a_slow_memory_shows_as_stalls():
    target = random_target(1)
    program = compile_network(random_network(1, target), target)
    stalls = []
    for latency in (0, 400):
        report = predict(program, MemoryTiming(latency=latency), trace=True)
        stalls.append(sum(e.stalled for e in report.events if e.unit in ("load", "calc")))
    assert stalls[1] > stalls[0] + 400


def events(count):
    """Instructions of 8 cycles, 2 of them stalled, 10 cycles apart, on two units and two layers."""
    return [
        Event(unit, region, begin, begin + 8, 2)
        for unit in ("load", "calc")
        for region in (0, 1)
        for begin in range(1000 * region * count, 1000 * region * count + 10 * count, 10)
    ]


def test_few_instructions_stand_each_for_itself():
    made = make_timeline(events(3), ("a", "b"), 4000)
    assert len(made.overview) == 12 and {span.instructions for span in made.overview} == {1}
    assert made.overview[0].worked == 6 and made.overview[0].stalled == 2
    assert [(part.layer, part.instructions) for part in made.layers] == [("a", 6), ("b", 6)]


def test_many_instructions_are_joined_within_unit_and_layer_and_none_is_lost():
    made = make_timeline(events(500), ("a", "b"), 1_000_000, most=10)
    assert [(span.unit, span.layer) for span in made.overview] == [
        (unit, layer) for unit in ("calc", "load") for layer in ("a", "b")
    ]
    first = made.overview[0]
    assert (first.begin, first.end, first.instructions) == (0, 4998, 500)
    assert (first.worked, first.stalled) == (3000, 1000)
    # A layer's own picture begins with it, instruction by instruction, and has an end.
    assert [part.instructions for part in made.layers] == [1000, 1000]
    assert [len(part.spans) for part in made.layers] == [400, 400]
    assert {span.unit for span in made.layers[0].spans} == {"load", "calc"}


def test_layers_that_cannot_be_joined_are_kept_though_they_are_more():
    made = make_timeline(events(2), ("a", "b"), 3000, most=1)
    assert len(made.overview) == 4
