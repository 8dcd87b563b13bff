# amaranth: UnusedElaboratable=no
"""The instruction queue and the register stage of streams, under random pauses."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import Scenario, Sink, Source, run

from tilewright.compiler.microarchitecture import QUEUE_LATENCY
from tilewright.hw.instruction_queue import InstructionQueue
from tilewright.hw.queue import Queue
from tilewright.hw.stream_buffer import StreamBuffer

CHANCES = st.sampled_from((0.2, 0.6, 1.0))
SEEDS = st.integers(0, 1 << 32)


def ports(dut: Any) -> tuple[SimpleNamespace, SimpleNamespace]:
    """A queue's ends as streams."""
    return (
        SimpleNamespace(valid=dut.w_en, ready=dut.w_rdy, p=dut.w_data),
        SimpleNamespace(valid=dut.r_rdy, ready=dut.r_en, p=dut.r_data),
    )


def passed(entrance, exit, dut, *, offer=1.0, take=1.0, seed=0, opened=0):
    """Source and sink after 40 random items went through, the exit closed until `opened` are in."""
    random = Random(seed)
    items = [random.randrange(256) for _ in range(40)]
    source = Source(entrance, items, chance=offer, random=random)
    sink = Sink(exit, chance=take, random=random)
    sink.open = not opened

    def done() -> bool:
        sink.open = sink.open or len(source.cycles) == opened
        return len(sink.got) == len(items)

    run(Scenario(dut=dut, agents=[source, sink], done=done))
    assert sink.got == items
    return source, sink


@pytest.mark.parametrize("kind", [Queue, InstructionQueue])
@settings(max_examples=20, deadline=None)
@given(depth=st.integers(2, 6), offer=CHANCES, take=CHANCES, seed=SEEDS)
def test_a_queue_keeps_order_and_holds_exactly_its_depth(
    kind: Any, depth: int, offer: float, take: float, seed: int
) -> None:
    dut = kind(width=8, depth=depth)
    source, sink = passed(*ports(dut), dut, offer=offer, take=take, seed=seed, opened=depth)
    # With its exit closed it took `depth` items, and the next one only once one had left.
    assert source.cycles[depth] > sink.cycles[0]


@pytest.mark.parametrize(("kind", "latency"), [(Queue, 1), (InstructionQueue, QUEUE_LATENCY)])
def test_an_item_is_soon_at_the_head_of_an_empty_queue_and_one_passes_every_cycle(
    kind: Any, latency: int
) -> None:
    dut = kind(width=8, depth=4)
    source, sink = passed(*ports(dut), dut)
    late = [out - into for into, out in zip(source.cycles, sink.cycles, strict=True)]
    assert late == [latency] * 40
    assert source.cycles == list(range(source.cycles[0], source.cycles[0] + 40))


@pytest.mark.parametrize("kind", [Queue, InstructionQueue])
def test_a_queue_of_one_is_refused(kind: Any) -> None:
    with pytest.raises(ValueError, match=r"Queue depth must be at least 2, not 1$"):
        kind(width=8, depth=1)


@settings(max_examples=20, deadline=None)
@given(offer=CHANCES, take=CHANCES, seed=SEEDS, short=st.booleans())
def test_a_stream_buffer_keeps_order_and_holds_two_items(
    offer: float, take: float, seed: int, short: bool
) -> None:
    dut = StreamBuffer(8, short=short)
    source, sink = passed(dut.i, dut.o, dut, offer=offer, take=take, seed=seed, opened=2)
    assert source.cycles[2] > sink.cycles[0]


@pytest.mark.parametrize("short", [False, True])
def test_a_stream_buffer_passes_an_item_every_cycle_one_cycle_late(short: bool) -> None:
    dut = StreamBuffer(8, short=short)
    source, sink = passed(dut.i, dut.o, dut)
    assert [out - into for into, out in zip(source.cycles, sink.cycles, strict=True)] == [1] * 40
    assert source.cycles == list(range(source.cycles[0], source.cycles[0] + 40))
