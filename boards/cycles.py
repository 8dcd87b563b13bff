"""What the cycle model says of a program on a board: its memory as the bus sees it."""

from __future__ import annotations

from tilewright.boards.board import Board
from tilewright.boards.clocks import CHIP_LAG
from tilewright.boards.memory.sdram import STAY
from tilewright.boards.memory.sdram_segments import BUFFER_BEATS, SEGMENT_BEATS
from tilewright.boards.memory.sdram_sequencer import BANKS
from tilewright.boards.memory.sdram_timing import SdramTiming
from tilewright.compiler.cycles import CycleReport, MemoryTiming, predict
from tilewright.compiler.dram import DramTiming
from tilewright.compiler.program import Program
from tilewright.compiler.target import Target

__all__ = ["dram_timing", "memory_timing", "predict_board_cycles"]

_READ = {"spram": 2, "block": 2}
_WRITE = {"spram": 1, "block": 1}
"""Cycles from an address to its first data, and from the last data to the response, behind the
arbiter."""

_AHEAD = 2
"""Bursts that are accepted before the first of them has ended: memory on the FPGA takes the next one's
address with the last beat, and one more waits in the arbiter. So the instructions' reader, which asks
first, cannot have all that it has room for before the others' turn."""


def memory_timing(board: Board, target: Target | None = None) -> MemoryTiming:
    """The board's memory as the accelerator sees it through the arbiter.

    Parameters
    ----------
    target : the accelerator, where it is not the board's

    Raises
    ------
    TilewrightError
        If the memory cannot be used at the target's clock.
    """
    target = target or board.target
    if board.memory.chip is not None:
        chip = board.memory.chip.at(target.clock_mhz)
        return MemoryTiming(dram=dram_timing(chip, target.bus_bytes, chip.read_latency(CHIP_LAG)))
    kind = board.memory.kind
    single = kind == "spram" and not target.bursts  # a read is answered in the next cycle
    return MemoryTiming(
        latency=0 if single else _READ[kind],
        write_latency=_WRITE[kind],
        outstanding=_AHEAD,
        shared=kind == "spram",
    )


def dram_timing(chip: SdramTiming, data_bytes: int, read_latency: int) -> DramTiming:
    """What an SdramController with these parameters is to the cycle model."""
    return DramTiming(
        beat_bytes=data_bytes,
        words=8 * data_bytes // chip.data_bits,
        row_bytes=chip.cols * chip.data_bits // 8,
        banks=BANKS,
        segment_beats=SEGMENT_BEATS,
        buffer_beats=BUFFER_BEATS,
        stay=STAY,
        cas=chip.cas,
        read_latency=read_latency,
        t_rcd=max(chip.cycles(chip.t_rcd), chip.cycles(chip.t_rrd), 2),
        t_rp=chip.cycles(chip.t_rp),
        t_ras=max(chip.cycles(chip.t_ras), chip.cycles(chip.t_rc) - chip.cycles(chip.t_rp)),
        t_wr=chip.cycles(chip.t_wr),
        t_rfc=chip.cycles(chip.t_rfc),
        t_refi=int(chip.t_refi * chip.clock_mhz / 1000),
    )


def predict_board_cycles(board: Board, program: Program, *, trace: bool = False) -> CycleReport:
    """What the cycle model says of the program on the board; with `trace` also what each unit does."""
    return predict(program, memory_timing(board), trace=trace)
