# amaranth: UnusedElaboratable=no
"""The cycle model's SDRAM against the controller's RTL, with nothing else around them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from sdram_bench import SdramBoard, play_sdram, small
from targets import need

from tilewright.boards.cycles import dram_timing, memory_timing
from tilewright.boards.memory.sdram_timing import MT48LC16M16A2_75, ULX3S_32MB, SdramTiming
from tilewright.boards.registry import BOARDS
from tilewright.compiler.dram import Dram, DramTiming, Port
from tilewright.compiler.events import Kernel, Process
from tilewright.errors import TilewrightError

APART, TOGETHER = 36_864, 32_768
"""Spans whose halves begin in different banks, and in different rows of one bank."""
CASES = (
    {"writes": 1, "beats": 64, "span": APART},
    {"reads": 1, "beats": 64, "span": APART},
    {"reads": 1, "beats": 8, "span": APART},
    {"reads": 1, "writes": 1, "beats": 16, "span": APART},
    {"reads": 1, "streams": 2, "beats": 16, "span": APART},
    {"reads": 1, "streams": 2, "beats": 16, "span": TOGETHER},
)
BEATS = 4096


def stream(
    kernel: Kernel, port: Port, timing: DramTiming, case: dict[str, int], ends: list[int]
) -> Process:
    """Bursts one behind the other, as axi_traffic.v makes them."""
    writing, streams = port.writing, case.get("streams", 1)
    part = case["span"] // streams
    middle = part // 2 if writing and "reads" in case else 0
    addresses = [number * part + middle for number in range(streams)]
    gone = 0
    for burst in range(BEATS // case["beats"]):
        number = burst % streams
        yield kernel.now + 1
        address, beats = addresses[number], case["beats"]
        accepted = yield from port.accept(address, beats, lambda at, n: ends.append(at + n))
        if writing:
            gone = yield from port.bring([accepted + 1] * beats, gone)
        address += beats * timing.beat_bytes
        addresses[number] = number * part if address >= (number + 1) * part else address


def modelled(timing: DramTiming, case: dict[str, int]) -> int:
    """Cycles of a case."""
    kernel, ends = Kernel(), [0]
    dram = Dram(kernel, timing)
    ports = {"reads": dram.reads, "writes": dram.writes}
    masters: Iterator[Process] = (
        stream(kernel, port, timing, case, ends) for name, port in ports.items() if name in case
    )
    for process in (*dram.processes(), *masters):
        kernel.schedule(0, process)
    kernel.run()
    return max(ends)


@pytest.mark.parametrize(
    ("chip", "data_bytes"),
    [
        pytest.param(ULX3S_32MB.at(50), 2, id="a word a beat, slow clock"),
        pytest.param(MT48LC16M16A2_75, 2, id="a word a beat"),
        pytest.param(MT48LC16M16A2_75.at(133), 4, id="two words a beat, CAS latency 3"),
        pytest.param(MT48LC16M16A2_75, 8, id="four words a beat"),
    ],
)
def test_streams_take_what_the_model_says_within_one_percent(
    chip: SdramTiming, data_bytes: int, tmp_path: Path
) -> None:
    need("icarus")
    chip = small(chip)
    fill = {"writes": APART // (64 * data_bytes), "beats": 64, "span": APART}
    runs = [fill]
    for case in CASES:
        bursts = BEATS // case["beats"]
        runs.append(case | {name: bursts for name in ("reads", "writes") if name in case})
    runs = [{"fixed": 1, "sequential": 1, "full": 1} | run for run in runs]
    board = SdramBoard(chip, data_bytes)
    results = play_sdram(board, data_bytes, chip.clock_mhz, runs, tmp_path)
    timing = dram_timing(chip, data_bytes, chip.cas + 2)
    for case, result in zip(CASES, results[1:], strict=True):
        assert modelled(timing, case) == pytest.approx(result["cycles"], rel=0.01), case


def test_a_boards_sdram_is_counted_at_the_clock_and_with_the_bus_of_the_target() -> None:
    board = BOARDS["ulx3s-85f"]
    slow, fast, wide = (
        memory_timing(board, dataclasses.replace(board.target, **changes)).dram
        for changes in ({"clock_mhz": 25.0}, {"clock_mhz": 62.5}, {"bus_bytes": 4})
    )
    assert slow is not None and fast is not None and wide is not None
    assert (slow.t_rfc, fast.t_rfc) == (2, 5) and slow.t_refi < fast.t_refi
    assert (fast.words, wide.words) == (1, 2)
    with pytest.raises(TilewrightError, match="use at most 62"):
        memory_timing(board, dataclasses.replace(board.target, clock_mhz=100.0))
