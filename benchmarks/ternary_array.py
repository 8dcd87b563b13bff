"""The array that multiplies nothing: look-up tables a cell, what fits an UP5K, and a layer in RTL.

    python benchmarks/ternary_array.py [arrays] [accelerators] [rtl]

Without a word, all three. Writes results/ternary_arrays.json and so on.

- *arrays*: SystolicArray alone, by Yosys for ECP5 and iCE40, ternary with and without scales, and as
  a comparison with 8-bit multipliers made of look-up tables. LUTs are counted as nextpnr places them
  (two for a carry cell of ECP5). For iCE40 also the logic cells into which nextpnr packs LUTs,
  flip-flops and carries, against the 5,280 of an UP5K. Its 8 DSP blocks multiply 16 pairs of 8 bits
  a cycle; an array does R x C.
- *accelerators*: the same counts of two whole accelerators for small parts, 2x2 with the UP5K's
  multipliers and 8x2 without any.
- *rtl*: one 3x3 convolution, 32 to 32 channels on 14x14, its weights of three values a channel, on an
  8x4 array of 8-bit multipliers and on an 8x4 ternary one with 8-bit scales: cycles, bytes of weights
  and differences from the integer reference.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from conv_utilization import convolution
from measuring import save

from tilewright.boards.tools import run_tool
from tilewright.compiler.bounds import layer_traffic
from tilewright.compiler.cycles import MemoryTiming, predict
from tilewright.compiler.lower import compile_network
from tilewright.compiler.target import Target
from tilewright.delivery import hardware_text
from tilewright.hw.array import SystolicArray
from tilewright.hw.verilog import component_verilog, top_name
from tilewright.quant.fixed import FixedGraph
from tilewright.quant.reference import run_fixed
from tilewright.sim.memory import MemoryConfig
from tilewright.sim.network import compare_run, simulate
from tilewright.sim.random_layers import fix_randomly, random_inputs
from tilewright.sim.runner import build_simulation
from tilewright.simulation import cache_folder

__all__ = ["main", "synthesize"]

PARTS = ("arrays", "accelerators", "rtl")
UP5K_CELLS, UP5K_DSP_MACS = 5280, 16
LATENCY = 100

MULTIPLIERS = Target(rows=8, cols=8)
SCALES = replace(MULTIPLIERS, ternary=True, multiplier_stages=0)
NO_SCALES = replace(SCALES, weight_bits=2)
SMALL = Target(
    rows=2,
    cols=2,
    act_depth=256,
    acc_depth=64,
    acc_bits=22,
    bus_bytes=2,
    leaky=False,
    counters=False,
    pack_pixels=1,
    address_bits=17,
    unit_queue=1,
    bursts=False,
    burst_beats=1,
    multiplier="ice40",
)
"""An accelerator that an UP5K takes, with its memory and link."""

_FLOWS = {
    "ecp5": "synth_ecp5 -no-rw-check",
    "ecp5 without blocks": "synth_ecp5 -no-rw-check -nodsp",
    "ice40": "synth_ice40",
}
_CELLS = {
    "LUT4": ("lut", 1),
    "CCU2C": ("lut", 2),
    "TRELLIS_DPR16X4": ("lut", 4),
    "TRELLIS_FF": ("ff", 1),
    "MULT18X18D": ("dsp", 1),
    "DP16KD": ("bram", 1),
    "SB_LUT4": ("lut", 1),
    "SB_MAC16": ("dsp", 1),
    "SB_RAM40_4K": ("bram", 1),
}
_YOSYS = """
import sys
from pyosys import libyosys
design = libyosys.Design()
for command in sys.argv[1:]:
    libyosys.run_pass(command, design)
"""


def synthesize(verilog: str, top: str, flow: str) -> dict[str, int]:
    """LUTs, flip-flops, DSP blocks and block RAMs; for iCE40 also logic cells as nextpnr packs them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "design.v").write_text(verilog, "utf-8")
        commands = [
            f"read_verilog {folder}/design.v",
            f"{_FLOWS[flow]} -top {top} -json {folder}/netlist.json",
            f"tee -q -o {folder}/cells.json stat -json",
        ]
        subprocess.run([sys.executable, "-c", _YOSYS, *commands], check=True, capture_output=True)
        found = json.loads((folder / "cells.json").read_text())["design"]["num_cells_by_type"]
        counts = {"lut": 0, "ff": 0, "dsp": 0, "bram": 0}
        for cell, number in found.items():
            kind, many = ("ff", 1) if cell.startswith("SB_DFF") else _CELLS.get(cell, ("", 0))
            if many:
                counts[kind] += many * number
        if flow == "ice40":
            counts["logic_cells"] = _packed(folder)
    return counts


