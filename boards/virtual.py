"""The virtual board: the RTL of a whole board's top behind a pseudo-terminal."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tilewright.boards.board import Board
from tilewright.boards.host.protocol import Identity
from tilewright.boards.link.baud import MIN_CYCLES
from tilewright.boards.memory.flash_model import FlashModel
from tilewright.boards.memory.sdram_chip import SdramChip, sdram_models
from tilewright.boards.netlist import core_netlist
from tilewright.boards.soc import CORE, core_verilog
from tilewright.hw.verilog import component_verilog
from tilewright.sim.cells import cell_models, netlist_models, yosys_cells
from tilewright.sim.runner import SimulationError, Source, compile_verilog

__all__ = ["compile_board", "virtual_board", "virtual_identity"]

_TOP = "virtual_board"
_SECONDS_TO_END = 10.0


class VirtualTop(wiring.Component):
    """A board's core, as it is on the board, with models of SDRAM and flash at its pins.

    Parameters
    ----------
    board
    flash : bytes from the board's flash_address on

    Members
    -------
    rx, tx : ``In(1)``, ``Out(1)``
        The UART.
    awake : ``Out(1)``
        The board hears its host.
    failed : ``Out(1)``
        The memory was used against its data sheet; the model has said how.
    """

    rx: Any
    tx: Any
    awake: Any
    failed: Any

    def __init__(self, board: Board, flash: bytes) -> None:
        self._board, self._flash = board, flash
        super().__init__(
            {"rx": In(1, init=1), "tx": Out(1, init=1), "awake": Out(1), "failed": Out(1)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        ports = {"i_clk": ClockSignal(), "i_rst": ResetSignal(), "i_rx": self.rx, "o_tx": self.tx}
        ports["o_awake"] = self.awake
        if self._board.memory.chip is not None:
            timing = self._board.memory.chip.at(self._board.target.clock_mhz)
            m.submodules.chip = chip = SdramChip(timing, late=True)
            m.d.comb += self.failed.eq(chip.failed)
            for name, member in chip.pins.signature.members.items():
                side = "i" if member.flow is Out else "o"
                ports[f"{side}_sdram_{name}"] = getattr(chip.pins, name)
        if self._board.flash_address is not None:
            m.submodules.flash = flash = FlashModel(self._flash, self._board.flash_address)
            for name, member in flash.signature.members.items():
                side = "o" if member.flow is In else "i"
                ports[f"{side}_flash_{name}"] = getattr(flash, name)
        m.submodules.core = Instance(CORE, **ports)
        return m


def virtual_identity(board: Board) -> Identity:
    """What the virtual board says of itself: all as on the board, but the least time a bit."""
    return board.identity(_baud(board))


def _baud(board: Board) -> int:
    return round(board.target.clock_mhz * 1e6) // MIN_CYCLES


def compile_board(board: Board, cache: Path, *, netlist: bool = False, flash: bytes = b"") -> Path:
    """The virtual board's program, compiled or found in `cache`; with `netlist` after synthesis.

    Raises
    ------
    TilewrightError
        If Verilator, g++, make or perl is missing, or as of `core_netlist`.
    SimulationError
        If the Verilog does not compile.
    """
    top = component_verilog(VirtualTop(board, flash), name=_TOP, prefix="virtual")
    core = (core_netlist if netlist else core_verilog)(board, _baud(board))
    sources = [Source("top.v", top), Source("core.v", core)]
    models = netlist_models(board.family) if netlist else cell_models(board.target)
    if board.memory.kind == "spram":
        models |= {"ice40_cells.v": yosys_cells("ice40")}
    sources += [Source(*model) for model in models.items()]
    if board.memory.chip is not None:
        sources += [Source(*model) for model in sdram_models().items()]
    main = resources.files("tilewright.boards") / "virtual_main.cpp"
    build = compile_verilog(
        sources, top=_TOP, build_dir=cache, main=Source("main.cpp", main.read_text("utf-8"))
    )
    return build.binary


@contextmanager
def virtual_board(
    board: Board,
    cache: Path,
    *,
    noise: float = 0.0,
    seed: int = 1,
    netlist: bool = False,
    flash: bytes = b"",
) -> Iterator[str]:
    """Start the virtual board; gives the path of the terminal that stands for its serial port.

    Parameters
    ----------
    board
    cache : folder of compiled simulators
    noise : share of the link's bytes, in each direction, that are lost, doubled or altered
    seed : of the noise and of everything that has no value at power-up
    netlist : simulate the core as synthesis made it, cell by cell
    flash : bytes from the board's flash_address on, on boards that have one

    Raises
    ------
    TilewrightError, SimulationError
        As of `compile_board`; SimulationError also where the simulation ends by itself.
    """
    command = [
        str(compile_board(board, cache, netlist=netlist, flash=flash)),
        *(str(MIN_CYCLES), str(round(1e6 / board.target.clock_mhz))),
        *(str(round(noise * 1e6)), str(seed)),
        *("+verilator+rand+reset+2", f"+verilator+seed+{seed % (2**31 - 2) + 1}"),
    ]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None and process.stderr is not None
        try:
            path = process.stdout.readline().strip()
            if not path:
                raise SimulationError(f"The virtual board did not start: {process.stderr.read()}")
            yield path
            if process.poll() is not None:
                raise SimulationError(
                    f"The virtual board ended: {process.stdout.read()}{process.stderr.read()}"
                )
        finally:
            process.terminate()
            try:
                process.wait(_SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                process.kill()
