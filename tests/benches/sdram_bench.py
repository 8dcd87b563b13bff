"""A controller with its chip, as a memory for memory_bench."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from memory_bench import MemoryBench, play

from tilewright.boards.memory.sdram import SdramController
from tilewright.boards.memory.sdram_chip import FAILURE_BITS, SdramChip, sdram_models
from tilewright.boards.memory.sdram_timing import SdramTiming
from tilewright.hw.axi import axi4

__all__ = ["SdramBoard", "play_sdram", "small"]


def small(timing: SdramTiming) -> SdramTiming:
    """A chip with few rows that is soon powered up, for the memory of a simulator."""
    return replace(timing, rows=128, t_power=2_000.0)


class SdramBoard(wiring.Component):
    """The controller made for one timing, in front of the chip of another."""

    def __init__(
        self,
        timing: SdramTiming,
        data_bytes: int,
        *,
        chip: SdramTiming | None = None,
        read_latency: int | None = None,
        parameters: Mapping[str, int] | None = None,
        late: bool = False,
    ) -> None:
        self._controller = SdramController(timing, data_bytes, read_latency=read_latency)
        self._chip = SdramChip(chip or timing, parameters, late=late)
        super().__init__(
            {
                "bus": In(axi4(data_bytes)),
                "failed": Out(1),
                "failure": Out(FAILURE_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.controller = self._controller
        m.submodules.chip = self._chip
        connect(m, flipped(self.bus), self._controller.bus)
        connect(m, self._controller.pins, self._chip.pins)
        m.d.comb += [
            self.failed.eq(self._chip.failed),
            self.failure.eq(self._chip.failure),
        ]
        return m


def play_sdram(
    board: SdramBoard,
    data_bytes: int,
    clock_mhz: float,
    runs: list[dict[str, int]],
    work_dir: Path,
    **options: Any,
) -> list[dict[str, int]]:
    """As memory_bench.play; a violation of the chip's fails it by its name."""
    span = max(run["span"] for run in runs)
    bench = MemoryBench(board, [board.bus], data_bytes, span=span, chip=board)
    return play(
        bench,
        runs,
        work_dir,
        models=sdram_models(),
        period_ps=2 * ceil(1e6 / clock_mhz / 2),
        **options,
    )
