# amaranth: UnusedElaboratable=no
"""Unit benches of Amaranth components, on the gearbox."""

from __future__ import annotations

from pathlib import Path

import pytest
from targets import need

from tilewright.hw.gearbox import Gearbox
from tilewright.sim.runner import SimulationError
from tilewright.sim.unit import run_bench


@pytest.mark.parametrize("simulator", [pytest.param("verilator", marks=pytest.mark.slow), "icarus"])
def test_component_passes_under_random_back_pressure(
    simulator: str, simulations: Path, tmp_path: Path
) -> None:
    need(simulator)
    ran = run_bench(
        Gearbox(24, (10,)),
        "bench_gearbox",
        work_dir=tmp_path,
        build_dir=simulations,
        simulator=simulator,
        parameters={"in_width": 24, "out_width": 10, "seed": 3},
        testcase="words_are_cut_from_beats.*",
    )
    assert ran == 4


def test_wrong_words_fail_the_bench(tmp_path: Path) -> None:
    need("icarus")
    with pytest.raises(SimulationError, match="words_are_cut_from_beats"):
        run_bench(
            Gearbox(24, (11,)),
            "bench_gearbox",
            work_dir=tmp_path,
            simulator="icarus",
            parameters={"in_width": 24, "out_width": 10, "seed": 3},
        )


def test_bench_that_never_ends_fails_by_its_timeout(tmp_path: Path) -> None:
    need("icarus")
    with pytest.raises(SimulationError, match="a_bench_that_waits_for_ever failed"):
        run_bench(
            Gearbox(24, (10,)),
            "bench_gearbox",
            work_dir=tmp_path,
            simulator="icarus",
            testcase="a_bench_that_waits_for_ever",
        )


def test_module_without_the_wanted_test_fails(tmp_path: Path) -> None:
    need("icarus")
    with pytest.raises(SimulationError, match=r"no test|without results"):
        run_bench(
            Gearbox(24, (10,)),
            "bench_gearbox",
            work_dir=tmp_path,
            simulator="icarus",
            testcase="there_is_no_such_test",
        )
