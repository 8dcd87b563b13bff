"""Icepi Zero, an ECP5-25F with SDRAM on a Raspberry Pi Zero's form: github.com/cheyao/icepi-zero."""

from tilewright.boards.board import Board, Memory
from tilewright.boards.memory.sdram_timing import W9825G6KH_6
from tilewright.compiler.target import Target

__all__ = ["BOARD"]

BOARD = Board(
    name="icepi-zero",
    title="Icepi Zero 1.3",
    part="LFE5U-25F-6BG256C",
    family="ecp5",
    platform="icepi_zero:IcepiZero1_3Platform",
    target=Target(
        name="icepi-zero",
        rows=4,
        cols=6,
        act_depth=1024,
        acc_depth=128,
        bus_bytes=2,
        burst_beats=32,
        fifo_bursts=2,
        pack_pixels=1,
        multiplier="ecp5",
        multiplier_stages=4,
        edge_registers=1,
        leaky=False,
        clock_mhz=50.0,
    ),
    input_mhz=50.0,
    memory=Memory.sdram(W9825G6KH_6),
    baud=3_000_000,
    loader="icepi-zero",
    reason="4x6: of the arrays of at most 28 multipliers the one that takes the fewest cycles "
    "(results/board_arrays.json)",
)
