"""Unit benches: one Amaranth component as Verilog, under a cocotb test module."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amaranth.lib import wiring

from tilewright.hw.verilog import component_verilog
from tilewright.sim.process import run_module
from tilewright.sim.runner import Source, compile_verilog

__all__ = ["bench_parameters", "run_bench"]

_PARAMETERS = "TILEWRIGHT_BENCH"


def run_bench(
    component: wiring.Component,
    test_module: str,
    *,
    work_dir: Path,
    build_dir: Path | None = None,
    simulator: str = "verilator",
    parameters: Mapping[str, Any] | None = None,
    testcase: str | None = None,
    seed: int = 0,
    waves: bool = False,
    timeout_s: float = 300.0,
    models: Mapping[str, str] | None = None,
) -> int:
    """Run cocotb tests on the Verilog of `component`; every port of it is visible to them.

    The top module is ``unit_top``. Tests that need to know how the component was made get
    `parameters` from `bench_parameters`.

    Parameters
    ----------
    component : not yet elaborated
    test_module : importable name of the module with the cocotb tests
    work_dir : for the simulation's files, ``waves.vcd`` among them
    build_dir : cache of compiled simulations; a folder in `work_dir` if not given
    simulator : "verilator" or "icarus"
    parameters : anything that JSON can hold
    testcase : run only this test
    seed : of Python's random numbers and of registers without reset value
    waves : write a waveform
    timeout_s : wall-clock limit
    models : file names and texts of the vendor cells it instantiates

    Returns
    -------
    int
        How many tests ran; all passed.

    Raises
    ------
    TilewrightError
        If the simulator is missing.
    SimulationError
        If the Verilog does not compile, a test failed, none ran or the simulator crashed.
    """
    text = component_verilog(component, name="unit_top", prefix="unit")
    build = compile_verilog(
        [
            Source("unit.v", "`timescale 1ns / 1ns\n" + text),
            *(Source(*model) for model in (models or {}).items()),
        ],
        top="unit_top",
        build_dir=build_dir or work_dir / "build",
        simulator=simulator,
        waves=waves,
        public=True,
        optimise=0,
    )
    return run_module(
        build,
        test_module,
        work_dir=work_dir,
        environment={_PARAMETERS: json.dumps(dict(parameters or {}))},
        waves=waves,
        seed=seed,
        testcase=testcase,
        timeout_s=timeout_s,
    )


def bench_parameters() -> dict[str, Any]:
    """`parameters` of `run_bench`, for the tests that run in the simulator."""
    parameters: dict[str, Any] = json.loads(os.environ[_PARAMETERS])
    return parameters
