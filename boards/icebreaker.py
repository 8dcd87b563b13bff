"""1BitSquared iCEBreaker, an iCE40 UP5K: 1bitsquared.com/products/icebreaker."""

from tilewright.boards.board import Board, Memory
from tilewright.boards.memory.spram import SPRAM_BYTES
from tilewright.compiler.target import Target

__all__ = ["BOARD"]

BOARD = Board(
    name="icebreaker",
    title="1BitSquared iCEBreaker 1.0",
    part="iCE40UP5K-SG48",
    family="ice40",
    platform="icebreaker:ICEBreakerPlatform",
    target=Target(
        name="icebreaker",
        rows=2,
        cols=2,
        acc_bits=22,
        act_depth=256,
        acc_depth=64,
        bus_bytes=2,
        burst_beats=1,
        pack_pixels=1,
        multiplier="ice40",
        leaky=False,
        counters=False,
        address_bits=17,
        unit_queue=1,
        bursts=False,
        clock_mhz=12.0,
    ),
    input_mhz=12.0,
    memory=Memory(kind="spram", size=SPRAM_BYTES),
    baud=3_000_000,
    loader="ice40_generic",
    flash_address=0x100000,
    seeds=tuple(range(1, 9)),
    reason="2x2: with control, memory, link and flash it takes 5,070 of 5,280 logic cells; a row more is "
    "150 cells, a column 450",
)
