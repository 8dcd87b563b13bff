"""What a whole-network run left, and comparing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tilewright.compiler.diagnosis import describe_fault
from tilewright.compiler.program import Program, stamp_pitch
from tilewright.compiler.registers import Status
from tilewright.sim.jobs import Job, JobFiles
from tilewright.sim.memory import read_section
from tilewright.sim.runner import SimulationError

__all__ = ["Mismatch", "RunResult", "check_status", "collect", "compare_run"]

_STATUS = {
    Status.GOOD: "good",
    Status.ILLEGAL: "illegal instruction",
    Status.READ_ERROR: "read error",
    Status.WRITE_ERROR: "write error",
    Status.WATCHDOG: "watchdog",
    Status.WEIGHT_STREAM: "weight stream",
}

Tensor = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunResult:
    """What one inference left.

    Attributes
    ----------
    tensors : int64 [C, H, W] by name
    stamps : (cycle counter, CALC-busy counter) at the end of each region
    counters : registers by name: CYCLES and the counters behind it, STATUS, ISR, CTRL, and those
        that tell of faults
    elapsed : cycles from start (or the disturbance) to irq, counted by the bench
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


def check_status(job: Job, found: dict[str, Any], number: int) -> None:
    """Raise SimulationError if inference `number` did not end with the STATUS that `job` wants."""
    registers = found["registers"]
    status, wanted = registers["STATUS"], job.status
    if wanted is None or status == wanted:
        return
    wish = f", not with {wanted} ({_STATUS[Status(wanted)]})" if wanted else ""
    why = f": {describe_fault(registers, job.program)}" if status else ""
    raise SimulationError(
        f"inference {number} ended with STATUS {status} "
        f"({_STATUS.get(status, 'unknown code')}){wish} after {found['elapsed']} cycles{why}"
    )


def collect(
    job: Job, found: dict[str, Any], steps: dict[str, Any], files: JobFiles, waves: Path | None
) -> RunResult:
    """The result of one inference: what the bench `found`, and memory as it read it back."""
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
