"""The build cache and the trust in results."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from targets import need

from tilewright.errors import TilewrightError
from tilewright.sim import runner
from tilewright.sim.process import run_module
from tilewright.sim.runner import SimBuild, SimulationError, Source, compile_verilog

BLINK = "`timescale 1ns / 1ns\nmodule blink(output reg o); initial o = {value}; endmodule\n"


def blink(
    folder: Path, value: str = "0", simulator: str = "icarus", waves: bool = False
) -> SimBuild:
    need(simulator)
    sources = [Source("blink.v", BLINK.format(value=value))]
    return compile_verilog(sources, top="blink", build_dir=folder, simulator=simulator, waves=waves)


def test_equal_sources_are_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = blink(tmp_path)
    monkeypatch.setattr(runner, "_run_tool", None)
    assert blink(tmp_path) == first


def test_other_sources_and_options_are_other_builds(tmp_path: Path) -> None:
    builds = [blink(tmp_path), blink(tmp_path, "1"), blink(tmp_path, waves=True)]
    assert len({build.binary for build in builds}) == 3
    assert all(build.binary.is_file() for build in builds)


def test_failed_build_leaves_nothing_and_shows_the_error(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match=r"iverilog failed \(exit code \d+\):\n.*blink\.v:2"):
        blink(tmp_path, "1 +")
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]


@pytest.mark.slow
def test_verilator_keeps_its_library_between_builds(tmp_path: Path) -> None:
    blink(tmp_path, simulator="verilator")
    blink(tmp_path, "1", simulator="verilator")
    assert len(list(tmp_path.glob("runtime-*"))) == 1
    logs = [path.read_text() for path in tmp_path.glob("verilator-*/build.log")]
    assert sorted("verilated.cpp" in log for log in logs) == [False, True]


def test_unknown_simulator_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TilewrightError, match="one of verilator, icarus, not 'vcs'"):
        compile_verilog([], top="x", build_dir=tmp_path, simulator="vcs")


@pytest.mark.parametrize(
    ("simulator", "tool"),
    [("icarus", "iverilog"), *(("verilator", tool) for tool in ("perl", "g++", "make"))],
)
def test_missing_tool_is_named(
    simulator: str, tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cocotb")
    for name in {"verilator", "iverilog", "perl", "g++", "make"} - {tool}:
        program = tmp_path / name
        program.write_text("#!/bin/sh\necho version 1\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TilewrightError, match=f"^{re.escape(tool)} is not on PATH.*apt install"):
        compile_verilog([], top="x", build_dir=tmp_path / "cache", simulator=simulator)
    assert not (tmp_path / "cache").exists()


def test_build_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    need("icarus")
    (tmp_path / "file").write_text("")
    with pytest.raises(TilewrightError, match="choose a build directory"):
        blink(tmp_path / "file" / "cache")


def pretend(folder: Path, script: str) -> SimBuild:
    """A simulation that is a shell script."""
    binary = folder / "simulation"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    os.chmod(binary, 0o755)
    return SimBuild(simulator="verilator", binary=binary, top="x", waves=False)


GOOD = '<testsuites><testsuite><testcase name="a"/></testsuite></testsuites>'
BAD = GOOD.replace("/>", '><failure message="no way"/></testcase>', 1)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("kill -SEGV $$", "ended without results"),
        ("echo hello", r"(?s)ended without results.*hello"),
        (f"echo '{GOOD[:30]}' > $COCOTB_RESULTS_FILE", "incomplete"),
        ("echo '<testsuites/>' > $COCOTB_RESULTS_FILE", "ran no test"),
        (f"echo '{BAD}' > $COCOTB_RESULTS_FILE", "a failed: no way"),
        (f"echo '{GOOD}' > $COCOTB_RESULTS_FILE; exit 3", "exit code 3"),
        (f"echo '{GOOD}' > $COCOTB_RESULTS_FILE; kill -SEGV $$", "exit code -11"),
        ("sleep 60", "stopped after 1 s"),
    ],
)
def test_simulation_that_proves_nothing_is_a_failure(
    tmp_path: Path, script: str, message: str
) -> None:
    pytest.importorskip("cocotb")
    (tmp_path / "results.xml").write_text(GOOD)  # of an earlier run: must not count
    with pytest.raises(SimulationError, match=message):
        run_module(pretend(tmp_path, script), "none", work_dir=tmp_path, timeout_s=1)


def test_complete_results_count(tmp_path: Path) -> None:
    pytest.importorskip("cocotb")
    build = pretend(tmp_path, f"echo '{GOOD}' > $COCOTB_RESULTS_FILE")
    assert run_module(build, "none", work_dir=tmp_path, timeout_s=60) == 1


MAIN = """
#include "Vtop.h"
#include <cstdio>
int main(int, char**) {
    Vtop top;
    top.eval();
    std::printf("o is %d\\n", top.o);
}
"""


@pytest.mark.slow
def test_a_simulation_may_have_a_main_function_of_its_own(simulations: Path) -> None:
    need("verilator")
    build = compile_verilog(
        [Source("blink.v", BLINK.format(value="1"))],
        top="blink",
        build_dir=simulations,
        main=Source("main.cpp", MAIN),
        optimise=0,
    )
    said = subprocess.run([build.binary], capture_output=True, text=True, check=True).stdout
    assert said == "o is 1\n"
