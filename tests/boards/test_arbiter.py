# amaranth: UnusedElaboratable=no
"""Two masters in front of one memory: nobody's data goes astray, nobody starves, nobody is slowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, connect, flipped
from memory_bench import MemoryBench, play, stalls
from targets import need

from tilewright.boards.memory.arbiter import BusArbiter
from tilewright.boards.memory.beat_arbiter import BeatBusArbiter
from tilewright.boards.memory.block_memory import BlockMemory
from tilewright.boards.memory.spram import SPRAM_BYTES, Spram
from tilewright.hw.axi import axi4
from tilewright.sim.cells import yosys_cells

BUS, SIZE = 4, 32768
HALF = SIZE // 2

RANDOM = {"reads": 150, "writes": 150, "beats": 24, "outside": 20}
STREAM = {"beats": 32, "fixed": 1, "sequential": 1, "full": 1}


class Shared(wiring.Component):
    """A memory behind an arbiter."""

    def __init__(self, arbiter: Any, memory: Any) -> None:
        self._arbiter, self._memory = arbiter, memory
        super().__init__({"masters": In(axi4(BUS)).array(2)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.arbiter = arbiter = self._arbiter
        m.submodules.memory = memory = self._memory
        connect(m, arbiter.slave, memory.bus)
        for mine, inner in zip(self.masters, arbiter.masters, strict=True):
            connect(m, flipped(mine), inner)
        return m


def test_two_masters_share_a_memory(tmp_path: Path) -> None:
    """Each checks its own half; `second` is what the second master does of the first one's work."""
    need("icarus")
    dut = Shared(BusArbiter(BUS), BlockMemory(SIZE, BUS))
    bench = MemoryBench(dut, list(dut.masters), BUS, span=HALF, base_step=HALF)
    common = {"span": HALF, "outside_address": SIZE}
    results = play(
        bench,
        [
            {**common, **STREAM, "writes": HALF // (32 * BUS)},
            {**common, **RANDOM},
            {**common, **RANDOM, "stalls": stalls(ar=40, r=128, aw=40, w=128, b=200)},
            {**common, **RANDOM, "stalls": stalls(ar=220, r=10, aw=220, w=0, b=0)},
            {**common, **STREAM, "writes": 32, "only": 1},
            {**common, **STREAM, "reads": 32, "only": 1},
            {**common, **STREAM, "reads": 32},
            {**common, **STREAM, "writes": 32},
        ],
        tmp_path,
        masters=2,
    )
    assert all(result["compared"] > 10_000 for result in results[1:4])
    alone_writing, alone_reading, reading, writing = results[4:]
    beats = 32 * 32
    assert alone_writing["cycles"] <= beats + 8
    assert alone_reading["cycles"] <= beats + 8
    # Both get all there is, and neither is done long before the other.
    for result in (reading, writing):
        assert result["cycles"] <= 2 * beats + 12
        assert result["first_done"] >= 2 * beats - 3 * 32


def test_two_masters_of_single_beats_share_a_spram(tmp_path: Path) -> None:
    """They take their answers at once, as the readers, the writer and the host link of small boards."""
    need("icarus")
    dut = Shared(BeatBusArbiter(BUS), Spram(BUS, bursts=False))
    bench = MemoryBench(dut, list(dut.masters), BUS, span=HALF, base_step=HALF)
    common = {"span": HALF, "outside_address": SPRAM_BYTES, "beats": 1, "fixed": 1}
    fill = {**common, "sequential": 1, "full": 1, "writes": HALF // BUS}
    random = {**common, "reads": 3000, "writes": 3000, "outside": 20}
    results = play(
        bench,
        [fill, random, {**random, "stalls": stalls(ar=128, aw=40, w=128)}],
        tmp_path,
        masters=2,
        models={"cells.v": yosys_cells("ice40")},
    )
    assert all(result["compared"] > 10_000 for result in results[1:])
