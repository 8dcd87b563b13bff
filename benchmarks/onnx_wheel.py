"""The ImageNet-size graphs inside the onnx package: each compiles, or is refused with a full list.

Their weights are constants, so only the road is measured, not accuracy: import (and comparison with
ONNX Runtime), quantization on two random images at 8 bits, compilation for the default target. Each
graph runs in a process of its own, so that peak memory is its own.

    python benchmarks/onnx_wheel.py              # all of them
    python benchmarks/onnx_wheel.py squeezenet   # those whose name holds the word
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from measuring import Stopwatch, peak_mb, save

import tilewright
from tilewright.graph.check import check_model
from tilewright.quant.config import QuantConfig

__all__ = ["graphs", "measure"]

IMAGES = 2


def graphs() -> dict[str, Path]:
    """Graphs of the onnx package by name."""
    spec = importlib.util.find_spec("onnx")
    assert spec is not None and spec.origin is not None
    folder = Path(spec.origin).parent / "backend" / "test" / "data" / "light"
    return {path.stem.removeprefix("light_"): path for path in sorted(folder.glob("*.onnx"))}


def measure(path: Path) -> dict[str, Any]:
    """The road of one graph, or what it is refused for."""
    watch, target = Stopwatch(), tilewright.Target()
    with watch.step("check"):
        findings = check_model(path)
    if findings:
        return {
            "outcome": "refused",
            "missing": [str(finding) for finding in findings],
            "steps": watch.steps,
            "seconds": watch.seconds,
            "peak_mb": round(peak_mb()),
        }
    with watch.step("import"):
        graph = tilewright.load(path)
    rng = np.random.default_rng(0)
    images = {
        spec.name: rng.standard_normal((IMAGES, *spec.shape)).astype(np.float32)
        for spec in graph.inputs
    }
    with watch.step("quantize"):
        # The default accumulators are 32 bits wide; quantization makes every layer fit.
        config = QuantConfig(acc_bits=target.acc_bits)
        fixed = tilewright.quantize(graph, images, config=config).fixed
    with watch.step("compile"):
        program = tilewright.compile(fixed, target, keep=False).program
    return {
        "outcome": "compiled",
        "layers": len(program.regions),
        "macs": sum(region.macs for region in program.regions),
        "slots": sum(region.slots for region in program.regions),
        "instructions": program.count,
        "memory_bytes": program.memory_bytes,
        "steps": watch.steps,
        "seconds": watch.seconds,
        "peak_mb": round(peak_mb()),
    }


def _measure_apart(path: Path) -> dict[str, Any]:
    """`measure` in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--graph", str(path)], stdout=subprocess.PIPE, check=False
    )
    if done.returncode:
        return {"outcome": "failed", "exit_code": done.returncode}
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> int:
    """Measure all graphs; 1 if one neither compiled nor was refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("word", nargs="?", default="", help="only graphs whose name holds it")
    parser.add_argument("--graph", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.graph is not None:
        print(json.dumps(measure(options.graph)))
        return 0
    found = {}
    for name, path in graphs().items():
        if options.word in name:
            found[name] = _measure_apart(path)
            print(name, json.dumps(found[name]), flush=True)
    if not options.word:
        packages = ("onnx", "onnxruntime", "torch", "numpy")
        save("onnx_wheel", {"images": IMAGES, "graphs": found}, packages)
    return int(any(one["outcome"] == "failed" for one in found.values()))


if __name__ == "__main__":
    sys.exit(main())
