"""Sipeed Tang Primer 20K on its dock; its DDR3 is not used."""

from tilewright.boards.board import Board, Memory
from tilewright.compiler.target import Target

__all__ = ["BOARD"]

BOARD = Board(
    name="tang-primer-20k",
    title="Sipeed Tang Primer 20K, Dock",
    part="GW2A-LV18PG256C8/I7",
    family="gowin",
    platform="tang_primer_20k:TangPrimer20kDockPlatform",
    target=Target(
        name="tang-primer-20k",
        rows=4,
        cols=4,
        act_depth=1024,
        acc_depth=128,
        bus_bytes=4,
        burst_beats=16,
        fifo_bursts=2,
        pack_pixels=1,
        multiplier="gowin",
        multiplier_stages=3,
        edge_registers=1,
        leaky=False,
        clock_mhz=54.0,
    ),
    input_mhz=27.0,
    memory=Memory(kind="block", size=56 << 10),
    baud=2_000_000,
    loader="tangprimer20k",
    reason="4x4: what fits beside its memory; nextpnr knows no timing of multiplier blocks, so the "
    "clock is far below what it reports",
)
