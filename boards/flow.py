"""From a board to its bitstream: synthesis, placement, routing and packing, and their limits."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilewright.boards.board import Board
from tilewright.boards.proven import largest_proven
from tilewright.boards.routing import Route, read_route, read_usage
from tilewright.boards.soc import BoardTop, core_verilog
from tilewright.boards.tools import check_tools, run_tool, versions
from tilewright.errors import TilewrightError
from tilewright.outputs import to_json
from tilewright.progress import Progress

__all__ = ["SYNTHESIS", "Bitstream", "TimingError", "build_bitstream"]

TOP = "top"
_SCRATCH = ".building-"
_STALE_S = 24 * 3600
_SUFFIX = {"ecp5": "bit", "ice40": "bin", "gowin": "fs"}
SYNTHESIS = {
    "ecp5": "-no-rw-check",
    "ice40": "-no-rw-check -dffe_min_ce_use 4",
    "gowin": "-no-rw-check",
}
"""No memory of the accelerator counts on what a read of a word being written gives. Eight logic cells
of an iCE40 share one clock enable: those of few flip-flops keep a full part from being placed."""


_PLACE_AND_ROUTE = {
    "ecp5": ["--router", "router2"],
    "ice40": ["--placer-heap-cell-placement-timeout", "100"],
}
"""A UP5K is nearly full, and a search for places that does not end soon seldom ends at all: nextpnr gives
up after cells^2 / 100 attempts for one cell, and the next seed is tried."""
_UNPLACED = "Unable to find legal placement"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bitstream:
    """A packed bitstream that meets its clock, and what it is.

    Attributes
    ----------
    path : the file
    route : of the seed that met the clock
    tried : seed and MHz of those that did not, before it
    """

    path: Path
    route: Route
    tried: tuple[tuple[int, float], ...]


class TimingError(TilewrightError):
    """No seed met the clock.

    Attributes
    ----------
    fmax_mhz : of the best
    """

    def __init__(self, text: str, fmax_mhz: float) -> None:
        super().__init__(text)
        self.fmax_mhz = fmax_mhz


def build_bitstream(board: Board, cache: Path, progress: Progress | None = None) -> Bitstream:
    """Make the board's bitstream, or find it in `cache`, where it is kept by its content.

    Raises
    ------
    TilewrightError
        If a package is missing, the design is too large for the part, or no seed finds a place for
        it or meets the clock.
    """
    report = progress or (lambda done, total, text: None)
    check_tools(board.family)
    report(0, 0, "generate Verilog")
    files, commands = _plan(board)
    key = _key(board, files)
    folder = cache / "bitstreams" / f"{board.name}-{key}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        _clear(folder.parent)
        with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=folder.parent) as name:
            scratch = Path(name, "build")
            scratch.mkdir()
            _build(board, files, commands, scratch, report)
            if not folder.is_dir():
                shutil.move(scratch, folder)
    return _read(folder, board)


def _clear(folder: Path) -> None:
    """Remove what builds that were killed have left; one that is under way is younger."""
    for left in folder.glob(f"{_SCRATCH}*"):
        with contextlib.suppress(OSError):  # another process removes it
            if time.time() - left.stat().st_mtime > _STALE_S:
                shutil.rmtree(left, ignore_errors=True)


def _plan(board: Board) -> tuple[dict[str, bytes], list[list[str]]]:
    """Amaranth's files and commands for the board's top."""
    platform = board.make_platform()
    options = {"synth_opts": SYNTHESIS[board.family]}
    plan = platform.prepare(BoardTop(board, core_verilog(board)), TOP, emit_src=False, **options)
    files = {
        name: text.encode() if isinstance(text, str) else text for name, text in plan.files.items()
    }
    return files, json.loads(files[f"build_{TOP}.json"])["commands"]


def _key(board: Board, files: Mapping[str, bytes]) -> str:
    """Hash of everything that a bitstream depends on."""
    content = [
        sorted((name, hashlib.sha256(data).hexdigest()) for name, data in files.items()),
        versions(board.family),
        board.seeds,
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:20]


def _build(
    board: Board,
    files: Mapping[str, bytes],
    commands: list[list[str]],
    folder: Path,
    report: Progress,
) -> None:
    """Run the tools in `folder`; leaves the bitstream and route.json there."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    synthesis, routing, *packing = commands
    report(0, 0, "synthesize")
    _run(synthesis, folder)
    tried: list[Route] = []
    for seed in board.seeds:
        report(0, 0, f"place and route, seed {seed}")
        route = _route(board, routing, folder, seed)
        if route is not None and route.met:
            break
        tried += [] if route is None else [route]
    else:
        raise _too_slow(board, tried) if tried else _unplaced(board)
    report(0, 0, "pack")
    for command in packing:
        _run(command, folder)
    content = {
        "route": dataclasses.asdict(route),
        "tried": [[one.seed, one.fmax_mhz] for one in tried],
    }
    (folder / "route.json").write_text(to_json(content), "utf-8")


