"""Measuring what is else estimated: synthesis, placement and the simulation of one design."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from tilewright.boards.board import Board
from tilewright.boards.registry import get_board
from tilewright.boards.tools import check_tools
from tilewright.compiler.lower import compile_network
from tilewright.compiler.save import program_bytes
from tilewright.compiler.target import Target
from tilewright.data import Data
from tilewright.errors import TilewrightError
from tilewright.quant.fixed import FixedGraph
from tilewright.quant.reference import quantize_inputs, run_fixed
from tilewright.sim.memory import MemoryConfig
from tilewright.simulation import Compiled, cache_folder, simulate
from tilewright.sweep.resources import NAMES, load_model
from tilewright.sweep.space import Hardware
from tilewright.sweep.synthesis import FAMILIES, synthesize, total

__all__ = ["confirm", "simulated"]


def confirm(network: FixedGraph, hardware: Hardware, images: Data, latency: int) -> dict[str, Any]:
    """Measure a design.

    Parameters
    ----------
    images : of which the first is simulated
    latency : of the memory where there is no board

    Returns
    -------
    dict
        `cycles` of the RTL and `mismatches` against the integer reference; LUTs, flip-flops, multiplier
        blocks and block RAMs of Yosys, if the family is known; `fmax_mhz` of nextpnr where there is a
        board and the tools are installed; `unplaced`, why there is no bitstream.
    """
    target = hardware.target
    found = simulated(network, hardware, images, latency)
    if target.multiplier in FAMILIES:
        counts = total(synthesize(target, target.multiplier, cache_folder()))
        rest = load_model()["boards"].get(hardware.board, {})
        found |= {name: counts[what] + rest.get(what, 0) for name, what in NAMES.items()}
    if hardware.board is not None:
        found |= _placed(get_board(hardware.board), target)
    return found


def simulated(
    network: FixedGraph, hardware: Hardware, images: Data, latency: int
) -> dict[str, Any]:
    """The first image through the whole network in RTL.

    On a board it goes through the driver and the RTL of the whole board, its memory included, else
    through the accelerator before a memory of that latency.
    """
    compiled = Compiled(
        fixed=network, program=compile_network(network, hardware.target, keep=False)
    )
    image = images.first(1).inputs
    if hardware.board is not None:
        return _on_board(
            compiled, dataclasses.replace(get_board(hardware.board), target=hardware.target), image
        )
    memory = MemoryConfig(read_latency=latency, write_latency=latency)
    with tempfile.TemporaryDirectory() as folder:
        run = simulate(compiled, image, work_dir=folder, memory=memory)
    wrong = sum(m.count for found in run.mismatches for m in found)
    return {"cycles": run.runs[0].cycles, "mismatches": wrong}


def _on_board(
    compiled: Compiled, board: Board, image: Mapping[str, npt.NDArray[Any]]
) -> dict[str, Any]:
    """The same on the virtual board."""
    from tilewright.board_runs import open_accelerator
    from tilewright.boards.host import HostProgram

    program = HostProgram.of_bytes(program_bytes(compiled.program))
    fixed = compiled.fixed
    values = run_fixed(fixed, quantize_inputs(fixed, image))
    with open_accelerator(board, None) as accelerator:
        accelerator.load(program)
        run = accelerator.run({name: array[0] for name, array in image.items()})
    wrong = sum(
        int((run.integers[spec.name].reshape(-1) != values[spec.tensor].reshape(-1)).sum())
        for spec in fixed.graph.outputs
    )
    return {"cycles": run.counters["CYCLES"], "mismatches": wrong}


def _placed(board: Board, target: Target) -> dict[str, Any]:
    """The clock that the board's whole design reaches."""
    from tilewright.boards.flow import TimingError, build_bitstream

    try:
        check_tools(board.family)
        made = build_bitstream(dataclasses.replace(board, target=target), cache_folder())
    except TimingError as error:
        return {"fmax_mhz": error.fmax_mhz, "unplaced": str(error)}
    except TilewrightError as error:
        return {"unplaced": str(error)}
    return {"fmax_mhz": made.route.fmax_mhz}