def _packed(folder: Path) -> int:
    """Logic cells of folder/netlist.json on an UP5K."""
    command = [
        "nextpnr-ice40",
        "--up5k",
        "--package",
        "sg48",
        "--pack-only",
        "--json",
        "netlist.json",
    ]
    done = run_tool(command, folder)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "ICESTORM_LC:" in line]
    if not lines:
        raise RuntimeError(f"nextpnr-ice40 failed: {(done.stdout + done.stderr)[-2000:]}")
    return int(lines[-1].split("ICESTORM_LC:")[1].split("/")[0])


def arrays() -> list[dict[str, Any]]:
    """Arrays alone."""
    designs = [
        ("ecp5 without blocks", replace(MULTIPLIERS, rows=4, cols=4)),
        ("ice40", replace(MULTIPLIERS, rows=4, cols=4)),
        ("ecp5", replace(NO_SCALES, multiplier_stages=1)),
        ("ecp5", replace(SCALES, multiplier_stages=1)),
        ("ecp5", replace(SCALES, multiplier_stages=1, rows=16, cols=16)),
        ("ice40", NO_SCALES),
        ("ice40", replace(NO_SCALES, rows=16)),
        ("ice40", replace(SCALES, weight_bits=4)),
        ("ice40", SCALES),
        ("ice40", replace(SCALES, rows=16, cols=6)),
    ]
    rows = []
    for flow, target in designs:
        verilog = component_verilog(SystolicArray(target), name="array", prefix="array")
        counts = synthesize(verilog, "array", flow)
        cells = target.rows * target.cols
        rows.append(
            {
                **_described(flow, target),
                **counts,
                "lut_per_cell": round(counts["lut"] / cells, 1),
                "macs_per_cycle": cells,
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def _described(flow: str, target: Target) -> dict[str, Any]:
    names = ("rows", "cols", "ternary", "weight_bits", "multiplier", "multiplier_stages")
    return {"flow": flow, **{name: getattr(target, name) for name in names}}


def accelerators() -> list[dict[str, Any]]:
    """Whole ones for small parts."""
    ternary = replace(SMALL, multiplier="generic", ternary=True, weight_bits=2, multiplier_stages=0)
    designs = [
        ("ice40", SMALL),
        ("ice40", replace(ternary, rows=8)),
    ]
    rows = []
    for flow, target in designs:
        counts = synthesize(hardware_text(target), top_name(target), flow)
        rows.append(
            {
                **_described(flow, target),
                **counts,
                "macs_per_cycle": target.rows * target.cols,
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def _layer() -> FixedGraph:
    """The convolution, its weights of three values of up to 8 bits in each channel."""
    for seed in range(100):
        fixed = fix_randomly(convolution(32, 14), SCALES, np.random.default_rng(seed))
        if fixed is not None and fixed.layers[0].weight_bits == 8:
            return fixed
    raise AssertionError("no random layer has weights of 8 bits")


def rtl() -> list[dict[str, Any]]:
    """The convolution on both arrays."""
    fixed = _layer()
    inputs = random_inputs(fixed, 1)
    values = {"conv": run_fixed(fixed, {name: x[None] for name, x in inputs.items()})["conv"][0]}
    memory = MemoryConfig(read_latency=LATENCY, write_latency=LATENCY)
    timing = MemoryTiming(latency=LATENCY, write_latency=LATENCY)
    rows = []
    for target in (replace(MULTIPLIERS, cols=4), replace(SCALES, cols=4)):
        program = compile_network(fixed, target)
        build = build_simulation(hardware_text(target), target, cache_folder())
        with tempfile.TemporaryDirectory() as folder:
            run = simulate(build, program, [inputs], work_dir=Path(folder), memory=memory)[0]
        (traffic,) = layer_traffic(program)
        rows.append(
            {
                **_described("", target),
                "cycles": run.cycles,
                "cycles_predicted": predict(program, timing).cycles,
                "weight_bytes": traffic.weights * target.bus_bytes,
                "macs": traffic.macs,
                "values": values["conv"].size,
                "mismatches": sum(m.count for m in compare_run(program, run, values)),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> int:
    """Measure what the command line names; 1 if a DSP block is in a ternary array or a value differs."""
    chosen = sys.argv[1:] or list(PARTS)
    unknown = sorted(set(chosen) - set(PARTS))
    if unknown:
        print(f"ternary_array: no part {unknown[0]!r}; there are {', '.join(PARTS)}")
        return 2
    makers = {"arrays": arrays, "accelerators": accelerators, "rtl": rtl}
    up5k = {"logic_cells": UP5K_CELLS, "dsp_macs_per_cycle": UP5K_DSP_MACS}
    good = True
    for name in chosen:
        rows = makers[name]()
        about = {"latency": LATENCY} if name == "rtl" else {"up5k": up5k}
        save(f"ternary_{name}", {**about, "designs": rows}, ("pyosys",))
        ternary = [row for row in rows if row["ternary"]]
        good &= not any(row.get("dsp") or row.get("mismatches") for row in ternary)
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
