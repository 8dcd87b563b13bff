"""How much of the array a convolution uses: measured in RTL, on the default target.

The layer is 64 to 64 channels, 3x3, padding 1, on a map of 28x28; the array 16x16, the bus 8 bytes
wide with 50 cycles of latency. Measured are the CYCLES register (the whole run, from start to
interrupt) and the layer's stamp; useful slots are the layer's multiply-accumulates over cells times
cycles. The memory serves reads and writes side by side, or one beat a cycle in all, like an SDRAM.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from measuring import missing, save

from tilewright.compiler.cycles import MemoryTiming, predict
from tilewright.compiler.lower import compile_network
from tilewright.compiler.target import Target
from tilewright.delivery import hardware_text
from tilewright.graph.ir import Conv, Graph, Input, Layer, Op, Output
from tilewright.quant.reference import run_fixed
from tilewright.sim.memory import MemoryConfig
from tilewright.sim.network import compare_run, simulate
from tilewright.sim.random_layers import fix_randomly, random_inputs
from tilewright.sim.runner import build_simulation
from tilewright.simulation import cache_folder

__all__ = ["LATENCY", "convolution", "measure"]

LATENCY = 50


def convolution(channels: int = 64, size: int = 28) -> Graph:
    """One 3x3 convolution that keeps channels and size, with random weights."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((channels, channels, 3, 3)).astype(np.float32)
    conv = Conv(weight=weight, bias=np.zeros(channels, np.float32), pads=(1, 1, 1, 1))
    shape = (channels, size, size)
    return Graph(
        name="conv",
        inputs=(Input(name="x", shape=shape),),
        layers=(Layer(name="conv", op=Op.CONV, inputs=("x",), conv=conv),),
        outputs=(Output(name="y", tensor="conv", shape=shape),),
    )


def measure(*, shared: bool) -> dict[str, Any]:
    """Cycles measured and predicted, and the share of useful multiply-accumulate slots."""
    target = Target()
    fixed = fix_randomly(convolution(), target, np.random.default_rng(0))
    assert fixed is not None
    program = compile_network(fixed, target)
    inputs = random_inputs(fixed, 1)
    expected = run_fixed(fixed, {name: x[None] for name, x in inputs.items()})
    build = build_simulation(hardware_text(target), target, cache_folder())
    memory = MemoryConfig(read_latency=LATENCY, write_latency=LATENCY, shared=shared)
    with tempfile.TemporaryDirectory() as folder:
        run = simulate(build, program, [inputs], work_dir=Path(folder), memory=memory)[0]
    timing = MemoryTiming(latency=LATENCY, write_latency=LATENCY, shared=shared)
    useful = fixed.graph.macs(fixed.graph.layers[0]) / (target.rows * target.cols)
    return {
        "mismatches": sum(
            m.count for m in compare_run(program, run, {"conv": expected["conv"][0]})
        ),
        "values": expected["conv"].size,
        "cycles_measured": run.cycles,
        "cycles_predicted": predict(program, timing).cycles,
        "layer_cycles_measured": run.stamps[0][0],
        "useful_cycles": useful,
        "utilization": round(useful / run.cycles, 4),
        "layer_utilization": round(useful / run.stamps[0][0], 4),
    }


def main() -> int:
    """Measure both memories; 1 if RTL and reference differ."""
    reason = missing("cocotb", "verilator")
    if reason:
        print(f"conv_utilization skipped: {reason}")
        return 0
    found = {
        "read_write_apart": measure(shared=False),
        "read_write_shared": measure(shared=True),
    }
    path = save("conv_utilization", {"latency": LATENCY, "result": found}, ("cocotb", "verilator"))
    print(path.read_text("utf-8"), end="")
    return int(any(one["mismatches"] for one in found.values()))


if __name__ == "__main__":
    sys.exit(main())
