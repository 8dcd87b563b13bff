# amaranth: UnusedElaboratable=no
"""Block RAM and SPRAM behind AXI4, under traffic that knows what it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from memory_bench import MemoryBench, play, stalls
from targets import need

from tilewright.boards.memory.block_memory import BlockMemory
from tilewright.boards.memory.spram import SPRAM_BYTES, Spram
from tilewright.errors import TilewrightError
from tilewright.hw.axi import axi4
from tilewright.sim.cells import yosys_cells
from tilewright.sim.runner import SimulationError

RANDOM = {"reads": 100, "writes": 100, "beats": 24, "outside": 20}
SPREAD = {"spread": 5, "page_mask": 31}
STREAM = {"beats": 64, "fixed": 1, "sequential": 1, "full": 1}


def traffic(size: int, span: int, data_bytes: int) -> list[dict[str, int]]:
    """All that a memory must bear: free flow, every channel stalled at random, long bursts."""
    common = {"span": span, "outside_address": size, **(SPREAD if size > span else {})}
    return [
        {**common, **STREAM, "writes": -(-span // (64 * data_bytes)), "full": 1},
        {**common, **RANDOM, "stalls": 0},
        {**common, **RANDOM, "stalls": stalls(ar=40, r=128, aw=40, w=128, b=200)},
        {**common, **RANDOM, "stalls": stalls(ar=200, r=10, aw=200, w=10, b=0)},
        {**common, **RANDOM, "beats": 256, "reads": 20, "writes": 20},
        {**common, **STREAM, "writes": 16},
        {**common, **STREAM, "reads": 16},
        {**common, **STREAM, "reads": 16, "writes": 16},
    ]


def spram_models() -> dict[str, str]:
    return {"cells.v": yosys_cells("ice40")}


@pytest.mark.parametrize(
    ("memory", "size", "data_bytes"),
    [(BlockMemory, 12288, 8), (Spram, SPRAM_BYTES, 2), (Spram, SPRAM_BYTES, 8)],
)
def test_a_memory_gives_back_what_was_written_a_beat_a_cycle(
    memory: Any, size: int, data_bytes: int, tmp_path: Path
) -> None:
    need("icarus")
    single_port = memory is Spram
    dut = memory(data_bytes) if single_port else memory(size, data_bytes)
    span = min(size, 16384)
    bench = MemoryBench(dut, [dut.bus], data_bytes, span=span)
    models = spram_models() if single_port else {}
    results = play(bench, traffic(size, span, data_bytes), tmp_path, models=models)
    assert all(result["compared"] > 1000 for result in results[1:5])
    writing, reading, both = results[5:]
    beats = 16 * 64
    assert writing["write_beats"] == reading["read_beats"] == both["read_beats"] == beats
    assert writing["cycles"] <= beats + 8
    assert reading["cycles"] <= beats + 8
    if not single_port:
        # Streams that touch the same bytes wait for each other's bursts.
        assert both["cycles"] < 2 * beats


class Careless(wiring.Component):
    """A memory that writes whole beats, whatever the strobes say."""

    def __init__(self) -> None:
        super().__init__({"bus": In(axi4(4))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = BlockMemory(8192, 4)
        for name, member in axi4(4).members.items():
            mine, inner = getattr(self.bus, name), getattr(memory.bus, name)
            m.d.comb += inner.eq(mine) if member.flow == Out else mine.eq(inner)
        m.d.comb += memory.bus.wstrb.eq(15)
        return m


def test_the_traffic_notices_a_memory_that_ignores_strobes(tmp_path: Path) -> None:
    need("icarus")
    dut = Careless()
    bench = MemoryBench(dut, [dut.bus], 4, span=8192)
    with pytest.raises(SimulationError, match="run 1, master 0: a byte read is not what was writ"):
        play(bench, [{"span": 8192, **RANDOM, "outside": 0}], tmp_path)


def test_block_memory_holds_its_contents_from_power_up(tmp_path: Path) -> None:
    contents = bytes(range(1, 22))
    dut = BlockMemory(4096, 4, init=contents)
    words: list[int] = []

    async def bench(ctx: Any) -> None:
        ctx.set(dut.bus.arvalid, 1)
        ctx.set(dut.bus.arlen, 5)
        ctx.set(dut.bus.rready, 1)
        await ctx.tick()
        ctx.set(dut.bus.arvalid, 0)
        while len(words) < 6:
            if ctx.get(dut.bus.rvalid):
                words.append(ctx.get(dut.bus.rdata))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert b"".join(word.to_bytes(4, "little") for word in words) == contents.ljust(24, b"\0")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BlockMemory(5000, 4), r"size must be a multiple of 4096 bytes, not 5000$"),
        (lambda: BlockMemory(4096, 3), r"data_bytes must be 1, 2, 4, 8 or 16, not 3$"),
        (lambda: BlockMemory(4096, 4, init=bytes(4097)), r"init has 4097 bytes, but .* only 4096$"),
        (lambda: Spram(16), r"data_bytes must be 2, 4 or 8, not 16$"),
    ],
)
def test_memories_that_cannot_be_built_are_refused(make: Any, message: str) -> None:
    with pytest.raises(TilewrightError, match=message):
        make()
