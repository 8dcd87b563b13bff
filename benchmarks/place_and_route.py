"""The clock of whole accelerators on a Lattice ECP5-85F, speed grade 6, placed and routed.

Array, buffers, DMA, post-processing, controller and bus in a harness of four pins (fpga.py); Yosys
and nextpnr both come from PyPI. Seeds are tried until the timing is met at the clock asked for;
where none meets it, the best is written and the exit code is 1. The clock is what nextpnr reports
after routing, and what a multiplier is worth its peak: two operations a cycle for each cell of the
array, over all the multiplier blocks that the accelerator has.

    python benchmarks/place_and_route.py
    python benchmarks/place_and_route.py --array 8x8 --seeds 2   # the other array's record stays
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fpga import CASE, MAPPING, PACKAGE, PART, SPEED, SYNTHESIS, Route, route, synthesize
from measuring import RESULTS, missing, save

from tilewright.boards.output_registers import SOFT_CONTROLS
from tilewright.compiler.target import Target
from tilewright.outputs import to_json

__all__ = ["GOALS", "measure"]

OPTIONS = ("--placer", "static", "--tmg-ripup")
"""nextpnr's placer that moves all cells at once, and its router that goes on until slow wires are fast.

Wires of the 12x12 are a quarter shorter than with the default placer (403,000 to 304,000 after
placement), and refining them takes half the time. Of the 8x8's placements two reach 121 and 109 MHz
by default, and 131 and 132 with the router told so.
"""
MARGIN_MHZ = 1.5
"""How much more than the goal nextpnr is asked for (fpga.route)."""
CLOCK_SITE = "G2"
"""A pin next to the clock network: the ULX3S has its oscillator there."""
ECP5 = Target(
    name="ecp5-8x8",
    rows=8,
    cols=8,
    act_depth=4096,
    acc_depth=512,
    bus_bytes=8,
    multiplier="ecp5",
    multiplier_stages=4,
    edge_registers=2,
    leaky=False,
)
"""Without LeakyReLU, whose slope would take a multiplier block for each column.

Enables and resets are look-up tables (SOFT_CONTROLS): what a register's are wired to has few ways
into a tile, and hundreds of loads.
"""
GOALS = (
    (ECP5, 130.0, (3, 2, 1)),
    (dataclasses.replace(ECP5, name="ecp5-12x12", rows=12, cols=12), 110.0, (2, 3, 1)),
)
"""Accelerators, the clock that each must meet in MHz, and seeds: the last record's first."""


def attempts(netlist: Path, mhz: float, seeds: Iterable[int]) -> Iterator[Route]:
    """One seed after the other, until one meets the clock."""
    for seed in seeds:
        found = route(
            netlist,
            mhz=mhz,
            seed=seed,
            margin_mhz=MARGIN_MHZ,
            options=OPTIONS,
            clock_site=CLOCK_SITE,
        )
        print(f"  seed {seed}: {found.fmax_mhz:g} MHz; {found.critical}", flush=True)
        yield found
        if found.met:
            return


def measure(target: Target, mhz: float, seeds: Iterable[int]) -> dict[str, Any]:
    """The record of one accelerator: its best seed."""
    with tempfile.TemporaryDirectory() as folder:
        tried = list(attempts(synthesize(target, Path(folder), soft_controls=True), mhz, seeds))
    best = max(tried, key=lambda one: (one.met, one.fmax_mhz))
    blocks = best.used["MULT18X18D"]
    return {
        "part": f"LFE5U-{PART.upper()[:2]}F-{SPEED}",
        "rows": target.rows,
        "cols": target.cols,
        "target_mhz": mhz,
        "fmax_mhz": best.fmax_mhz,
        "met": best.met,
        "lut": best.used["TRELLIS_COMB"],
        "ff": best.used["TRELLIS_FF"],
        "dsp": blocks,
        "bram": best.used["DP16KD"],
        "gops_per_dsp": round(2 * target.rows * target.cols * best.fmax_mhz / blocks / 1000, 3),
        "seed": best.seed,
        "seeds": [one.seed for one in tried],
        "fmax_of_seeds": [one.fmax_mhz for one in tried],
        "critical_path": best.critical,
        "seconds": best.seconds,
    }


def main() -> int:
    """Measure what is asked for; 1 if a clock is not met."""
    goals = {f"{goal[0].rows}x{goal[0].cols}": goal for goal in GOALS}
    parser = argparse.ArgumentParser(description="Clock of whole accelerators on an ECP5-85F")
    parser.add_argument("--array", action="append", choices=goals, help="only this one")
    parser.add_argument("--seeds", type=int, nargs="+", help="tried in this order")
    options = parser.parse_args()
    reason = missing("pyosys", PACKAGE.replace("-", "_"))
    if reason:
        print(f"place_and_route skipped: {reason}")
        return 0
    met = True
    for name in options.array or list(goals):
        target, mhz, seeds = goals[name]
        print(f"{name}, {mhz:g} MHz asked", flush=True)
        record = measure(target, mhz, options.seeds or seeds)
        _save(target, record)
        met &= record["met"]
    return int(not met)


def _save(target: Target, record: dict[str, Any]) -> None:
    """Put the record into the results in the place of its array's, and beside it how it was made."""
    path = RESULTS / "place_and_route.json"
    records = json.loads(path.read_text("utf-8")) if path.is_file() else []
    others = [one for one in records if one["rows"] != record["rows"]]
    path.write_text(to_json(sorted([*others, record], key=lambda one: one["rows"])), "utf-8")
    context = {
        "yosys": [SYNTHESIS, *SOFT_CONTROLS, *MAPPING],
        "nextpnr": f"--{PART} --speed {SPEED} --package {CASE} --router router2 "
        "--freq target_mhz+margin_mhz " + " ".join(OPTIONS),
        "margin_mhz": MARGIN_MHZ,
        "clock_site": CLOCK_SITE,
        "target": dataclasses.asdict(target),
    }
    save(f"place_and_route/{target.name}", context, ("pyosys", PACKAGE))


if __name__ == "__main__":
    sys.exit(main())
