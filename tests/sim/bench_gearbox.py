"""cocotb tests of the gearbox: the example of a unit bench (run by test_unit.py)."""

from __future__ import annotations

import random
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles

from tilewright.sim.streams import StreamPort, always, monitor, now_and_then, receive, send
from tilewright.sim.unit import bench_parameters


@cocotb.test(timeout_time=1, timeout_unit="ms")
@cocotb.parametrize(probability=[None, 0.1, 0.5, 0.9])
async def words_are_cut_from_beats(dut: Any, probability: float | None) -> None:
    made = bench_parameters()
    chance = random.Random(made["seed"])
    beats = [chance.getrandbits(made["in_width"]) for _ in range(made["out_width"])]
    stream = sum(beat << (at * made["in_width"]) for at, beat in enumerate(beats))
    mask = (1 << made["out_width"]) - 1
    words = [(stream >> (at * made["out_width"])) & mask for at in range(made["in_width"])]

    Clock(dut.clk, 10, unit="ns").start()
    dut.mode.value = 0
    dut.stop.value = 0
    dut.i__valid.value = 0
    dut.o__ready.value = 0
    dut.rst.value = 1
    await ClockCycles(dut.clk, 3)
    dut.rst.value = 0
    seen: list[Any] = []
    source = StreamPort(dut, "i", {"data": made["in_width"], "last": 1})
    sink = StreamPort(dut, "o", {"data": made["out_width"], "last": 1})
    offer = always if probability is None else now_and_then(probability, 1)
    take = always if probability is None else now_and_then(1 - probability, 2)
    watcher = cocotb.start_soon(monitor(sink, seen))
    payloads = [{"data": beat, "last": 0} for beat in beats]
    sender = cocotb.start_soon(send(source, payloads, offer))
    taken: list[Any] = await receive(sink, len(words), take)
    await sender
    watcher.cancel()
    assert [word["data"] for word in taken] == words
    assert seen == taken


@cocotb.test(timeout_time=1, timeout_unit="us")
async def a_bench_that_waits_for_ever(dut: Any) -> None:
    Clock(dut.clk, 10, unit="ns").start()
    dut.i__valid.value = 0
    dut.o__ready.value = 0
    await receive(StreamPort(dut, "o"), 1)
