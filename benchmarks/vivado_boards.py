"""What Yosys makes of the accelerators of the boards that need Vivado.

`synth_xilinx` for 7-series on the Verilog of each board's project (with an oscillator: the whole core
with memory and link; beside a processor: the accelerator). Vivado, which places it, is not on PyPI and
was not run. DSP48E1 whose partial sum comes from the one before over the cascade (PCIN) are counted.
Results go to results/vivado_boards.json.

    python benchmarks/vivado_boards.py                          # all; the ZC706's takes long
    python benchmarks/vivado_boards.py --board arty-a7-35       # the others' records stay
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from measuring import RESULTS, missing, save

from tilewright.boards.soc import CORE
from tilewright.boards.tools import run_tool
from tilewright.boards.vivado.boards import VIVADO_BOARDS, VivadoBoard
from tilewright.boards.vivado.project import write_project
from tilewright.hw.verilog import top_name

__all__ = ["measure"]

AVAILABLE = {
    "arty-a7-35": {"lut": 20_800, "ff": 41_600, "dsp": 90, "bram": 50},
    "arty-z7-20": {"lut": 53_200, "ff": 106_400, "dsp": 220, "bram": 140},
    "zc706": {"lut": 218_600, "ff": 437_200, "dsp": 900, "bram": 545},
}
"""By AMD's product tables; block RAMs of 36 kbit."""

COUNTED = ("lut", "ff", "dsp", "bram")
CELLS = {
    **{f"LUT{n}": ("lut", 1) for n in range(1, 7)},
    # The LUTs of a slice that are memory or shift registers.
    "RAM32M": ("lut", 4),
    "RAM64M": ("lut", 4),
    "RAM32X1D": ("lut", 2),
    "RAM64X1D": ("lut", 2),
    "RAM128X1D": ("lut", 4),
    "SRL16E": ("lut", 1),
    "SRLC32E": ("lut", 1),
    **{f"FD{kind}E": ("ff", 1) for kind in ("R", "S", "C", "P")},
    "DSP48E1": ("dsp", 1),
    "RAMB36E1": ("bram", 1),
    "RAMB18E1": ("bram", 0.5),
}


def measure(board: VivadoBoard) -> dict[str, Any]:
    """Synthesize a board's Verilog and count."""
    system = board.board_part is not None
    source = "rtl/accelerator.v" if system else "rtl/core.v"
    top = top_name(board.target) if system else CORE
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_project(board, folder)
        script = (
            f"read_verilog {source}\n"
            f"synth_xilinx -family xc7 -flatten -noiopad -noclkbuf -top {top}\n"
            "write_json netlist.json\n"
        )
        (folder / "synth.ys").write_text(script, "utf-8")
        done = run_tool(["yosys", "-q", "-l", "synth.rpt", "synth.ys"], folder)
        if done.returncode:
            raise RuntimeError(f"yosys failed: {(done.stdout + done.stderr)[-2000:]}")
        cells = json.loads((folder / "netlist.json").read_text("utf-8"))["modules"][top]["cells"]
    counts: dict[str, float] = dict.fromkeys(COUNTED, 0)
    for cell in cells.values():
        if cell["type"] in CELLS:
            what, number = CELLS[cell["type"]]
            counts[what] += number
    return {
        "board": board.name,
        "part": board.part,
        "whole_core": not system,
        "rows": board.target.rows,
        "cols": board.target.cols,
        **counts,
        "available": AVAILABLE[board.name],
        "cascaded": _cascaded(cells),
        "seconds": round(time.monotonic() - started, 1),
    }


def _cascaded(cells: Mapping[str, Any]) -> int:
    """DSP48E1 whose PCIN is another's PCOUT, and is added (the Z multiplexer takes it)."""
    blocks = [cell for cell in cells.values() if cell["type"] == "DSP48E1"]
    outputs = {tuple(cell["connections"].get("PCOUT", ())) for cell in blocks}
    found = 0
    for cell in blocks:
        inputs = tuple(cell["connections"].get("PCIN", ()))
        if inputs and inputs in outputs and cell["connections"]["OPMODE"][4:7] == ["1", "0", "0"]:
            found += 1
    return found


def main() -> int:
    """Measure the boards asked for."""
    parser = argparse.ArgumentParser(description="Boards that need Vivado, by Yosys")
    parser.add_argument("--board", action="append", choices=VIVADO_BOARDS, help="only this one")
    options = parser.parse_args()
    reason = missing("pyosys", "amaranth_boards")
    if reason:
        print(f"vivado_boards skipped: {reason}")
        return 0
    path = RESULTS / "vivado_boards.json"
    boards = json.loads(path.read_text("utf-8"))["boards"] if path.is_file() else {}
    for name in options.board or list(VIVADO_BOARDS):
        boards[name] = measure(VIVADO_BOARDS[name])
        print({k: v for k, v in boards[name].items() if k != "available"}, flush=True)
        save("vivado_boards", {"boards": boards}, ("pyosys", "amaranth"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
