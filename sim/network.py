"""Whole-network runs of the accelerator's Verilog, with no Python per cycle."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tilewright.compiler.program import Program, stamp_pitch
from tilewright.sim.memory import MemoryConfig, Section, read_section, write_section
from tilewright.sim.process import run_module, waveform
from tilewright.sim.runner import SimBuild, SimulationError

__all__ = [
    "Job",
    "Mismatch",
    "RunResult",
    "compare_run",
    "simulate",
    "simulate_jobs",
]

_STATUS = {1: "illegal instruction", 2: "read error", 3: "write error"}
_PROGRESS = "@tilewright "

Tensor = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Several inferences of one program.

    Attributes
    ----------
    program : what runs
    inputs : for each inference, integers [C, H, W] of every input
    memory : how the memory behaves
    max_cycles : watchdog of each inference; None derives a generous one from the program
    reset : reset the accelerator before the job (the first job of a simulation always does)
    keep_memory : later inferences find memory as the one before left it, instead of the program's
        image among poison
    dump : "tensors" reads back every placement of the program, "outputs" only its outputs
    """

    program: Program
    inputs: Sequence[Mapping[str, npt.NDArray[Any]]]
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    max_cycles: int | None = None
    reset: bool = False
    keep_memory: bool = False
    dump: str = "tensors"

    def __post_init__(self) -> None:
        if self.dump not in ("tensors", "outputs"):
            raise ValueError(f"dump must be 'tensors' or 'outputs', not {self.dump!r}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunResult:
    """What one inference left.

    Attributes
    ----------
    tensors : int64 [C, H, W] by name
    stamps : (cycle counter, CALC-busy counter) at the end of each region
    counters : registers by name: CYCLES and the counters behind it, STATUS, ISR, CTRL
    elapsed : cycles from start to irq, counted by the bench
    bus_reads, bus_writes : data beats, counted by the memory
    waves : waveform of the whole simulation, if one was asked for
    """

    tensors: dict[str, Tensor]
    stamps: list[tuple[int, int]]
    counters: dict[str, int]
    elapsed: int
    bus_reads: int
    bus_writes: int
    waves: Path | None = None

    @property
    def cycles(self) -> int:
        """Cycles of the run as the accelerator counts them."""
        return self.counters["CYCLES"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """A tensor in which the hardware differs from what was expected."""

    tensor: str
    count: int
    total: int
    coordinates: tuple[int, ...]
    expected: int
    actual: int

    def __str__(self) -> str:
        where = ", ".join(map(str, self.coordinates))
        return (
            f"{self.tensor}: {self.count} of {self.total} values differ, first at [{where}]: "
            f"expected {self.expected}, got {self.actual}"
        )


def simulate(
    build: SimBuild,
    program: Program,
    inputs: Sequence[Mapping[str, npt.NDArray[Any]]],
    *,
    work_dir: Path,
    memory: MemoryConfig | None = None,
    waves: bool = False,
    dump: str = "tensors",
    max_cycles: int | None = None,
    timeout_s: float = 3600.0,
    progress: Callable[[int, int], None] | None = None,
) -> list[RunResult]:
    """Run `program` on each of `inputs` in one simulation; see `simulate_jobs`."""
    job = Job(
        program=program,
        inputs=inputs,
        memory=memory or MemoryConfig(),
        max_cycles=max_cycles,
        dump=dump,
    )
    return simulate_jobs(
        build, [job], work_dir=work_dir, waves=waves, timeout_s=timeout_s, progress=progress
    )[0]


def simulate_jobs(
    build: SimBuild,
    jobs: Sequence[Job],
    *,
    work_dir: Path,
    waves: bool = False,
    timeout_s: float = 3600.0,
    progress: Callable[[int, int], None] | None = None,
) -> list[list[RunResult]]:
    """Run the inferences of all jobs one after the other on the same hardware.

    Parameters
    ----------
    build : of `build_simulation`
    jobs : what to run; their programs may differ but not their target
    work_dir : for the simulation's files; ``simulation.log`` stays there
    waves : write ``waves.vcd``; the build must have been made with waves
    timeout_s : wall-clock limit of the whole simulation
    progress : called with (inferences done, inferences in all) after each

    Returns
    -------
    list of list of RunResult
        For each job, for each inference.

    Raises
    ------
    SimulationError
        If the accelerator reported an error, broke a rule of the bus or took more than
        max_cycles, or the simulation did not end completely.
    """
    work_dir = work_dir.resolve()
    work_dir.mkdir(parents=True, exist_ok=True)
    result_file = work_dir / "result.json"
    result_file.unlink(missing_ok=True)
    for stale in (*work_dir.glob("dump*.hex"), *work_dir.glob("load*.bin")):
        stale.unlink()
    files = _Files(work_dir)
    plans = [_plan_job(build, job, files) for job in jobs]
    (work_dir / "job.json").write_text(json.dumps({"jobs": plans}))
    total = sum(len(job.inputs) for job in jobs)
    done = 0

    def on_line(line: str) -> None:
        nonlocal done
        if line.startswith(_PROGRESS):
            done += 1
            if progress is not None:
                progress(done, total)

    run_module(
        build,
        "tilewright.sim.bench_network",
        work_dir=work_dir,
        environment={"TILEWRIGHT_JOB": str(work_dir / "job.json")},
        waves=waves,
        seed=jobs[0].memory.seed if jobs else 0,
        timeout_s=timeout_s,
        on_line=on_line,
    )
    results = _read_results(result_file)
    path = waveform(build, work_dir) if waves else None
    if path is not None and not path.is_file():
        raise SimulationError(f"the simulation left no waveform {path}")
    collected = []
    for job, plan in zip(jobs, plans, strict=True):
        own = [results.pop(0) for _ in range(min(len(plan["inferences"]), len(results)))]
        for number, found in enumerate(own):
            _check_status(found, number)
        if len(own) != len(job.inputs):
            raise SimulationError(f"{len(job.inputs)} inferences were asked for, {len(own)} ran")
        pairs = zip(own, plan["inferences"], strict=True)
        collected.append([_collect(job, found, steps, files, path) for found, steps in pairs])
    return collected


def compare_run(
    program: Program, result: RunResult, expected: Mapping[str, npt.NDArray[Any]]
) -> list[Mismatch]:
    """Compare the tensors of a run with `expected`, in the order in which the program names them.

    Every name of `expected` must have been read back; tensors that `expected` lacks are not
    compared.

    Raises
    ------
    KeyError
        If a tensor of `expected` is not in the result.
    """
    order = {name: place for place, name in enumerate(program.tensors)}
    mismatches = []
    for name in sorted(expected, key=lambda name: order.get(name, len(order))):
        wanted = np.asarray(expected[name], np.int64)
        actual = result.tensors[name]
        if wanted.shape != actual.shape:
            raise ValueError(f"{name} is expected as {wanted.shape} but is {actual.shape}")
        differs = np.argwhere(wanted != actual)
        if len(differs):
            first = tuple(int(at) for at in differs[0])
            mismatches.append(
                Mismatch(
                    tensor=name,
                    count=len(differs),
                    total=wanted.size,
                    coordinates=first,
                    expected=int(wanted[first]),
                    actual=int(actual[first]),
                )
            )
    return mismatches


class _Files:
    """Numbers the files between this process and the simulation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        self.sections: dict[int, Section] = {}

    def next(self) -> int:
        self.count += 1
        return self.count


def _plan_job(build: SimBuild, job: Job, files: _Files) -> dict[str, Any]:
    """One job as the bench reads it."""
    program = job.program
    target = program.target
    assert build.target is not None
    if target.fingerprint != build.target.fingerprint:
        raise SimulationError(
            f"the program is for target {target.name!r} ({target.fingerprint}), the simulation "
            f"for {build.target.name!r} ({build.target.fingerprint})"
        )
    if program.memory_bytes > build.memory_bytes:
        raise SimulationError(
            f"the program needs {program.memory_bytes} bytes of memory, the simulation has "
            f"{build.memory_bytes}; build it with memory_bytes={program.memory_bytes} or more"
        )
    bus = target.bus_bytes
    used = -(-program.memory_bytes // bus) * bus
    image = files.next()
    whole = Section.covering(0, len(program.image), bus)
    write_section(files.folder / f"load{image}.bin", whole, program.image, bus)
    config = job.memory.bench_values(used)
    return {
        "config": config,
        "reset": job.reset,
        "fingerprint": int(target.fingerprint, 16) & 0xFFFFFFFF,
        "registers": {
            "MEM_BASE": job.memory.base,
            "INSTRUCTIONS": program.instructions,
            "COUNT": program.count,
            "ISR": 3,
            "IER": 3,
            "GIE": 1,
        },
        "max_cycles": job.max_cycles or _default_limit(program, job.memory),
        "inferences": [
            _plan_inference(job, inputs, files, image, whole, number)
            for number, inputs in enumerate(job.inputs)
        ],
    }


def _plan_inference(
    job: Job,
    inputs: Mapping[str, npt.NDArray[Any]],
    files: _Files,
    image: int,
    whole: Section,
    number: int,
) -> dict[str, Any]:
    program = job.program
    bus = program.target.bus_bytes
    if set(inputs) != set(program.inputs):
        raise SimulationError(
            f"inference {number} has inputs {sorted(inputs)}, the program {sorted(program.inputs)}"
        )
    fills: list[list[int]] = []
    loads: list[list[int]] = []
    if number == 0 or not job.keep_memory:
        fills.append([0, -(-program.memory_bytes // bus), job.memory.poison])
        loads.append([whole.first, whole.beats, image])
    for name, values in inputs.items():
        place = program.tensors[name]
        if values.shape != place.layout.shape:
            raise SimulationError(
                f"input {name!r} must have shape {place.layout.shape}, not {values.shape}"
            )
        data = place.layout.pack(np.asarray(values, np.int64))
        section = Section.covering(place.address, len(data), bus)
        file = files.next()
        write_section(files.folder / f"load{file}.bin", section, data, bus)
        loads.append([section.first, section.beats, file])
    names = program.tensors if job.dump == "tensors" else program.outputs
    areas = [(program.tensors[name].address, program.tensors[name].layout.size) for name in names]
    if program.regions:
        areas.append((program.stamps, stamp_pitch(program.target) * len(program.regions)))
    dumps = []
    for address, size in areas:
        section = Section.covering(address, size, bus)
        file = files.next()
        files.sections[file] = section
        dumps.append([section.first, section.beats, file])
    return {"fills": fills, "loads": loads, "dumps": dumps}


def _default_limit(program: Program, memory: MemoryConfig) -> int:
    """Cycles no correct run takes: far more than computing and moving everything, one by one."""
    target = program.target
    busy = sum(region.slots for region in program.regions) // (target.rows * target.cols)
    beats = program.memory_bytes // target.bus_bytes
    latency = memory.read_latency + memory.write_latency
    slowest = max((1.0, *(256 / (256 - stall) for stall in memory.stalls)))
    estimate = 20 * busy + 100 * beats + program.count * (1000 + 20 * latency) + 100_000
    return min(int(estimate * slowest), 2**32 - 1)


def _read_results(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise SimulationError(f"the simulation left no {path}")
    content = json.loads(path.read_text())
    if content.get("complete") is not True:
        raise SimulationError(f"{path} is incomplete")
    results: list[dict[str, Any]] = content["results"]
    return results


def _check_status(found: dict[str, Any], number: int) -> None:
    status = found["registers"]["STATUS"]
    if status:
        raise SimulationError(
            f"inference {number} ended with STATUS {status} "
            f"({_STATUS.get(status, 'unknown code')}) after {found['elapsed']} cycles"
        )


def _collect(
    job: Job, found: dict[str, Any], steps: dict[str, Any], files: _Files, waves: Path | None
) -> RunResult:
    program = job.program
    bus = program.target.bus_bytes
    data = []
    for _, _, file in steps["dumps"]:
        path = files.folder / f"dump{file}.hex"
        data.append(read_section(path, files.sections[file], bus))
        path.unlink()
    names = list(program.tensors if job.dump == "tensors" else program.outputs)
    tensors = {
        name: program.tensors[name].layout.unpack(raw)
        for name, raw in zip(names, data, strict=False)
    }
    stamps = []
    if program.regions:
        pairs = np.frombuffer(data[-1], "<u4").reshape(-1, stamp_pitch(program.target) // 4)[:, :2]
        stamps = [(int(cycle), int(calc)) for cycle, calc in pairs]
    return RunResult(
        tensors=tensors,
        stamps=stamps,
        counters=found["registers"],
        elapsed=found["elapsed"],
        bus_reads=found["read_beats"],
        bus_writes=found["write_beats"],
        waves=waves,
    )
