"""`tilewright run`: images through a network on a board, or on the virtual board."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from tilewright.board_commands import FLASH_PROGRAM
from tilewright.console import Outcome, print_lines, print_table
from tilewright.errors import TilewrightError
from tilewright.progress import Progress, show_progress
from tilewright.simulation import cache_folder

if TYPE_CHECKING:
    from tilewright.boards.board import Board
    from tilewright.boards.host import Accelerator, HostProgram, Run

__all__ = ["open_accelerator", "run"]

_TOP = 3
_VIRTUAL_TIMEOUT_S, _NETLIST_TIMEOUT_S, _VIRTUAL_GAP_S = 4.0, 60.0, 0.2
"""A simulated board answers some hundred times more slowly than a real one, its cells some thousand;
the test at power-up comes first."""


def run(options: argparse.Namespace) -> Outcome:
    """Run a network on a board: classes, time and the accelerator's counters."""
    from tilewright.boards.registry import get_board

    board = get_board(options.board)
    if options.selftest == bool(options.images):
        raise TilewrightError("Give images to run, or --selftest")
    if options.selftest and options.loaded:
        raise TilewrightError("Option --loaded is for images; the self-test loads its own program")
    for option in ("port", "noise"):
        if (getattr(options, option) is not None) and (options.virtual == (option == "port")):
            other = "without" if option == "port" else "with"
            raise TilewrightError(f"Option --{option} is only for runs {other} --virtual")
    if options.noise is not None and not 0 <= options.noise < 1:
        raise TilewrightError(f"Option --noise must be at least 0 and below 1, not {options.noise}")
    return (_selftest if options.selftest else _images)(board, options)


def _selftest(board: Board, options: argparse.Namespace) -> Outcome:
    """Compute what is known on the board, and compare."""
    from tilewright.boards.host.accelerator import POWER_UP
    from tilewright.boards.script import selftest_script
    from tilewright.boards.selftest import known_answer

    with show_progress(quiet=options.quiet) as progress:
        progress(0, 0, "compile the self-test")
        test = known_answer(board.target)
        script = b"" if board.flash_address is None else selftest_script(board.identity(), test)
        with _connected(board, options, progress, script) as accelerator:
            progress(0, 0, "self-test")
            accelerator.selftest(test.program, test.inputs, test.expected)
            alone = accelerator.tested_itself
    count = sum(values.size for values in test.expected.values())
    result = {
        "board": board.name,
        "virtual": options.virtual,
        "values": count,
        "wrong": 0,
        "at_power_up": alone,
    }
    lines = [f"{board.name}: {count:,} values computed, all right", POWER_UP[alone]]
    return Outcome(0, result, lambda console: print_lines(console, lines))


def _images(board: Board, options: argparse.Namespace) -> Outcome:
    from tilewright.boards.host import HostProgram

    path = Path(options.program) if options.program else _find_program(board)
    program = HostProgram.load(path)
    images = [
        found
        for name in options.images
        for found in _read(Path(name), program, options.pixel_scale)
    ]
    flash = _flash(board, path) if options.loaded and options.virtual else b""
    with (
        show_progress(quiet=options.quiet) as progress,
        _connected(board, options, progress, flash) as accelerator,
    ):
        if options.loaded:
            accelerator.adopt(program)
        else:
            accelerator.load(
                program, progress=lambda done, total: progress(done, total, "load the program")
            )
        runs = []
        for number, (_, image) in enumerate(images):
            progress(number, len(images), "run")
            runs.append(accelerator.run(image))
        counts = accelerator.link.counts
    labels = [label for label, _ in images]
    result = {
        "board": board.name,
        "virtual": options.virtual,
        "program": str(path),
        "link": {"requests": counts.requests, "retries": counts.retries},
        "runs": [_result(label, found) for label, found in zip(labels, runs, strict=True)],
    }
    return Outcome(0, result, lambda console: _print_runs(console, result))


def _flash(board: Board, program: Path) -> bytes:
    """What the virtual board has in its flash: the build's file beside its program."""
    path = program.with_name(FLASH_PROGRAM)
    if board.flash_address is None or not path.is_file():
        raise TilewrightError(
            f"{path}: the virtual board {board.name!r} finds no program in its flash; leave out "
            "--loaded, or build for a board that loads its program from flash"
        )
    return path.read_bytes()


def _find_program(board: Board) -> Path:
    """The only program under ./build that was built for the board."""
    found = []
    for report in sorted(Path("build").glob("*/build.json")):
        try:
            content = json.loads(report.read_text("utf-8"))
        except (OSError, ValueError):
            continue  # of something else, or damaged: then it is not named, and the user will
        if isinstance(content, dict) and content.get("board") == board.name:
            found.append(report.with_name("program.twp"))
    if len(found) != 1:
        there = ", ".join(map(str, found)) or "none"
        raise TilewrightError(
            f"Which program is meant? Under ./build there is {there} for board {board.name!r}; "
            f"give --program FILE of `tilewright build --board {board.name}`"
        )
    return found[0]


