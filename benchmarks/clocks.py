"""Clocks that nextpnr reaches with accelerators of several sizes, and the clock model fitted to them.

Each is placed and routed for an ECP5-85F in a harness of four pins (fpga.py), with one seed. The model
is fitted to these and to the records of place_and_route.py and boards.py: a period that grows with the
logarithm of the cells. Seeds alone differ by several percent, and few points are all there is.

    python benchmarks/clocks.py                 # route what is missing, fit, write the model
    python benchmarks/clocks.py --array 2x2     # route this one again
    python benchmarks/clocks.py --fit           # fit to the records that there are
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from fpga import PACKAGE, route, synthesize
from measuring import RESULTS, missing, save

from tilewright.boards.registry import BOARDS
from tilewright.outputs import to_json
from tilewright.sweep.resources import clock_features

TARGET = BOARDS["ulx3s-85f"].target
ARRAYS = ((2, 2), (2, 4), (4, 2), (4, 4), (4, 8))
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


def records() -> list[dict[str, Any]]:
    """Every record of a routed ECP5: where from, rows, columns, MHz."""
    found = []
    for name in ("clocks", "place_and_route", "boards"):
        path = RESULTS / f"{name}.json"
        content = json.loads(path.read_text("utf-8")) if path.is_file() else []
        rows = content["routes"] if isinstance(content, dict) else content
        found += [
            {"from": name, "rows": r["rows"], "cols": r["cols"], "fmax_mhz": r["fmax_mhz"]}
            for r in rows
            if "part" not in r or r["part"].startswith("LFE5U")
        ]
    return found


def fit(points: list[dict[str, Any]]) -> list[float]:
    """Coefficients of the period in nanoseconds: least squares of relative errors."""
    table = np.array([clock_features(p["rows"], p["cols"]) for p in points])
    periods = np.array([1000 / p["fmax_mhz"] for p in points])
    solved = np.linalg.lstsq(table / periods[:, None], np.ones(len(points)), rcond=None)[0]
    return [float(f"{value:.6g}") for value in solved]


def errors(points: list[dict[str, Any]]) -> dict[str, float]:
    """Median and worst relative error of each point's clock by a model fitted to the others."""
    wrong = []
    for i, point in enumerate(points):
        model = fit(points[:i] + points[i + 1 :])
        period = float(np.dot(model, clock_features(point["rows"], point["cols"])))
        wrong.append(abs(1000 / period / point["fmax_mhz"] - 1))
    return {"median": round(statistics.median(wrong), 4), "worst": round(max(wrong), 4)}


def main() -> int:
    """Route what is asked for, and fit."""
    parser = argparse.ArgumentParser(description="Clocks of accelerators, and their model")
    parser.add_argument("--array", action="append", metavar="ROWSxCOLS", help="only this one")
    parser.add_argument("--fit", action="store_true", help="route nothing")
    options = parser.parse_args()
    reason = missing("pyosys", PACKAGE.replace("-", "_"))
    if reason and not options.fit:
        print(f"clocks skipped: {reason}")
        return 0
    path = RESULTS / "clocks.json"
    routes = json.loads(path.read_text("utf-8"))["routes"] if path.is_file() else []
    known = {(r["rows"], r["cols"]) for r in routes}
    wanted = [a for a in ARRAYS if a not in known]
    if options.array:
        wanted = [(int(r), int(c)) for r, c in (text.split("x") for text in options.array)]
    for rows, cols in () if options.fit else wanted:
        others = [r for r in routes if (r["rows"], r["cols"]) != (rows, cols)]
        routes = sorted([*others, measure(rows, cols)], key=lambda r: (r["rows"], r["cols"]))
        _save(routes)
    points = records()
    summary = {"period_ns": fit(points), "points": points, "left_out": errors(points)}
    print(json.dumps(summary, indent=2))
    MODEL.write_text(to_json(summary), "utf-8")
    return 0


def _save(routes: list[dict[str, Any]]) -> None:
    target = dataclasses.asdict(TARGET)
    save(
        "clocks", {"routes": routes, "asked_mhz": ASKED_MHZ, "target": target}, ("pyosys", PACKAGE)
    )


if __name__ == "__main__":
    sys.exit(main())
