"""ULX3S with an ECP5-85F: radiona.org/ulx3s."""

from tilewright.boards.board import Board, Memory
from tilewright.boards.memory.sdram_timing import ULX3S_32MB
from tilewright.compiler.target import Target

__all__ = ["BOARD"]

BOARD = Board(
    name="ulx3s-85f",
    title="Radiona ULX3S 85F",
    part="LFE5U-85F-6BG381C",
    family="ecp5",
    platform="ulx3s:ULX3S_85F_Platform",
    target=Target(
        name="ulx3s-85f",
        rows=8,
        cols=8,
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
    input_mhz=25.0,
    memory=Memory.sdram(ULX3S_32MB),
    baud=3_000_000,
    loader="ulx3s",
    reason="8x8: with a memory of 2 bytes a cycle twice the multipliers (8x16) take 8 % fewer cycles, "
    "every other array of at most 156 takes more (results/board_arrays.json)",
)
