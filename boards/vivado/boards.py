"""The boards that projects for Vivado are written for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tilewright.boards.board import Memory
from tilewright.boards.host.protocol import Identity
from tilewright.compiler.target import Target
from tilewright.errors import TilewrightError, nearest

__all__ = ["VIVADO_BOARDS", "VivadoBoard", "get_vivado_board"]


_NO_MEMORY = Memory(kind="block", size=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class VivadoBoard:
    """A board with an FPGA, or with processor and FPGA, of AMD/Xilinx.

    Attributes
    ----------
    name : on the command line
    title : as its maker calls it
    part : the device, as Vivado calls it
    board_part : Vivado's board file, for the processor's settings; None without a processor
    target : the accelerator
    reason : why the array has this size
    input_mhz, memory, baud, pins : without a processor: oscillator, block RAM, link, and pins by
        port of the top
    """

    name: str
    title: str
    part: str
    board_part: str | None = None
    target: Target
    reason: str
    input_mhz: float = 0.0
    memory: Memory = _NO_MEMORY
    baud: int = 0
    pins: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.target.multiplier != "xilinx":
            raise TilewrightError(
                f"Board {self.name!r}: target.multiplier must be 'xilinx', not "
                f"{self.target.multiplier!r}; correct boards/vivado/boards.py"
            )
        if (self.board_part is None) != bool(self.pins):
            raise TilewrightError(
                f"Board {self.name!r}: pins are needed without a processor, and only then; correct "
                "boards/vivado/boards.py"
            )

    @property
    def flash_address(self) -> None:
        """The self-test is in block RAM."""

    def identity(self, baud: int | None = None) -> Identity:
        """What the board says of itself over its link; `baud` where it is not the board's."""
        return Identity(
            board=self.name,
            clock_hz=round(self.target.clock_mhz * 1e6),
            baud=baud or self.baud,
            data_bytes=self.target.bus_bytes,
            memory_bytes=self.memory.size,
        )


def _target(name: str, rows: int, cols: int, clock_mhz: float) -> Target:
    return Target(
        name=name,
        rows=rows,
        cols=cols,
        bus_bytes=8,
        multiplier="xilinx",
        edge_registers=1,
        leaky=False,
        clock_mhz=clock_mhz,
    )


_ALL = (
    VivadoBoard(
        name="arty-a7-35",
        title="Digilent Arty A7-35T",
        part="xc7a35ticsg324-1L",
        target=_target("arty-a7-35", 8, 8, 75.0),
        reason="8x8: 64 of 90 DSP48E1, and half of the block RAM is the memory",
        input_mhz=100.0,
        memory=Memory(kind="block", size=1 << 16),
        baud=2_000_000,
        pins={"clk_in": "E3", "rx": "A9", "tx": "D10", "leds[0]": "H5", "leds[1]": "J5",
              "leds[2]": "T9"},
    ),
    VivadoBoard(
        name="arty-z7-20",
        title="Digilent Arty Z7-20",
        part="xc7z020clg400-1",
        board_part="digilentinc.com:arty-z7-20:part0:1.1",
        target=_target("arty-z7-20", 12, 16, 100.0),
        reason="12x16: 192 of 220 DSP48E1",
    ),
    VivadoBoard(
        name="zc706",
        title="Xilinx ZC706, the board of the FPGA 2016 paper",
        part="xc7z045ffg900-2",
        board_part="xilinx.com:zc706:part0:1.4",
        target=_target("zc706", 24, 32, 150.0),
        reason="24x32: 768 of 900 DSP48E1, about the paper's 780, at its 150 MHz",
    ),
)  # fmt: skip

VIVADO_BOARDS: dict[str, VivadoBoard] = {board.name: board for board in _ALL}
"""Boards by name."""


def get_vivado_board(name: str) -> VivadoBoard:
    """Board called `name`.

    Raises
    ------
    TilewrightError
        If there is none; the message names the nearest.
    """
    if name not in VIVADO_BOARDS:
        raise TilewrightError(f"Board {name!r} is unknown; {nearest(name, VIVADO_BOARDS)}")
    return VIVADO_BOARDS[name]
