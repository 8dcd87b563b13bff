# amaranth: UnusedElaboratable=no
"""The SDRAM controller: data, bandwidth, and the chip's data sheet, at the chip's pins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from memory_bench import stalls
from sdram_bench import SdramBoard, play_sdram, small
from targets import need

from tilewright.boards.memory.sdram import SdramController
from tilewright.boards.memory.sdram_timing import (
    M12L64322A_6,
    MT48LC16M16A2_75,
    PARTS,
    ULX3S_32MB,
    SdramTiming,
)
from tilewright.errors import TilewrightError
from tilewright.sim.runner import SimulationError

SPAN = 8192
RANDOM = {"reads": 60, "writes": 60, "beats": 40, "outside": 20, "span": SPAN}
STREAM = {"beats": 64, "fixed": 1, "sequential": 1, "full": 1, "span": SPAN}


@pytest.mark.parametrize(
    ("timing", "data_bytes"),
    [
        pytest.param(ULX3S_32MB.at(50), 2, id="a word a beat, slow clock"),
        pytest.param(MT48LC16M16A2_75.at(133), 8, id="four words a beat, CAS latency 3"),
        pytest.param(M12L64322A_6, 8, id="32 pins"),
    ],
)
def test_data_are_kept_and_streams_get_nine_tenths_of_the_pins(
    timing: SdramTiming, data_bytes: int, tmp_path: Path
) -> None:
    """Pages lie scattered over rows and banks; refreshes fall where they may."""
    need("icarus")
    chip = small(timing)
    place = {"spread": 37, "page_mask": chip.bytes // 4096 - 1, "outside_address": chip.bytes}
    beats = SPAN // data_bytes
    fill = STREAM | place | {"writes": beats // 64}
    runs = [
        fill,
        fill,
        STREAM | place | {"reads": beats // 64},
        RANDOM | place,
        RANDOM | place | {"stalls": stalls(ar=100, r=150, aw=100, w=150, b=220)},
    ]
    results = play_sdram(SdramBoard(chip, data_bytes), data_bytes, chip.clock_mhz, runs, tmp_path)
    words = 8 * data_bytes // chip.data_bits
    powering_up, writing, reading, *random = results
    assert powering_up["write_beats"] == writing["write_beats"] == reading["read_beats"] == beats
    assert beats * words / writing["cycles"] >= 0.9
    assert beats * words / reading["cycles"] >= 0.9
    assert all(result["compared"] >= 800 * data_bytes for result in random)


def test_the_late_clock_of_the_boards_takes_a_cycle_less(tmp_path: Path) -> None:
    need("icarus")
    timing = small(MT48LC16M16A2_75.at(50))
    board = SdramBoard(timing, 2, late=True, read_latency=timing.cas + 1)
    (result,) = play_sdram(board, 2, 50, [RANDOM | {"outside": 0}], tmp_path)
    assert result["compared"] > 100


def test_a_controller_for_a_faster_chip_is_caught(tmp_path: Path) -> None:
    need("icarus")
    timing = small(MT48LC16M16A2_75)
    board = SdramBoard(timing, 4, chip=replace(timing, t_rcd=45.0))
    with pytest.raises(SimulationError, match="chip: tRCD: READ or WRITE too early after ACTIVE"):
        play_sdram(board, 4, 100, [STREAM | {"writes": 16}], tmp_path)


def test_a_wrong_read_latency_is_caught(tmp_path: Path) -> None:
    need("icarus")
    board = SdramBoard(small(MT48LC16M16A2_75), 4, read_latency=5)
    with pytest.raises(SimulationError, match="a byte read is not what was written"):
        play_sdram(board, 4, 100, [RANDOM | {"outside": 0}], tmp_path)


def test_the_parts_have_the_sizes_of_their_boards() -> None:
    sizes = {name: timing.bytes >> 20 for name, timing in PARTS.items()}
    assert sizes == {
        "MT48LC16M16A2-75": 32,
        "ULX3S-32MB": 32,
        "AS4C32M16SB-7": 64,
        "IS42S16160B-7": 32,
        "W9825G6KH-6": 32,
        "M12L64322A-6": 8,
    }
    assert MT48LC16M16A2_75.cas == 2 and MT48LC16M16A2_75.at(133).cas == 3
    assert MT48LC16M16A2_75.cycles(20) == 2 and MT48LC16M16A2_75.at(133).cycles(20) == 3


def test_what_is_read_is_looked_for_at_the_edge_that_finds_it() -> None:
    chip = MT48LC16M16A2_75  # 6 ns after its edge, 2.5 ns beyond the next one
    for mhz in (10, 50, 62.5):
        assert chip.at(mhz).read_latency(0.25) == chip.cas + 1
    for mhz in (10, 83):
        assert chip.at(mhz).read_latency(1) == chip.cas + 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: MT48LC16M16A2_75.at(66).read_latency(0.25),
            r"at 66 MHz no clock edge .*, with the chip's clock 0.25 .* use at most 62.5 MHz$",
        ),
        (lambda: MT48LC16M16A2_75.at(100).read_latency(1), r"use at most 83.3 MHz$"),
        (lambda: MT48LC16M16A2_75.at(150), r"^SDRAM MT48LC.*: clock_mhz must be .* 133, not 150$"),
        (lambda: replace(M12L64322A_6, data_bits=8), r"data_bits must be one of 16, 32, not 8$"),
        (
            lambda: SdramController(M12L64322A_6, 2),
            r"data_bytes must be at least 4 with .*, not 2$",
        ),
        (
            lambda: SdramController(MT48LC16M16A2_75, 4, read_latency=1),
            r"read_latency must be at least the CAS latency, 2, not 1$",
        ),
    ],
)
def test_a_controller_that_cannot_be_is_refused(make: Any, message: str) -> None:
    with pytest.raises(TilewrightError, match=message):
        make()
