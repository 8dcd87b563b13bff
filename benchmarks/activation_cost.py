"""What an own activation costs behind the array, and its clock: the functions of docs/activations.md.

One lane of the post-processing is synthesized for ECP5, then placed and routed alone at the clock for which
its registers are placed: 100 MHz with own activations, without them 63, and 92 on targets with edge
registers. Alone it is as fast as the part and the placer make it; inside an accelerator routing
across the die decides.

    python benchmarks/activation_cost.py

Writes results/activation_cost.json.
"""

from __future__ import annotations

import json
import re
import runpy
import sys
import tempfile
from pathlib import Path
from typing import Any

from fpga import PACKAGE, SYNTHESIS, route, synthesize_verilog
from measuring import missing, save

from tilewright.compiler.target import Target
from tilewright.hw.postprocess import PostProcess, period
from tilewright.hw.verilog import component_verilog

PAGE = Path(__file__).parents[1] / "docs" / "activations.md"
SEEDS = (1, 2, 3)
CASES = (((), 0), ((), 1), (("hard_swish",), 0), (("gelu",), 0), (("hard_swish", "gelu"), 0))
"""Activations, and edge registers."""


def register_functions(folder: Path) -> None:
    """Run the page's own code, which registers its functions."""
    text = PAGE.read_text("utf-8")
    (block,) = re.findall(r'```python title="activations.py"\n(.*?)```', text, re.DOTALL)
    script = folder / "activations.py"
    script.write_text(block, "utf-8")
    runpy.run_path(str(script))


def measure(activations: tuple[str, ...], edge_registers: int) -> dict[str, Any]:
    """Cycles, cells and clock of one lane with these activations."""
    target = Target(rows=1, cols=1, activations=activations, edge_registers=edge_registers)
    unit = PostProcess(target)
    asked = 1000 / period(target)
    with tempfile.TemporaryDirectory() as folder:
        text = component_verilog(unit, name="lane", prefix="lane")
        netlist = synthesize_verilog(text, "lane", Path(folder))
        routes = [route(netlist, mhz=asked, seed=seed) for seed in SEEDS]
    found = max(routes, key=lambda route: route.fmax_mhz)
    result = {
        "activations": list(activations),
        "edge_registers": edge_registers,
        "asked_mhz": round(asked, 1),
        "cycles": unit.latency,
        "fmax_mhz": found.fmax_mhz,
        "fmax_of_seeds": [route.fmax_mhz for route in routes],
        "lut": found.used.get("TRELLIS_COMB", 0),
        "ff": found.used.get("TRELLIS_FF", 0),
        "dsp": found.used.get("MULT18X18D", 0),
        "critical_path": found.critical,
    }
    print(json.dumps(result), flush=True)
    return result


def main() -> int:
    """Measure every case."""
    reason = missing(PACKAGE.replace("-", "_"), "pyosys", "torch")
    if reason:
        print(f"activation_cost skipped: {reason}")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        register_functions(Path(folder))
        lanes = [measure(*case) for case in CASES]
    content = {"synthesis": SYNTHESIS, "lanes": lanes}
    save("activation_cost", content, ("amaranth", "pyosys", PACKAGE))
    return 0


if __name__ == "__main__":
    sys.exit(main())
