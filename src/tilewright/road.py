"""The whole road behind quantization: compile, Verilog, simulation, measurements, report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tilewright.analysis import compare_precision, make_report, measure_accuracy, predict_cycles
from tilewright.api import compile as compile_program
from tilewright.boards.board import Board
from tilewright.boards.cycles import predict_board_cycles
from tilewright.compiler.cycles import CycleReport
from tilewright.compiler.program import Program
from tilewright.compiler.target import Target
from tilewright.data import Data
from tilewright.graph.ir import Graph
from tilewright.progress import Progress
from tilewright.quant.config import QuantConfig
from tilewright.quant.fixed import FixedGraph
from tilewright.reports import Accuracy, NetworkReport
from tilewright.simulation import Compiled, Simulation, simulate

__all__ = ["Road", "run_road"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Road:
    """What to do with a quantized network.

    Attributes
    ----------
    fixed : the network
    graph : the float network as it was loaded, which static precision and other widths start from;
        that of `fixed`, which may be equalized, if it is None
    calibration : the images that its fractional lengths were chosen on
    test : other images, with labels for accuracy; RTL and the layers' errors are measured on them
    target : what it runs on
    precision : bit widths at which static and dynamic precision are compared
    images : images to simulate in RTL; 0 leaves out Verilog and simulation
    latency, simulator : of the simulation
    detail : also find where each layer's values lie, and what each unit does when
    board : whose memory predicted cycles are for, instead of `latency`; has `target`
    """

    fixed: FixedGraph
    calibration: Data
    test: Data | None
    target: Target
    graph: Graph | None = None
    precision: tuple[int, ...] = (16, 8, 6, 4)
    images: int = 1
    latency: int = 50
    simulator: str = "verilator"
    detail: bool = False
    board: Board | None = None


def run_road(road: Road, folder: Path, progress: Progress) -> NetworkReport:
    """Do it; the program, the Verilog and the simulation's log go to `folder`."""
    from tilewright.compiler.listing import listing
    from tilewright.compiler.save import save_program
    from tilewright.quant.profile import profile
    from tilewright.resources import resources

    keep = road.images > 0  # every layer's output, to be compared
    compiled = compile_program(road.fixed, road.target, keep=keep, progress=progress)
    save_program(compiled.program, folder / "program.twp")
    (folder / "program.txt").write_text(listing(compiled.program), "utf-8")
    images = road.test or road.calibration
    run = _simulation(road, compiled, images, folder, progress) if road.images else None
    return make_report(
        road.fixed,
        images.first(max(road.images, len(road.calibration))),
        program=compiled.program,
        simulation=run,
        predicted=_predicted(road, compiled.program),
        accuracy=_accuracy(road, progress),
        precision=compare_precision(
            road.graph or road.fixed.graph,
            road.calibration,
            road.precision,
            test=road.test,
            progress=progress,
        ),
        ranges=profile(road.fixed, road.calibration.inputs) if road.detail else (),
        board=None if road.board is None else road.board.name,
        resources=resources(road.target, road.board, compiled.program.memory_bytes),
        progress=progress,
    )


def _predicted(road: Road, program: Program) -> CycleReport:
    if road.board is not None:
        return predict_board_cycles(road.board, program, trace=road.detail)
    return predict_cycles(program, road.latency, trace=road.detail)


def _simulation(
    road: Road, compiled: Compiled, images: Data, folder: Path, progress: Progress
) -> Simulation:
    """Write the hardware's files, and run exactly the Verilog in them."""
    from tilewright.delivery import write_hardware

    progress(0, 0, "generate Verilog")
    (folder / "verilog").mkdir()
    write_hardware(road.target, folder / "verilog")
    return simulate(
        compiled,
        images.first(road.images),
        work_dir=folder / "simulation",
        latency=road.latency,
        simulator=road.simulator,
        verilog_text=(folder / "verilog" / f"{road.target.prefix}.v").read_text("utf-8"),
        progress=progress,
    )


def _accuracy(road: Road, progress: Progress) -> Accuracy | None:
    """Accuracy with the network's own widths, and with static precision at the same ones."""
    from tilewright.quant.quantize import quantize

    if road.test is None or road.test.labels is None:
        return None
    config = QuantConfig(
        layer_weight_bits={
            x.name: x.weight_bits for x in road.fixed.layers if x.weight is not None
        },
        layer_feature_bits={name: form.bits for name, form in road.fixed.formats.items()},
        static=True,
    )
    graph = road.graph or road.fixed.graph
    static = quantize(graph, road.calibration.inputs, config, progress=progress).fixed
    return measure_accuracy(road.fixed, road.test, static, progress)
