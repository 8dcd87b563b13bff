"""Running a compiled network in RTL beside the integer reference."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tilewright.compiler.isa import INSTRUCTION_BYTES, Opcode, decode
from tilewright.compiler.program import Program
from tilewright.data import as_data
from tilewright.delivery import hardware_text
from tilewright.progress import Progress
from tilewright.quant.fixed import FixedGraph
from tilewright.sim.memory import MemoryConfig
from tilewright.sim.network import Mismatch, RunResult, compare_run
from tilewright.sim.network import simulate as run_program
from tilewright.sim.runner import build_simulation

if TYPE_CHECKING:
    from tilewright.sim.runner import SimBuild

__all__ = ["LATENCY", "Compiled", "Simulation", "cache_folder", "simulate", "written_values"]

LATENCY = 50
"""Cycles from a read's address to its first data where nothing else is said."""

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compiled:
    """A quantized network and its program; `tile` is set if that computes only one tile."""

    fixed: FixedGraph
    program: Program
    tile: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Simulation:
    """What the RTL computed, and what the integer reference says.

    Attributes
    ----------
    inputs : integers [N, C, H, W] of the program's inputs
    expected : integers [N, C, H, W] of the program's other tensors
    runs : one for each image
    mismatches : for each image, every tensor that differs
    written : bool [C, H, W] of those tensors: which values the program computes, and are compared;
        all, except for one tile
    compared : values compared in all
    latency : of the memory, in cycles
    """

    compiled: Compiled
    inputs: dict[str, IntArray]
    expected: dict[str, IntArray]
    runs: list[RunResult]
    mismatches: list[list[Mismatch]]
    written: dict[str, npt.NDArray[np.bool_]]
    compared: int
    latency: int = LATENCY

    @property
    def passed(self) -> bool:
        """Whether every value is equal."""
        return not any(self.mismatches)


def simulate(
    compiled: Compiled,
    images: Any,
    *,
    work_dir: str | os.PathLike[str],
    latency: int = LATENCY,
    memory: MemoryConfig | None = None,
    simulator: str = "verilator",
    waves: bool = False,
    verilog_text: str | None = None,
    progress: Progress | None = None,
) -> Simulation:
    """Run the program on the generated Verilog and compare every tensor with the reference.

    Parameters
    ----------
    compiled : of `compile`
    images : raw images [N, C, H, W], as for `quantize`
    work_dir : gets the simulation's log and, with `waves`, waves.vcd
    latency : cycles from a read's address to its first data, and from a write to its response
    memory : the memory in every detail, instead of `latency`
    simulator : "verilator" or "icarus"
    verilog_text : the Verilog to run; generated from the program's target if not given

    Raises
    ------
    TilewrightError
        If the simulator is not installed or `images` do not fit the network.
    SimulationError
        If the simulation did not end well.
    """
    program = compiled.program
    report = progress or (lambda done, total, text: None)
    report(0, 0, "integer reference")
    inputs, expected = _reference(compiled, images)
    report(0, 0, "generate and compile the Verilog")
    build = _build(program, verilog_text, simulator, waves)
    count = len(next(iter(inputs.values())))
    runs = run_program(
        build,
        program,
        [{name: array[i] for name, array in inputs.items()} for i in range(count)],
        work_dir=Path(work_dir),
        memory=memory or MemoryConfig(read_latency=latency, write_latency=latency),
        waves=waves,
        progress=lambda done, total: report(done, total, "simulate"),
    )
    written = {name: _compared_values(compiled, name) for name in expected}
    return Simulation(
        compiled=compiled,
        inputs=inputs,
        expected=expected,
        runs=runs,
        mismatches=[_compare(compiled, run, expected, i, written) for i, run in enumerate(runs)],
        written=written,
        compared=count * sum(int(mask.sum()) for mask in written.values()),
        latency=latency if memory is None else memory.read_latency,
    )


def cache_folder() -> Path:
    """Folder of compiled simulators: TILEWRIGHT_CACHE, or tilewright in the user's cache folder."""
    own = os.environ.get("TILEWRIGHT_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tilewright"


def _reference(compiled: Compiled, images: Any) -> tuple[dict[str, IntArray], dict[str, IntArray]]:
    """Integers of the program's inputs, and of the tensors that it computes."""
    from tilewright.quant.reference import quantize_inputs, run_fixed

    program, fixed = compiled.program, compiled.fixed
    integers = quantize_inputs(fixed, as_data(images, fixed.graph, what="Images").inputs)
    values = {**integers, **run_fixed(fixed, integers, keep=set(program.tensors))}
    inputs = {name: values[name] for name in program.inputs}
    return inputs, {name: values[name] for name in program.tensors if name not in inputs}


def _build(program: Program, text: str | None, simulator: str, waves: bool) -> SimBuild:
    # A power of two, so that one compiled simulation serves many programs.
    memory_bytes = max(1 << 20, 1 << (program.memory_bytes - 1).bit_length())
    return build_simulation(
        text or hardware_text(program.target),
        program.target,
        cache_folder(),
        simulator=simulator,
        waves=waves,
        memory_bytes=memory_bytes,
    )


def _compared_values(compiled: Compiled, name: str) -> npt.NDArray[np.bool_]:
    """Which values [C, H, W] of a tensor are compared: all, or those of the only tile."""
    if compiled.tile is None:
        return np.ones(compiled.program.tensors[name].layout.shape, np.bool_)
    return written_values(compiled.program, name)


def written_values(program: Program, name: str) -> npt.NDArray[np.bool_]:
    """Which values [C, H, W] of a tensor the program's STOREs write."""
    place, target = program.tensors[name], program.target
    marks = np.zeros(place.layout.size, np.uint8)
    for number in range(program.count):
        start = program.instructions + number * INSTRUCTION_BYTES
        opcode, field = decode(program.image[start : start + INSTRUCTION_BYTES])
        first = field.get("address", 0) - place.address
        if opcode is not Opcode.STORE or not 0 <= first < place.layout.size:
            continue
        rows = first + np.arange(field["rows"])[:, None, None] * field["pitch"]
        pixels = np.arange(field["cols"])[None, :, None] * target.pixel_bytes
        lanes = np.arange(field["lanes"] * target.lane_bytes)
        marks[rows + pixels + field["dst_lane"] * target.lane_bytes + lanes] = 1
    return np.not_equal(place.layout.unpack(marks.tobytes()), place.layout.offset)


def _compare(
    compiled: Compiled,
    run: RunResult,
    expected: Mapping[str, IntArray],
    image: int,
    written: Mapping[str, npt.NDArray[np.bool_]],
) -> list[Mismatch]:
    """Every tensor that differs; what another tile would have written counts as it is."""
    wanted = {
        name: np.where(written[name], array[image], run.tensors[name])
        for name, array in expected.items()
    }
    return compare_run(compiled.program, run, wanted)
