"""Whole-network runs of the accelerator's Verilog, with no Python per cycle."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from tilewright.compiler.program import Program
from tilewright.sim.jobs import Disturbance, Job, JobFiles, plan_job
from tilewright.sim.memory import MemoryConfig
from tilewright.sim.process import run_module, waveform
from tilewright.sim.results import Mismatch, RunResult, check_status, collect, compare_run
from tilewright.sim.runner import SimBuild, SimulationError

__all__ = [
    "Disturbance",
    "Job",
    "Mismatch",
    "RunResult",
    "compare_run",
    "simulate",
    "simulate_jobs",
]

_PROGRESS = "@tilewright "


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
    files = JobFiles(work_dir)
    plans = [plan_job(build, job, files) for job in jobs]
    (work_dir / "job.json").write_text(json.dumps({"jobs": plans}))
    total = sum(len(job.inputs) for job in jobs)
    done = 0

    def on_line(line: str) -> None:
        nonlocal done
        if _PROGRESS in line:  # the simulator's own output may stand before it
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
    path = waveform(work_dir) if waves else None
    if path is not None and not path.is_file():
        raise SimulationError(f"the simulation left no waveform {path}")
    collected = []
    for job, plan in zip(jobs, plans, strict=True):
        own = [results.pop(0) for _ in range(min(len(plan["inferences"]), len(results)))]
        for number, found in enumerate(own):
            check_status(job, found, number)
        if len(own) != len(job.inputs):
            raise SimulationError(f"{len(job.inputs)} inferences were asked for, {len(own)} ran")
        pairs = zip(own, plan["inferences"], strict=True)
        collected.append([collect(job, found, steps, files, path) for found, steps in pairs])
    return collected


def _read_results(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise SimulationError(f"the simulation left no {path}")
    content = json.loads(path.read_text())
    if content.get("complete") is not True:
        raise SimulationError(f"{path} is incomplete")
    results: list[dict[str, Any]] = content["results"]
    return results
