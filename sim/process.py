"""Run a compiled simulation with a cocotb test module, and believe only complete results."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree

from tilewright.sim.runner import SimBuild, SimulationError, simulator_environment

__all__ = ["run_module", "waveform"]

_TAIL = 30


def run_module(
    build: SimBuild,
    test_module: str,
    *,
    work_dir: Path,
    environment: Mapping[str, str] | None = None,
    waves: bool = False,
    seed: int = 0,
    random_state: bool = True,
    timeout_s: float = 3600.0,
    testcase: str | None = None,
    on_line: Callable[[str], None] | None = None,
) -> int:
    """Run the cocotb tests of `test_module` on `build`.

    Parameters
    ----------
    build : the compiled simulation
    test_module : importable name of the Python module with the cocotb tests
    work_dir : where the simulator runs and its files go (``simulation.log``, ``results.xml``)
    environment : further environment variables
    waves : write a waveform; the build must have been made with waves
    seed : of Python's and the simulator's random values
    random_state : start registers and memories without initial value at random (Verilator);
        Icarus starts them unknown
    timeout_s : wall-clock limit
    testcase : run only the test of this name
    on_line : called with every line that the simulation prints

    Returns
    -------
    int
        How many tests ran; all of them passed.

    Raises
    ------
    SimulationError
        If the simulator crashed, ran too long, left no results, ran no test or failed one.
    """
    if waves and not build.waves:
        raise SimulationError("a waveform needs a simulation that was built with waves=True")
    work_dir = work_dir.resolve()
    work_dir.mkdir(parents=True, exist_ok=True)
    results = work_dir / "results.xml"
    for stale in (results, waveform(work_dir)):
        stale.unlink(missing_ok=True)
    variables = _environment(build, test_module, results, seed)
    if testcase is not None:
        variables["COCOTB_TEST_FILTER"] = rf"\.{testcase}$"
    variables.update(environment or {})
    command = _command(build, work_dir, waves, seed, random_state)
    log, returncode = _run(command, work_dir, variables, timeout_s, on_line)
    (work_dir / "simulation.log").write_text("".join(log))
    if returncode is None:
        raise SimulationError(f"the simulation was stopped after {timeout_s:.0f} s{_tail(log)}")
    passed = _check_results(results, log)
    if returncode:
        raise SimulationError(f"the simulator ended with exit code {returncode}{_tail(log)}")
    return passed


def waveform(work_dir: Path) -> Path:
    """Path of the waveform (VCD) that a run with waves leaves in `work_dir`."""
    return work_dir / "waves.vcd"


def _command(
    build: SimBuild, work_dir: Path, waves: bool, seed: int, random_state: bool
) -> list[str]:
    if build.simulator == "icarus":
        tools = import_module("cocotb_tools.config")
        command = ["vvp", "-n", "-m", tools.lib_entry("vpi", "icarus"), str(build.binary)]
        return [*command, "-vcd" if waves else "-none"]
    command = [
        str(build.binary),
        f"+verilator+rand+reset+{2 if random_state else 0}",
        f"+verilator+seed+{seed % (2**31 - 2) + 1}",
    ]
    if waves:
        command += ["--trace", "--trace-file", str(waveform(work_dir))]
    return command


def _environment(build: SimBuild, test_module: str, results: Path, seed: int) -> dict[str, str]:
    """Environment variables by which cocotb learns what to run."""
    tools = import_module("cocotb_tools.config")
    libpython = import_module("find_libpython").find_libpython()
    if libpython is None:
        raise SimulationError("cocotb needs Python's shared library (libpython), and has none")
    variables = simulator_environment()
    variables.update(
        COCOTB_TOPLEVEL=build.top,
        COCOTB_TEST_MODULES=test_module,
        COCOTB_RESULTS_FILE=str(results),
        COCOTB_RANDOM_SEED=str(seed),
        COCOTB_ANSI_OUTPUT="0",
        COCOTB_TRUST_INERTIAL_WRITES="1" if build.simulator == "verilator" else "0",
        TOPLEVEL_LANG="verilog",
        PYGPI_PYTHON_BIN=sys.executable,
        GPI_USERS=f"{libpython};{tools.pygpi_entry_point()}",
        PYTHONUNBUFFERED="1",
    )
    variables["PATH"] += os.pathsep + str(tools.libs_dir)
    return variables


def _run(
    command: list[str],
    work_dir: Path,
    variables: dict[str, str],
    timeout_s: float,
    on_line: Callable[[str], None] | None,
) -> tuple[list[str], int | None]:
    """Output lines and exit code of `command`; the code is None if it had to be stopped."""
    log: list[str] = []
    expired = threading.Event()
    try:
        process = subprocess.Popen(
            command,
            cwd=work_dir,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise SimulationError(f"{command[0]} cannot be run: {error.strerror}") from None

    def stop() -> None:
        expired.set()
        os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(timeout_s, stop)
    timer.start()
    with process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                log.append(line)
                if on_line is not None:
                    on_line(line.rstrip("\n"))
            returncode = process.wait()
        except BaseException:
            process.kill()
            raise
        finally:
            timer.cancel()
    return log, None if expired.is_set() else returncode


def _check_results(results: Path, log: list[str]) -> int:
    """Count the tests of a results file; every way in which it does not prove success raises."""
    if not results.is_file():
        raise SimulationError(f"the simulation ended without results{_tail(log)}")
    try:
        cases = ElementTree.parse(results).getroot().findall(".//testcase")
    except ElementTree.ParseError as error:
        raise SimulationError(f"{results} is incomplete ({error}){_tail(log)}") from None
    passed = 0
    for case in cases:
        bad = case.find("failure") if case.find("failure") is not None else case.find("error")
        if bad is not None:
            message = bad.get("message") or bad.get("error_msg") or (bad.text or "").strip()
            raise SimulationError(f"{case.get('name')} failed: {message}{_tail(log)}")
        passed += case.find("skipped") is None
    if not passed:
        raise SimulationError(f"the simulation ran no test{_tail(log)}")
    return passed


def _tail(log: list[str]) -> str:
    return "\nlast lines of the simulation:\n" + "".join(log[-_TAIL:]) if log else ""
