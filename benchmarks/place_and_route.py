"""The clock of whole accelerators on a Lattice ECP5-85F, speed grade 6, placed and routed.

Array, buffers, DMA, post-processing, controller and bus in a harness of four pins (fpga.py); Yosys
and nextpnr both come from PyPI. Seeds are tried until the timing is met at the clock asked for;
where none meets it, the best is written and the exit code is 1. The clock is what nextpnr reports
after routing, and what a multiplier is worth its peak: two operations a cycle for each cell of the
array, over all the multiplier blocks that the accelerator has.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fpga import CASE, PACKAGE, PART, SPEED, SYNTHESIS, Route, route, synthesize
from measuring import RESULTS, machine, missing

from tilewright.compiler.target import Target
from tilewright.outputs import to_json

__all__ = ["GOALS", "measure"]

SEEDS = 3
ECP5 = Target(
    name="ecp5-8x8",
    rows=8,
    cols=8,
    act_depth=4096,
    acc_depth=512,
    bus_bytes=8,
    multiplier="ecp5",
    multiplier_stages=4,
    edge_registers=1,
    leaky=False,
)
"""Without LeakyReLU, whose slope would take a multiplier block for each column."""
GOALS = (
    (ECP5, 130.0),
    (dataclasses.replace(ECP5, name="ecp5-12x12", rows=12, cols=12), 110.0),
)
"""Accelerators, and the clock that each must meet in MHz."""


def attempts(netlist: Path, mhz: float) -> Iterator[Route]:
    """One seed after the other, until one meets the clock."""
    for seed in range(1, SEEDS + 1):
        found = route(netlist, mhz=mhz, seed=seed)
        print(f"  seed {seed}: {found.fmax_mhz:g} MHz; {found.critical}", flush=True)
        yield found
        if found.met:
            return


def measure(target: Target, mhz: float) -> dict[str, Any]:
    """The record of one accelerator: its best seed."""
    with tempfile.TemporaryDirectory() as folder:
        tried = list(attempts(synthesize(target, Path(folder)), mhz))
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
        "fmax_of_seeds": [one.fmax_mhz for one in tried],
        "critical_path": best.critical,
        "seconds": best.seconds,
    }


def main() -> int:
    """Measure both; 1 if a clock is not met."""
    reason = missing("pyosys", PACKAGE.replace("-", "_"))
    if reason:
        print(f"place_and_route skipped: {reason}")
        return 0
    records = []
    for target, mhz in GOALS:
        print(f"{target.rows}x{target.cols}, {mhz:g} MHz asked", flush=True)
        records.append(measure(target, mhz))
    (RESULTS / "place_and_route.json").write_text(to_json(records), "utf-8")
    context = {
        "command": "python benchmarks/place_and_route.py",
        "machine": machine(),
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "versions": {
            name: importlib.metadata.version(name) for name in ("tilewright", "pyosys", PACKAGE)
        },
        "yosys": SYNTHESIS,
        "nextpnr": f"--{PART} --speed {SPEED} --package {CASE} --router router2 --freq target_mhz",
        "targets": [dataclasses.asdict(target) for target, _ in GOALS],
    }
    folder = RESULTS / "place_and_route"
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(to_json(context), "utf-8")
    return int(not all(record["met"] for record in records))


if __name__ == "__main__":
    sys.exit(main())
