"""Which array suits a board: cycles of three networks, by the cycle model, on every array that fits.

An array fits if the part has a multiplier block for each of its products and the resource model, where
it knows the family, finds room for its LUTs. Results go to results/board_arrays.json, the fewest cycles
on average (geometric) first; the boards' files say what was taken, and results/boards.json what it is
when it is placed.

    python benchmarks/board_arrays.py                       # boards with an ECP5
    python benchmarks/board_arrays.py --board icepi-zero    # the others' stay
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
import sys
from typing import Any

from measuring import RESULTS, missing, save
from small_networks import NETWORKS, quantized

import tilewright
from tilewright.boards.board import Board
from tilewright.boards.cycles import predict_board_cycles
from tilewright.boards.parts import PARTS
from tilewright.boards.registry import BOARDS
from tilewright.errors import TilewrightError
from tilewright.sweep.resources import estimate
from tilewright.sweep.space import Hardware

__all__ = ["measure"]

SIZES = (4, 5, 6, 7, 8, 10, 12, 16)
KEPT = 10


def measure(board: Board) -> list[dict[str, Any]]:
    """Cycles and estimated LUTs of each array that fits, the best KEPT."""
    part = PARTS[board.part]
    found: list[dict[str, Any]] = []
    for rows, cols in itertools.product(SIZES, repeat=2):
        if rows * cols > part["dsp"]:
            continue
        target = dataclasses.replace(board.target, rows=rows, cols=cols)
        luts = estimate(Hardware(board=board.name, target=target))["luts"]
        if luts is None or luts > part["lut"]:
            continue
        cycles = {
            name: _cycles(dataclasses.replace(board, target=target), name) for name in NETWORKS
        }
        if all(cycles.values()):
            mean = math.exp(sum(math.log(float(n or 0)) for n in cycles.values()) / len(cycles))
            found.append(
                {
                    "rows": rows,
                    "cols": cols,
                    "cycles": cycles,
                    "mean_cycles": round(mean),
                    "luts_estimated": luts,
                }
            )
    return sorted(found, key=lambda one: one["mean_cycles"])[:KEPT]


def _cycles(board: Board, network: str) -> int | None:
    """Cycles of an image; None if the network does not fit the target."""
    try:
        fixed = quantized(network, board.target.acc_bits)
        program = tilewright.compile(fixed, board.target, keep=False).program
    except TilewrightError as error:
        print(f"  {error}")
        return None
    return predict_board_cycles(board, program).cycles


def main() -> int:
    """Measure the boards asked for."""
    names = [name for name, board in BOARDS.items() if board.part in PARTS]
    parser = argparse.ArgumentParser(description="Arrays that suit the boards")
    parser.add_argument("--board", action="append", choices=names, help="only this one")
    options = parser.parse_args()
    reason = missing("amaranth_boards", "torch", "qonnx")
    if reason:
        print(f"board_arrays skipped: {reason}")
        return 0
    path = RESULTS / "board_arrays.json"
    boards = json.loads(path.read_text("utf-8"))["boards"] if path.is_file() else {}
    for name in options.board or names:
        boards[name] = measure(BOARDS[name])
        for one in boards[name]:
            print(f"{name} {one['rows']}x{one['cols']}: {one['cycles']}", flush=True)
    save("board_arrays", {"boards": boards})
    return 0


if __name__ == "__main__":
    sys.exit(main())
