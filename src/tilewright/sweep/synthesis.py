"""What Yosys makes of an accelerator, counted by unit."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tilewright.boards.board import Board
from tilewright.compiler.target import Target
from tilewright.delivery import hardware_text
from tilewright.outputs import to_json

__all__ = [
    "FAMILIES",
    "RESOURCES",
    "SYNTHESIS",
    "UNITS",
    "Counts",
    "synthesize",
    "synthesize_rest",
    "synthesize_verilog",
    "total",
]

RESOURCES = ("lut", "ff", "dsp", "bram")
Counts = dict[str, dict[str, int]]
"""For each unit: how many of each of RESOURCES."""

FAMILIES: Mapping[str, Mapping[str, tuple[str, int]]] = {
    "ecp5": {
        "LUT4": ("lut", 1),
        "CCU2C": ("lut", 2),
        "TRELLIS_DPR16X4": ("lut", 4),
        "TRELLIS_FF": ("ff", 1),
        "MULT18X18D": ("dsp", 1),
        "DP16KD": ("bram", 1),
    },
}
"""For each family: what a cell counts as, and how often; nextpnr places two LUTs for a carry cell and
four for a distributed RAM."""

SYNTHESIS = {"ecp5": "synth_ecp5 -no-rw-check"}
"""No memory of the accelerator counts on what a read of a word being written gives."""

_YOSYS = """
import sys
from pyosys import libyosys
design = libyosys.Design()
for command in sys.argv[1:]:
    libyosys.run_pass(command, design)
"""
_INDEX = re.compile(r"_?\d+$")
UNITS = (
    *(
        "fetch_unit",
        "load_unit",
        "weights_unit",
        "calc_unit",
        "store_unit",
        "array",
        "banks",
        "rows",
    ),
    *("accumulators", "arbiter", "writer", "control", "engine"),
    *("reader_load", "reader_weights", "reader_params", "reader_fetch"),
)
"""Units whose cells are counted; what is around them belongs to `engine`, what is outside to `control`."""
REST = "rest"
"""What is on a board besides the accelerator."""


def synthesize(target: Target, family: str, cache: Path) -> Counts:
    """Synthesize the accelerator, flattened, and count its cells by unit.

    A cell belongs to the unit of the net that it is named after. What was counted is kept in `cache`
    by the Verilog's content and Yosys's version.

    Raises
    ------
    RuntimeError
        If Yosys fails.
    """
    return synthesize_verilog(hardware_text(target), f"{target.prefix}_top", family, cache)


def synthesize_rest(board: Board, cache: Path) -> dict[str, int]:
    """What is on a board besides the accelerator: memory controller, link and what joins them.

    Raises
    ------
    RuntimeError
        If Yosys fails.
    """
    from tilewright.boards.soc import CORE, core_verilog

    counts = synthesize_verilog(core_verilog(board), CORE, board.family, cache)
    return counts[REST]


def synthesize_verilog(verilog: str, top: str, family: str, cache: Path) -> Counts:
    """Synthesize module `top`, flattened; what is not the accelerator of a board counts as the rest.

    Raises
    ------
    RuntimeError
        If Yosys fails.
    """
    content = [verilog, SYNTHESIS[family], importlib.metadata.version("pyosys")]
    key = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:20]
    path = cache / "synthesis" / f"{key}.json"
    if not path.is_file():
        counts = _run(verilog, top, family)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        part.write_text(to_json(counts), "utf-8")
        part.replace(path)
    found: Counts = json.loads(path.read_text("utf-8"))
    return found


def _run(verilog: str, top: str, family: str) -> Counts:
    with tempfile.TemporaryDirectory() as name:
        source, netlist = Path(name, "design.v"), Path(name, "netlist.json")
        source.write_text(verilog, "utf-8")
        commands = [
            f"read_verilog {source}",
            f"{SYNTHESIS[family]} -top {top} -json {netlist}",
        ]
        run = subprocess.run(
            [sys.executable, "-c", _YOSYS, *commands],
            check=False,
            capture_output=True,
            text=True,
        )
        if run.returncode or not netlist.is_file():
            raise RuntimeError(f"Yosys failed: {(run.stdout + run.stderr)[-2000:]}")
        modules = json.loads(netlist.read_text("utf-8"))["modules"]
    return _count(modules[top]["cells"], family, on_board=not top.endswith("_top"))


def _count(cells: Mapping[str, Mapping[str, str]], family: str, *, on_board: bool) -> Counts:
    kinds = FAMILIES[family]
    counts = {unit: dict.fromkeys(RESOURCES, 0) for unit in (*UNITS, REST)}
    for name, cell in cells.items():
        what, many = kinds.get(cell["type"], ("", 0))
        if many:
            inner = name.removeprefix("accelerator.")
            counts[REST if on_board and inner == name else _unit(inner)][what] += many
    return counts


def _unit(cell: str) -> str:
    """Unit of a flattened cell: `engine.store_unit.postprocess.lane0.x` is in store_unit."""
    place = cell.split(".")
    if place[0] != "engine":
        return "control"
    unit = _INDEX.sub("", place[1])
    return unit if unit in UNITS else "engine"


def total(counts: Counts) -> dict[str, int]:
    """All units together."""
    return {what: sum(unit[what] for unit in counts.values()) for what in RESOURCES}
