"""What a whole-network run shall do, and its files for the bench."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tilewright.compiler.capabilities import check_target
from tilewright.compiler.program import Program, stamp_pitch
from tilewright.compiler.registers import WATCHDOG_BITS
from tilewright.sim.memory import MemoryConfig, Section, write_section
from tilewright.sim.runner import SimBuild, SimulationError

__all__ = ["DISTURBANCES", "Disturbance", "Job", "JobFiles", "plan_job"]

DISTURBANCES = ("start", "soft_reset", "reset")
"""Ways of disturbing a run; see `Disturbance`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """What the host does to a run that is under way.

    Attributes
    ----------
    after_cycles : how long after the start; the run must not be over by then
    kind : "start" writes CTRL.start again, which must change nothing; "soft_reset" stops the run by
        CTRL, and "reset" resets accelerator and memory model: memory is then filled anew (and
        after a reset the registers too) and the program started again
    """

    after_cycles: int
    kind: str

    def __post_init__(self) -> None:
        if self.kind not in DISTURBANCES:
            raise ValueError(f"kind must be one of {', '.join(DISTURBANCES)}, not {self.kind!r}")
        if self.after_cycles < 1:
            raise ValueError(f"after_cycles must be at least 1, not {self.after_cycles}")


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
    disturb : what the host does in the middle of each inference
    status : STATUS with which each inference must end; other than 0 for programs that must fail,
        None for programs that may
    watchdog : the WATCHDOG register: cycles without progress that no correct run has; None derives
        it from the memory
    """

    program: Program
    inputs: Sequence[Mapping[str, npt.NDArray[Any]]]
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    max_cycles: int | None = None
    reset: bool = False
    keep_memory: bool = False
    dump: str = "tensors"
    disturb: Disturbance | None = None
    status: int | None = 0
    watchdog: int | None = None

    def __post_init__(self) -> None:
        if self.dump not in ("tensors", "outputs"):
            raise ValueError(f"dump must be 'tensors' or 'outputs', not {self.dump!r}")


class JobFiles:
    """The numbered files between this process and the simulation, in `folder`.

    Attributes
    ----------
    sections : which part of memory each file to read back holds, by number
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        self.sections: dict[int, Section] = {}

    def next(self) -> int:
        self.count += 1
        return self.count


def plan_job(build: SimBuild, job: Job, files: JobFiles) -> dict[str, Any]:
    """One job as the bench reads it; writes the memory contents that it loads.

    Raises
    ------
    SimulationError
        If program or inputs do not fit the simulation.
    TilewrightError
        If the program was compiled for another target.
    """
    program = job.program
    target = program.target
    assert build.target is not None
    check_target(target, build.target)
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
    memory = job.memory.within(target.address_bits, used)
    return {
        "config": memory.bench_values(used),
        "reset": job.reset,
        "disturb": None if job.disturb is None else asdict(job.disturb),
        "status": job.status,
        "target": asdict(target),
        "registers": {
            "MEM_BASE": memory.base,
            "INSTRUCTIONS": program.instructions,
            "COUNT": program.count,
            "WATCHDOG": _watchdog(job.memory) if job.watchdog is None else job.watchdog,
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
    files: JobFiles,
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
    slowest = _slowest(memory)
    estimate = 20 * busy + 100 * beats + program.count * (1000 + 20 * latency) + 100_000
    return min(int(estimate * slowest), 2**32 - 1)


def _watchdog(memory: MemoryConfig) -> int:
    """Cycles in which something moves in every correct run."""
    waits = 10_000 + 8 * (memory.read_latency + memory.write_latency)
    return min(int(waits * _slowest(memory)), (1 << WATCHDOG_BITS) - 1)


def _slowest(memory: MemoryConfig) -> float:
    """By how much the channel that stalls most stretches the time."""
    return max((1.0, *(256 / (256 - stall) for stall in memory.stalls)))
