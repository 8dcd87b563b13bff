"""What the cycle model says of a program on a board: its memory as the bus sees it."""

from __future__ import annotations

from tilewright.boards.board import Board
from tilewright.compiler.cycles import CycleReport, MemoryTiming, predict
from tilewright.compiler.program import Program

__all__ = ["memory_timing", "predict_board_cycles"]

_READ = {"sdram": 12, "spram": 2, "block": 2}
_WRITE = {"sdram": 3, "spram": 1, "block": 1}
"""Cycles from an address to its first data, and from the last data to the response, behind the
arbiter; an SDRAM's without what an open row saves."""

_AHEAD = {"sdram": 8, "spram": 2, "block": 2}
"""Bursts that are accepted before the first of them has ended: memory on the FPGA takes the next one's
address with the last beat, and one more waits in the arbiter. So the instructions' reader, which asks
first, cannot have all that it has room for before the others' turn."""


def memory_timing(board: Board) -> MemoryTiming:
    """The board's memory as the accelerator sees it through the arbiter."""
    kind = board.memory.kind
    single = kind == "spram" and not board.target.bursts  # a read is answered in the next cycle
    return MemoryTiming(
        latency=0 if single else _READ[kind],
        write_latency=_WRITE[kind],
        outstanding=_AHEAD[kind],
        shared=kind in ("sdram", "spram"),
    )


def predict_board_cycles(board: Board, program: Program, *, trace: bool = False) -> CycleReport:
    """What the cycle model says of the program on the board; with `trace` also what each unit does."""
    return predict(program, memory_timing(board), trace=trace)