def _read(
    path: Path, program: HostProgram, pixel_scale: float
) -> Iterator[tuple[str, dict[str, npt.NDArray[Any]]]]:
    """Label and inputs of each image in a file; an array may hold several, [N, C, H, W]."""
    from tilewright.boards.host.images import read_input

    given = read_input(path, program, pixel_scale=pixel_scale)
    arrays = {name: np.asarray(array) for name, array in given.items()}
    if any(array.ndim != 4 for array in arrays.values()):
        yield str(path), arrays
        return
    for number in range(min(len(array) for array in arrays.values())):
        yield f"{path}[{number}]", {name: array[number] for name, array in arrays.items()}


@contextmanager
def _connected(
    board: Board, options: argparse.Namespace, progress: Progress, flash: bytes
) -> Iterator[Accelerator]:
    port = options.port
    if options.virtual:
        progress(0, 0, "compile the virtual board")
    elif port is None:
        port = _only_port()
    with open_accelerator(board, port, noise=options.noise or 0.0, flash=flash) as accelerator:
        yield accelerator


def _only_port() -> str:
    """The serial port, where there is one only."""
    from serial.tools import list_ports

    names = sorted(entry.device for entry in list_ports.comports())
    if not names:
        raise TilewrightError(
            "No board is connected: there is no serial port; connect it, or give --port, or "
            "--virtual for the virtual board"
        )
    if len(names) > 1:
        raise TilewrightError(
            f"There are several serial ports; give --port with one of {', '.join(names)}"
        )
    return str(names[0])


@contextmanager
def open_accelerator(
    board: Board,
    port: str | None,
    *,
    noise: float = 0.0,
    seed: int = 1,
    netlist: bool = False,
    flash: bytes = b"",
) -> Iterator[Accelerator]:
    """The accelerator on the board at a serial port, or on the virtual board if `port` is None.

    Parameters
    ----------
    noise, seed : of the virtual board's link
    netlist : whether the virtual board's core is simulated as synthesis made it
    flash : what the virtual board has in its flash, on boards that read it

    Raises
    ------
    TilewrightError, HostError
        If the board does not answer, is another one, or the virtual board cannot be made.
    SimulationError
        If the virtual board fails.
    """
    from tilewright.boards.host import Accelerator, Link, SerialTransport

    if port is not None:
        with SerialTransport(port, board.baud) as transport:
            yield Accelerator(transport, board=board.name)
        return
    from tilewright.boards.virtual import virtual_board, virtual_identity

    with (
        virtual_board(
            board, cache_folder(), noise=noise, seed=seed, netlist=netlist, flash=flash
        ) as terminal,
        SerialTransport(terminal, virtual_identity(board).baud) as transport,
    ):
        timeout_s = _NETLIST_TIMEOUT_S if netlist else _VIRTUAL_TIMEOUT_S
        link = Link(transport, timeout_s=timeout_s, gap_s=_VIRTUAL_GAP_S)
        yield Accelerator(link, board=board.name)


def _result(label: str, found: Run) -> dict[str, Any]:
    scores = next(iter(found.outputs.values())).reshape(-1)
    return {
        "image": label,
        "classes": [{"class": int(n), "score": float(scores[n])} for n in found.classes[:_TOP]],
        "seconds": round(found.seconds, 6),
        "accelerator_seconds": found.accelerator_seconds,
        "saturated": found.saturated,
        "counters": found.counters,
    }


def _busy_percent(counters: dict[str, int]) -> str:
    """How long the array was busy; 0 comes only from accelerators without counters."""
    busy = counters["CALC_BUSY"]
    return f"{100 * busy / counters['CYCLES']:.1f}" if busy else "not counted"


def _print_runs(console: Console, result: dict[str, Any]) -> None:
    rows = [
        (
            found["image"],
            ", ".join(f"{c['class']} ({c['score']:.3g})" for c in found["classes"]),
            f"{found['seconds'] * 1e3:,.1f}",
            f"{found['accelerator_seconds'] * 1e3:,.3f}",
            f"{found['counters']['CYCLES']:,}",
            _busy_percent(found["counters"]),
        )
        for found in result["runs"]
    ]
    kind = "virtual board" if result["virtual"] else "board"
    columns = ("image", "classes", "ms with link", "ms accelerator", "cycles", "array busy %")
    print_table(console, f"{result['program']} on {kind} {result['board']}", columns, rows)
    if any(found["saturated"] for found in result["runs"]):
        text = "Some values are beyond what the input can hold; is --pixel-scale right?"
        print_lines(console, [text])
