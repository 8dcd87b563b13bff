"""Flip-flops behind block RAMs move into them, and nothing else changes."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
from beside_plain import run_beside_plain
from targets import need

from tilewright.boards.output_registers import SOFT_CONTROLS, use_output_registers
from tilewright.compiler.cycles import MemoryTiming, predict
from tilewright.compiler.lower import compile_network
from tilewright.compiler.target import Target
from tilewright.hw.verilog import generate_verilog, top_name
from tilewright.quant.reference import run_fixed
from tilewright.sim.cells import netlist_models
from tilewright.sim.memory import MemoryConfig
from tilewright.sim.network import Job, compare_run, simulate_jobs
from tilewright.sim.random_layers import random_inputs, random_network
from tilewright.sim.runner import build_simulation

BENCHES = Path(__file__).parents[1] / "benches"
CYCLES = 4000
OUTPUTS = 210
YOSYS = """
import sys
from pyosys import libyosys
design = libyosys.Design()
for command in sys.argv[1:]:
    libyosys.run_pass(command, design)
"""


def memories(top, enable):
    """Memories of many shapes with registers behind them."""
    texts = [
        (BENCHES / f"{name}.v").read_text() for name in ("memory_shapes", "registered_memories")
    ]
    text = "".join(texts).replace("REGISTERED", top).replace("ENABLE", enable)
    return (
        text.replace("SHAPES", f"{top}_shapes")
        .replace("_ports", f"_ports_{top}")
        .replace("one_port ", f"one_port_{top} ")
    )


def yosys(*commands):
    done = subprocess.run(
        [sys.executable, "-c", YOSYS, *commands], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def synthesized(enable, folder):
    """The netlist of the memories before the pass."""
    (folder / "in.v").write_text(memories("gate", enable))
    yosys(
        f"read_verilog {folder}/in.v",
        f"synth_ecp5 -no-rw-check -top gate -json {folder}/out.json",
    )
    return json.loads((folder / "out.json").read_text())


def cells_of(netlist, kind):
    return [cell for cell in netlist["modules"]["gate"]["cells"].values() if cell["type"] == kind]


@pytest.mark.parametrize("enable", ["1'b1", "enable"])
def test_memories_with_output_registers_do_what_plain_verilog_does(enable, tmp_path, simulations):
    need("verilator")
    netlist = synthesized(enable, tmp_path)
    before = len(cells_of(netlist, "TRELLIS_FF"))
    moved = use_output_registers(netlist, "gate")
    assert before - len(cells_of(netlist, "TRELLIS_FF")) == moved
    assert moved > OUTPUTS // 2
    modes = [cell["parameters"]["REGMODE_B"] for cell in cells_of(netlist, "DP16KD")]
    assert "OUTREG" in modes
    (tmp_path / "moved.json").write_text(json.dumps(netlist))
    yosys(
        f"read_json {tmp_path}/moved.json",
        "hierarchy -top gate",
        f"write_verilog -noattr {tmp_path}/gate.v",
    )
    gate = (tmp_path / "gate.v").read_text()
    run_beside_plain(memories("golden", enable), gate, "ecp5", CYCLES, tmp_path, simulations)


def small_netlist():
    """A block RAM of which two outputs are used, a register behind each."""

    def register(d, q):
        return {
            "type": "TRELLIS_FF",
            "parameters": {"CEMUX": "1 ", "CLKMUX": "CLK", "LSRMUX": "LSR", "REGSET": "RESET"},
            "port_directions": {"CLK": "input", "DI": "input", "LSR": "input", "Q": "output"},
            "connections": {"CLK": [1], "DI": [d], "LSR": ["0"], "Q": [q]},
        }

    block = {
        "type": "DP16KD",
        "parameters": {"DATA_WIDTH_B": f"{9:032b}", "REGMODE_A": "NOREG", "REGMODE_B": "NOREG"},
        "port_directions": {"CLKB": "input", "DOB0": "output", "DOB1": "output", "DOB2": "output"},
        "connections": {"CLKB": [1], "DOB0": [10], "DOB1": [11], "DOB2": [12]},
    }
    ports = {
        "out": {"direction": "output", "bits": [20, 21]},
        "clk": {"direction": "input", "bits": [1]},
    }
    cells = {"block": block, "low": register(10, 20), "high": register(11, 21)}
    return {"modules": {"top": {"ports": ports, "cells": cells}}}


def test_registers_behind_all_outputs_that_are_used_move():
    netlist = small_netlist()
    assert use_output_registers(netlist, "top") == 2
    cells = netlist["modules"]["top"]["cells"]
    assert list(cells) == ["block"]
    assert cells["block"]["connections"] == {
        "CLKB": [1], "DOB0": [20], "DOB1": [21], "DOB2": [12], "OCEB": ["1"]
    }  # fmt: skip
    assert cells["block"]["parameters"]["REGMODE_B"] == "OUTREG"
    assert cells["block"]["parameters"]["REGMODE_A"] == "NOREG"


def another_clock(cells, ports):
    cells["low"]["connections"]["CLK"] = cells["high"]["connections"]["CLK"] = [2]


def another_enable(cells, ports):
    cells["low"]["parameters"]["CEMUX"], cells["low"]["connections"]["CE"] = "CE", [5]


def a_reset(cells, ports):
    cells["low"]["connections"]["LSR"] = [6]


def a_one_to_begin_with(cells, ports):
    cells["high"]["parameters"]["REGSET"] = "SET"


def another_load(cells, ports):
    ports["out"]["bits"].append(10)


def no_register(cells, ports):
    ports["out"]["bits"].append(12)


@pytest.mark.parametrize(
    "change",
    [another_clock, another_enable, a_reset, a_one_to_begin_with, another_load, no_register],
)
def test_they_stay_where_the_block_could_not_do_what_they_do(change):
    netlist = small_netlist()
    change(netlist["modules"]["top"]["cells"], netlist["modules"]["top"]["ports"])
    unchanged = copy.deepcopy(netlist)
    assert use_output_registers(netlist, "top") == 0
    assert netlist == unchanged


ROUTED = Target(
    rows=4,
    cols=2,
    act_depth=512,
    acc_depth=64,
    burst_beats=16,
    multiplier="ecp5",
    multiplier_stages=4,
    edge_registers=2,
    leaky=False,
)
"""What benchmarks/place_and_route.py routes, in small."""


def routed_netlist(folder):
    """Verilog of the accelerator's cells, made as for place and route."""
    top, flow = top_name(ROUTED), "synth_ecp5 -no-rw-check -nowidelut"
    (folder / "in.v").write_text(generate_verilog(ROUTED))
    yosys(
        f"read_verilog {folder}/in.v",
        f"{flow} -top {top} -run begin:map_ffs",
        *SOFT_CONTROLS,
        f"{flow} -top {top} -run map_ffs:map_luts",
        "abc9 -maxlut 4 -W 1000",
        "clean",
        f"{flow} -top {top} -run map_cells: -json {folder}/out.json",
    )
    netlist = json.loads((folder / "out.json").read_text())
    words = ROUTED.rows * ROUTED.act_bits + 2 * ROUTED.cols * ROUTED.acc_bits
    assert use_output_registers(netlist, top) > words  # the readers' are more
    (folder / "moved.json").write_text(json.dumps(netlist))
    yosys(
        f"read_json {folder}/moved.json",
        f"hierarchy -top {top}",
        f"write_verilog -noattr {folder}/out.v",
    )
    return (folder / "out.v").read_text()


@pytest.mark.slow
def test_the_cells_that_are_routed_compute_what_the_reference_says(tmp_path, simulations):
    need("verilator")
    models = netlist_models("ecp5")
    del models["mult18x18d.v"]  # comes with the target
    text = "\n".join((routed_netlist(tmp_path), *models.values()))
    build = build_simulation(text, ROUTED, simulations, memory_bytes=16 << 20)
    memory = MemoryConfig(read_latency=20, write_latency=20)
    timing = MemoryTiming(latency=20, write_latency=20)
    jobs, expected = [], []
    for seed in range(3):
        fixed = random_network(seed, ROUTED)
        inputs = random_inputs(fixed, seed)
        program = compile_network(fixed, ROUTED, keep=True)
        values = run_fixed(fixed, {name: x[None] for name, x in inputs.items()})
        jobs.append(Job(program=program, inputs=[inputs], memory=memory))
        expected.append({name: x[0] for name, x in values.items()})
    results = simulate_jobs(build, jobs, work_dir=tmp_path)
    for job, (run,), values in zip(jobs, results, expected, strict=True):
        assert compare_run(job.program, run, values) == []
        assert predict(job.program, timing).cycles == run.cycles
