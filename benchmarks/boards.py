"""Bitstreams of all boards, with tools from PyPI alone, and what three networks reach on each.

Each board is synthesized, placed, routed and packed; what is in the user's cache already is not made
anew. A board whose design does not fit or meets no clock keeps its record from before, the reason is
printed and the exit code is 1. Frames per second are the cycle model's at the board's clock, with the
board's memory; a network that does not fit into that has none.

    python benchmarks/boards.py                       # all
    python benchmarks/boards.py --board icepi-zero    # the other boards' records stay
    python benchmarks/boards.py --board icebreaker --check    # built anew, nothing recorded
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from measuring import RESULTS, commit, missing, save
from small_networks import NETWORKS, quantized

from tilewright.boards.board import Board
from tilewright.boards.cycles import predict_board_cycles
from tilewright.boards.flow import Bitstream, build_bitstream
from tilewright.boards.registry import BOARDS
from tilewright.boards.tools import versions
from tilewright.errors import TilewrightError
from tilewright.outputs import to_json
from tilewright.simulation import cache_folder

__all__ = ["build_all", "measure"]


def measure(board: Board, made: Bitstream) -> dict[str, Any]:
    """The record of a board."""
    target, route = board.target, made.route
    speed = {name: _speed(board, name) for name in NETWORKS}
    peak = 2 * target.rows * target.cols * target.clock_mhz / 1000
    counts = {what: route.count(board.family, what) for what in ("lut", "ff", "dsp", "bram")}
    return {
        "board": board.name,
        "part": board.part,
        "rows": target.rows,
        "cols": target.cols,
        "weight_bits": target.weight_bits,
        "target_mhz": target.clock_mhz,
        "fmax_mhz": route.fmax_mhz,
        **counts,
        "bitstream_bytes": made.path.stat().st_size,
        "peak_gops": round(peak, 3),
        "peak_gops_per_dsp": round(peak / counts["dsp"], 4) if counts["dsp"] else None,
        "fps": {name: found and round(found[0], 1) for name, found in speed.items()},
        "gops": {name: found and round(found[1], 3) for name, found in speed.items()},
        "seed": route.seed,
        "slowest_path": route.path,
    }


def _speed(board: Board, network: str) -> tuple[float, float] | None:
    """Images, and useful 10**9 operations, a second; None if the network does not fit the board."""
    import tilewright

    try:
        fixed = quantized(network, board.target.acc_bits)
        program = tilewright.compile(fixed, board.target, keep=False).program
    except TilewrightError as error:  # wider accumulators or more memory than there is
        print(f"  {error}")
        return None
    if program.memory_bytes > board.memory.size:
        return None
    fps = board.target.clock_mhz * 1e6 / predict_board_cycles(board, program).cycles
    return fps, 2 * sum(region.macs for region in program.regions) * fps / 1e9


def main() -> int:
    """Build what is asked for; 1 if a board could not be built."""
    parser = argparse.ArgumentParser(description="Bitstreams of all boards")
    parser.add_argument("--board", action="append", choices=BOARDS, help="only this one")
    parser.add_argument("--check", action="store_true", help="build anew, and record nothing")
    options = parser.parse_args()
    if options.check:
        with tempfile.TemporaryDirectory() as cache:
            return build_all(options.board or list(BOARDS), Path(cache), lambda board, made: None)
    reason = missing("amaranth_boards", "torch", "qonnx")
    if reason:
        print(f"boards skipped: {reason}")
        return 0
    return build_all(
        options.board or list(BOARDS),
        cache_folder(),
        lambda board, made: _save(board, measure(board, made)),
    )


def build_all(names: Sequence[str], cache: Path, record: Callable[[Board, Bitstream], None]) -> int:
    """Build the boards and `record` each; 1 if one could not be built."""
    failed = False
    for name in names:
        board = BOARDS[name]
        print(f"{name}: {board.target.rows}x{board.target.cols}", flush=True)
        started = time.monotonic()
        try:
            made = build_bitstream(board, cache, lambda d, t, text: print(f"  {text}", flush=True))
        except TilewrightError as error:
            print(f"  {error}", flush=True)
            failed = True
            continue
        print(
            f"  {made.route.fmax_mhz:g} MHz, {board.target.clock_mhz:g} asked; "
            f"{made.path.stat().st_size:,} bytes in {time.monotonic() - started:.0f} s",
            flush=True,
        )
        record(board, made)
    return int(failed)


def _save(board: Board, record: dict[str, Any]) -> None:
    """Put the record into the results in the place of the same array's, and how it was made beside."""
    path = RESULTS / "boards.json"
    size = ("board", "rows", "cols")
    others = [
        one for one in json.loads(path.read_text("utf-8")) if any(one[k] != record[k] for k in size)
    ]
    order = list(BOARDS)
    records = sorted([*others, record], key=lambda one: (order.index(one["board"]), one["rows"]))
    path.write_text(to_json(records), "utf-8")
    context = {
        "commit": commit(),
        "target": dataclasses.asdict(board.target),
        "reason": board.reason,
    }
    save(f"boards/{board.name}", context, tuple(versions(board.family)))


if __name__ == "__main__":
    sys.exit(main())
