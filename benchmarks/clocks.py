"""Clocks that nextpnr reaches with accelerators of several sizes, and the clock model fitted to them.

Each is placed and routed for an ECP5-85F with one seed: alone in a harness of four pins (fpga.py), or in
the ULX3S's whole design. The model is fitted to these and to the records of boards.py: a period that
grows with the logarithm of the cells, and is longer on a board, where the link and the memory
controller have the slowest paths. Seeds alone differ by several percent, and few points are
all there is.

    python benchmarks/clocks.py                           # route what is missing, fit, write the model
    python benchmarks/clocks.py --array 2x2               # route this one again
    python benchmarks/clocks.py --array 2x2 --on-board    # ... on the board
    python benchmarks/clocks.py --fit                     # fit to the records that there are
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from fpga import PACKAGE, route, synthesize
from measuring import RESULTS, missing, save

from tilewright.boards.flow import build_bitstream
from tilewright.boards.registry import BOARDS
from tilewright.outputs import to_json
from tilewright.sweep.resources import clock_features

BOARD = BOARDS["ulx3s-85f"]
TARGET = BOARD.target
ARRAYS = ((2, 2), (2, 4), (4, 2), (4, 4), (4, 8), (8, 8))
ON_BOARD = ((2, 2), (4, 8))
ASKED_MHZ = 80.0
MODEL = Path(__file__).parents[1] / "src" / "tilewright" / "sweep" / "clock.json"


def measure(rows: int, cols: int) -> dict[str, Any]:
    """Place and route one array with the other parameters of the ULX3S's accelerator."""
    target = dataclasses.replace(TARGET, rows=rows, cols=cols)
    with tempfile.TemporaryDirectory() as folder:
        found = route(synthesize(target, Path(folder)), mhz=ASKED_MHZ, seed=1)
    print(f"{rows}x{cols}: {found.fmax_mhz:g} MHz; {found.critical}", flush=True)
    return {
        "rows": rows,
        "cols": cols,
        "fmax_mhz": found.fmax_mhz,
        "critical_path": found.critical,
        "seconds": found.seconds,
    }


def measure_board(rows: int, cols: int) -> dict[str, Any]:
    """Build the board's whole design with another array, for the board's own clock."""
    board = dataclasses.replace(BOARD, target=dataclasses.replace(TARGET, rows=rows, cols=cols))
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = build_bitstream(board, Path(folder)).route
    print(f"{rows}x{cols} on {board.name}: {found.fmax_mhz:g} MHz; {found.path}", flush=True)
    return {
        "board": board.name,
        "rows": rows,
        "cols": cols,
        "asked_mhz": TARGET.clock_mhz,
        "fmax_mhz": found.fmax_mhz,
        "critical_path": found.path,
        "seconds": round(time.monotonic() - start, 1),
    }


def records() -> list[dict[str, Any]]:
    """Every record of a routed ECP5: where from, board, rows, columns, MHz.

    Those of place_and_route.py are left out: it asks Yosys and nextpnr for more than a board's build does.
    """
    found = []
    for name in ("clocks", "boards"):
        path = RESULTS / f"{name}.json"
        content = json.loads(path.read_text("utf-8")) if path.is_file() else []
        rows = content["routes"] if isinstance(content, dict) else content
        found += [
            {"from": name, "board": r.get("board"), "rows": r["rows"], "cols": r["cols"],
             "fmax_mhz": r["fmax_mhz"]}
            for r in rows
            if "part" not in r or r["part"].startswith("LFE5U")
        ]  # fmt: skip
    return found


def _features(point: dict[str, Any]) -> tuple[float, ...]:
    return clock_features(point["rows"], point["cols"], on_board=point["board"] is not None)


def fit(points: list[dict[str, Any]]) -> list[float]:
    """Coefficients of the period in nanoseconds: least squares of relative errors."""
    table = np.array([_features(p) for p in points])
    periods = np.array([1000 / p["fmax_mhz"] for p in points])
    solved = np.linalg.lstsq(table / periods[:, None], np.ones(len(points)), rcond=None)[0]
    return [float(f"{value:.6g}") for value in solved]


def errors(points: list[dict[str, Any]]) -> dict[str, float]:
    """Median and worst relative error of each point's clock by a model fitted to the others."""
    wrong = []
    for i, point in enumerate(points):
        model = fit(points[:i] + points[i + 1 :])
        period = float(np.dot(model, _features(point)))
        wrong.append(abs(1000 / period / point["fmax_mhz"] - 1))
    return {"median": round(statistics.median(wrong), 4), "worst": round(max(wrong), 4)}


def main() -> int:
    """Route what is asked for, and fit."""
    parser = argparse.ArgumentParser(description="Clocks of accelerators, and their model")
    parser.add_argument("--array", action="append", metavar="ROWSxCOLS", help="only this one")
    parser.add_argument("--on-board", action="store_true", help="in the board's whole design")
    parser.add_argument("--fit", action="store_true", help="route nothing")
    options = parser.parse_args()
    reason = missing("pyosys", PACKAGE.replace("-", "_"))
    if reason and not options.fit:
        print(f"clocks skipped: {reason}")
        return 0
    path = RESULTS / "clocks.json"
    routes = json.loads(path.read_text("utf-8"))["routes"] if path.is_file() else []
    known = {_place(route) for route in routes}
    wanted = [("", *a) for a in ARRAYS] + [(BOARD.name, *a) for a in ON_BOARD]
    wanted = [place for place in wanted if place not in known]
    if options.array:
        sizes = [text.split("x") for text in options.array]
        wanted = [(BOARD.name * options.on_board, int(r), int(c)) for r, c in sizes]
    for place in () if options.fit else wanted:
        board, rows, cols = place
        others = [route for route in routes if _place(route) != place]
        found = measure_board(rows, cols) if board else measure(rows, cols)
        routes = sorted([*others, found], key=_place)
        _save(routes)
    points = records()
    summary = {"period_ns": fit(points), "points": points, "left_out": errors(points)}
    print(json.dumps(summary, indent=2))
    MODEL.write_text(to_json(summary), "utf-8")
    return 0


def _place(route: dict[str, Any]) -> tuple[str, int, int]:
    """What was routed: on which board, if on one, and the array."""
    return route.get("board", ""), route["rows"], route["cols"]


def _save(routes: list[dict[str, Any]]) -> None:
    target = dataclasses.asdict(TARGET)
    save(
        "clocks", {"routes": routes, "asked_mhz": ASKED_MHZ, "target": target}, ("pyosys", PACKAGE)
    )


if __name__ == "__main__":
    sys.exit(main())