def _run(command: list[str], folder: Path) -> None:
    """A step that fails only through a fault of Tilewright's or of the tool's."""
    done = run_tool(command, folder)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {(done.stdout + done.stderr)[-2000:]}")


def _route(board: Board, command: list[str], folder: Path, seed: int) -> Route | None:
    """Place and route with one seed; None if no legal placement was found.

    Raises
    ------
    TilewrightError
        If the design does not fit the part.
    """
    result = folder / "report.json"
    result.unlink(missing_ok=True)
    mhz = board.target.clock_mhz
    options = ["--report", result.name, "--freq", f"{mhz:g}", "--seed", str(seed)]
    options += _PLACE_AND_ROUTE.get(board.family, [])
    done = run_tool([*command, *options], folder)
    if result.is_file():  # a clock that is not met is an error of nextpnr's too
        return read_route(result, seed, mhz)
    usage = read_usage((folder / f"{TOP}.tim").read_text("utf-8", "replace"))
    excess = {name: cells for name, cells in usage.items() if cells[0] > cells[1] > 0}
    if not excess:
        if _UNPLACED in done.stdout + done.stderr:
            return None
        raise RuntimeError(f"{command[0]} failed: {(done.stdout + done.stderr)[-2000:]}")
    raise TilewrightError(
        f"Board {board.name!r}: an array of {_array(board)} is too large for the "
        f"{board.part}: "
        + ", ".join(
            f"{used:,} {name} of {there:,} ({used - there:,} too many)"
            for name, (used, there) in excess.items()
        )
        + f"; {_offer(board)}"
    )


def _too_slow(board: Board, tried: list[Route]) -> TimingError:
    """The message about a clock that no seed met."""
    best = max(tried, key=lambda route: route.fmax_mhz)
    period = 1000 / board.target.clock_mhz
    return TimingError(
        f"Board {board.name!r}: timing is not met: an array of {_array(board)} reaches "
        f"{best.fmax_mhz:g} MHz of {board.target.clock_mhz:g} (best of {len(tried)} seeds); the "
        f"slowest path, {best.path}, takes {1000 / best.fmax_mhz:.1f} ns, "
        f"{1000 / best.fmax_mhz - period:.1f} ns more than a cycle; {_offer(board)}",
        best.fmax_mhz,
    )


def _unplaced(board: Board) -> TilewrightError:
    """The message about a design for which no seed found a place."""
    seeds = ", ".join(map(str, board.seeds))
    return TilewrightError(
        f"Board {board.name!r}: an array of {_array(board)} fits the {board.part} by number of cells, "
        f"but nextpnr found no legal placement with the seeds {seeds}; give others in the board's "
        f"file, or {_offer(board)}"
    )


def _array(board: Board) -> str:
    return f"{board.target.rows}x{board.target.cols}"


def _offer(board: Board) -> str:
    """What to do instead."""
    proven = largest_proven(board.name)
    if proven is None:
        return "make rows, cols or clock_mhz in the board's file smaller"
    return (
        f"the largest array that was proven on it is {proven['rows']}x{proven['cols']} at "
        f"{proven['target_mhz']:g} MHz: put that into the board's file"
    )


def _read(folder: Path, board: Board) -> Bitstream:
    content: dict[str, Any] = json.loads((folder / "route.json").read_text("utf-8"))
    return Bitstream(
        path=folder / f"{TOP}.{_SUFFIX[board.family]}",
        route=Route(**content["route"]),
        tried=tuple((seed, mhz) for seed, mhz in content["tried"]),
    )
