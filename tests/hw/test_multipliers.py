# amaranth: UnusedElaboratable=no
"""Every family's multipliers, synthesized, against what `*` computes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from synthesis import synthesize
from targets import need

from tilewright.compiler.target import Target
from tilewright.errors import TilewrightError
from tilewright.hw.array import SystolicArray
from tilewright.hw.verilog import component_verilog, generate_verilog, top_name
from tilewright.sim.cells import cell_models, yosys_cells
from tilewright.sim.process import run_module
from tilewright.sim.runner import SimulationError, Source, compile_verilog

BENCH = Path(__file__).parents[1] / "benches" / "equal_bench.v"
CYCLES = 4000

SMALL = Target(rows=2, cols=4)
NARROW = dataclasses.replace(SMALL, weight_bits=4, weights_per_multiplier=2)


def run_beside_the_operator(target, sources, folder, simulations):
    """Run equal_bench with a module `gate` from `sources`."""
    twin = dataclasses.replace(target, multiplier="generic", weights_per_multiplier=1)
    golden = component_verilog(SystolicArray(twin), name="golden", prefix="golden")
    everything = {
        "golden.v": "`timescale 1ns / 1ns\n" + golden,
        "bench.v": BENCH.read_text(),
        **sources,
    }
    build = compile_verilog(
        [Source(*source) for source in everything.items()],
        top="equal_bench",
        build_dir=simulations,
        parameters={
            "ROWS": target.rows,
            "COLS": target.cols,
            "GROUP": target.columns_per_cell,
            "ACT": target.act_bits,
            "WEIGHT": target.weight_bits,
            "PSUM": target.psum_bits,
            "CYCLES": CYCLES,
        },
        optimise=0,
    )
    parameters = json.dumps({"cycles": CYCLES - 100})
    run_module(build, "equal_bench", work_dir=folder, environment={"TILEWRIGHT_BENCH": parameters})


def variant(base: Target, multiplier: str, stages: int) -> Target:
    return dataclasses.replace(base, multiplier=multiplier, multiplier_stages=stages)


@pytest.mark.parametrize(
    ("target", "blocks"),
    [
        pytest.param(variant(SMALL, "ecp5", 4), {"MULT18X18D": 8}, id="ecp5"),
        pytest.param(variant(NARROW, "ecp5", 3), {"MULT18X18D": 4}, id="ecp5-pairs"),
        pytest.param(variant(SMALL, "ice40", 2), {"SB_MAC16": 4}, id="ice40"),
        pytest.param(variant(SMALL, "gowin", 3), {"MULT9X9": 8}, id="gowin"),
        pytest.param(variant(NARROW, "gowin", 4), {"MULT18X18": 4}, id="gowin-pairs"),
        pytest.param(variant(SMALL, "xilinx", 1), {"DSP48E1": 8}, id="xilinx"),
        pytest.param(variant(NARROW, "xilinx", 2), {"DSP48E1": 4}, id="xilinx-pairs"),
    ],
)
def test_the_netlist_computes_what_the_operator_does(target, blocks, tmp_path, simulations):
    """Thousands of random cycles, every column's sum in every cycle."""
    need("verilator")
    family = target.multiplier
    gate = component_verilog(SystolicArray(target), name="gate", prefix="gate")
    netlist, counts = synthesize(gate, "gate", family)
    assert {cell: counts.get(cell, 0) for cell in blocks} == blocks
    models = {"library.v": yosys_cells(family)}
    if family in ("ecp5", "gowin"):
        models |= cell_models(target)
    run_beside_the_operator(target, {"netlist.v": netlist, **models}, tmp_path, simulations)


@pytest.mark.parametrize(("family", "block"), [("ecp5", "MULT18X18D"), ("ice40", "SB_MAC16")])
def test_an_array_of_ternary_cells_has_no_multiplier_block(family, block):
    target = Target(
        rows=3, cols=2, weight_bits=3, ternary=True, multiplier_stages=int(family == "ecp5")
    )
    array = component_verilog(SystolicArray(target), name="gate", prefix="gate")
    counts = synthesize(array, "gate", family)[1]
    assert block not in counts
    assert counts.keys() & {"TRELLIS_FF", "SB_DFF"}


def test_an_accelerator_of_ternary_cells_multiplies_nothing():
    """No product is left anywhere in its Verilog, for synthesis to make a block of."""
    target = Target(rows=3, cols=2, weight_bits=3, ternary=True, leaky=False)
    assert " * " not in generate_verilog(target)
    leaky = dataclasses.replace(target, leaky=True)  # its slope is a factor
    assert " * " in generate_verilog(leaky)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"multiplier": "dsp"}, r"multiplier must be one of generic, ecp5, .*, not 'dsp'$"),
        (
            {"multiplier": "ecp5"},
            r"multiplier_stages must be in 3\.\.6 with multiplier 'ecp5', not 2$",
        ),
        (
            {"multiplier": "xilinx", "multiplier_stages": 3},
            r"multiplier_stages must be in 1\.\.2 with multiplier 'xilinx', not 3$",
        ),
        (
            {"multiplier": "ice40", "act_bits": 9},
            r"needs act_bits and weight_bits of at most 8, not 9 and 8; use multiplier 'generic'$",
        ),
        ({"multiplier": "ice40", "cols": 3}, r"cols must be even .*, not 3$"),
        (
            {"multiplier": "ice40", "weights_per_multiplier": 2, "weight_bits": 4},
            r"multiplier 'ice40' needs weights_per_multiplier 1",
        ),
        ({"weights_per_multiplier": 2}, r"needs weight_bits of at most 4 .*, not 8 and 8; use"),
        (
            {"weights_per_multiplier": 2, "weight_bits": 4, "cols": 5},
            r"cols must be even .*, not 5$",
        ),
        ({"weights_per_multiplier": 3}, r"must be an integer in 1\.\.2, not 3$"),
    ],
)
def test_widths_and_stages_that_a_family_does_not_have_are_refused(settings, message):
    with pytest.raises(TilewrightError, match=rf"^Target 'default': .*{message}"):
        Target(**settings)


WRONG = {
    "ecp5": ("REG_INPUTA_CE", '"CE0"', '"CE1"'),
    "gowin": ("PIPE_REG", "1'h1", "1'h1), .SOA_REG(1'h1"),
}


@pytest.mark.parametrize("family", WRONG)
def test_a_model_stops_at_a_parameter_that_it_does_not_have(family, tmp_path, simulations):
    need("verilator")
    target = variant(SMALL, family, 3)
    name, value, other = WRONG[family]
    text = component_verilog(SystolicArray(target), name="gate", prefix="gate")
    assert f".{name}({value})" in text
    sources = {"gate.v": text.replace(f".{name}({value})", f".{name}({other})")}
    with pytest.raises(SimulationError, match="a parameter has a value that this model does not"):
        run_beside_the_operator(target, sources | cell_models(target), tmp_path, simulations)


@pytest.mark.slow
def test_a_whole_accelerator_maps_to_multiplier_blocks_and_block_rams():
    """On ECP5: one block a cell, one block RAM at least a bank and an accumulator half."""
    target = Target(
        rows=2,
        cols=2,
        act_depth=1024,
        bus_bytes=4,
        burst_beats=16,
        multiplier="ecp5",
        multiplier_stages=4,
        edge_registers=1,
        leaky=False,
    )
    cells = synthesize(generate_verilog(target), top_name(target), "ecp5")[1]
    assert cells["MULT18X18D"] == target.rows * target.cols
    assert cells["DP16KD"] >= target.rows + 2 * target.cols
