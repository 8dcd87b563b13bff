"""Measuring a network for its report: float against fixed, static against dynamic, RTL's cycles."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tilewright.compiler.bounds import Bounds, layer_bounds
from tilewright.compiler.program import Program
from tilewright.data import Data
from tilewright.progress import Progress
from tilewright.quant.config import QuantConfig
from tilewright.quant.fixed import FixedGraph, FixedLayer
from tilewright.reports import (
    Accuracy,
    Hardware,
    LayerReport,
    NetworkReport,
    Precision,
    Resource,
    RtlReport,
)
from tilewright.simulation import Simulation

if TYPE_CHECKING:
    from tilewright.compiler.cycles import CycleReport
    from tilewright.compiler.timeline import Timeline
    from tilewright.graph.ir import Graph
    from tilewright.quant.metrics import LayerError
    from tilewright.quant.profile import TensorProfile

__all__ = ["compare_precision", "edges", "make_report", "measure_accuracy", "predict_cycles"]


def predict_cycles(program: Program, latency: int, *, trace: bool = False) -> CycleReport:
    """What the cycle model says of the program, with a memory of that latency.

    With `trace` also what each unit does when.
    """
    from tilewright.compiler.cycles import MemoryTiming, predict

    return predict(program, MemoryTiming(latency=latency, write_latency=latency), trace=trace)


def make_report(
    fixed: FixedGraph,
    images: Data,
    *,
    program: Program | None = None,
    simulation: Simulation | None = None,
    predicted: CycleReport | None = None,
    accuracy: Accuracy | None = None,
    precision: Sequence[Precision] = (),
    ranges: Sequence[TensorProfile] = (),
    board: str | None = None,
    resources: Sequence[Resource] = (),
    progress: Progress | None = None,
) -> NetworkReport:
    """Gather what is known about a network, or about the layers of it that were compiled.

    Parameters
    ----------
    fixed : the quantized network
    images : raw images on which float and fixed are compared, layer by layer
    program : what it was compiled to
    simulation : what the RTL did
    predicted : what the cycle model says of the program; with events there is a timeline too
    accuracy, precision : of `measure_accuracy` and `compare_precision`
    ranges : of `quant.profile.profile`
    board, resources : of which board the prediction is, and what the hardware takes of it
    """
    from tilewright.quant.metrics import compare

    errors = {e.name: e for e in compare(fixed.graph, fixed, images.inputs, progress=progress)}
    bounds = {} if program is None else layer_bounds(fixed, program)
    names = [x.name for x in fixed.layers if program is None or x.name in bounds]
    target = "none" if program is None else program.target.name
    return NetworkReport(
        name=fixed.graph.name,
        target=target,
        layers=tuple(
            _add_rtl(
                _layer(fixed, layer, errors[layer.name]), program, simulation, predicted, bounds
            )
            for layer in map(fixed.layer, names)
        ),
        accuracy=accuracy,
        rtl=None if simulation is None else _rtl(simulation, images, predicted),
        precision=tuple(precision),
        hardware=None if program is None else _hardware(program),
        edges=tuple((source, reader) for source, reader in edges(fixed) if reader in names),
        ranges=tuple(ranges),
        timeline=None if program is None else _timeline(program, predicted),
        board=board,
        resources=tuple(resources),
    )


def _timeline(program: Program, predicted: CycleReport | None) -> Timeline | None:
    from tilewright.compiler.timeline import make_timeline

    if predicted is None or not predicted.events:
        return None
    names = [region.name for region in program.regions]
    return make_timeline(predicted.events, names, predicted.cycles)


def edges(fixed: FixedGraph) -> tuple[tuple[str, str], ...]:
    """Who reads whom: names of an input or layer, and of a layer that takes its values."""
    return tuple((source, x.name) for x in fixed.layers for source in x.layer.all_inputs)


def _hardware(program: Program) -> Hardware:
    target = program.target
    return Hardware(
        rows=target.rows,
        cols=target.cols,
        bus_bytes=target.bus_bytes,
        clock_mhz=target.clock_mhz,
    )


def _layer(fixed: FixedGraph, layer: FixedLayer, error: LayerError) -> LayerReport:
    weighted = layer.weight is not None
    fracs = (int(layer.weight_frac.min()), int(layer.weight_frac.max()))
    return LayerReport(
        name=layer.name,
        kind=layer.layer.kind,
        shape=fixed.graph.shapes[layer.name],
        bits=layer.output.bits,
        frac=layer.output.frac,
        weight_bits=layer.weight_bits if weighted else None,
        weight_frac=fracs if weighted else None,
        sqnr_db=error.sqnr_db,
        max_error=error.max_error,
        saturated=error.saturated,
        macs=fixed.graph.macs(layer.layer),
    )


def _add_rtl(
    report: LayerReport,
    program: Program | None,
    simulation: Simulation | None,
    predicted: CycleReport | None,
    bounds: Mapping[str, Bounds],
) -> LayerReport:
    """`report` with what the program and the simulation say about its layer."""
    if program is None:
        return report
    number = [region.name for region in program.regions].index(report.name)
    report = dataclasses.replace(
        report,
        bound=program.regions[number].bound,
        bound_mapping=bounds[report.name].mapping,
        bound_roofline=bounds[report.name].roofline,
        read_beats=bounds[report.name].traffic.read,
        written_beats=bounds[report.name].traffic.written,
        cycles_predicted=None if predicted is None else predicted.regions[number].cycles,
    )
    if simulation is None:
        return report
    ends = [0, *(cycles for cycles, _ in simulation.runs[0].stamps)]
    cycles = ends[number + 1] - ends[number]
    wrong = sum(
        m.count for image in simulation.mismatches for m in image if m.tensor == report.name
    )
    cells = program.target.rows * program.target.cols
    return dataclasses.replace(
        report,
        cycles_measured=cycles,
        utilization=report.macs / (cells * cycles),
        mismatches=wrong,
    )


def _rtl(simulation: Simulation, images: Data, predicted: CycleReport | None) -> RtlReport:
    cycles = simulation.runs[0].cycles
    first = next((m for image in simulation.mismatches for m in image), None)
    return RtlReport(
        images=len(simulation.runs),
        mismatches=sum(m.count for image in simulation.mismatches for m in image),
        values=simulation.compared,
        cycles=cycles,
        predicted=None if predicted is None else predicted.cycles,
        frames_per_second=simulation.compiled.program.target.clock_mhz * 1e6 / cycles,
        correct=_correct(simulation, images),
        first_mismatch=None if first is None else str(first),
    )


def _correct(simulation: Simulation, images: Data) -> int | None:
    """How many images the RTL's own output labels rightly; None without labels."""
    program = simulation.compiled.program
    if images.labels is None or len(program.outputs) != 1:
        return None
    answers = [int(run.tensors[program.outputs[0]].argmax()) for run in simulation.runs]
    return sum(int(a == b) for a, b in zip(answers, images.labels, strict=False))


def measure_accuracy(
    fixed: FixedGraph,
    test: Data,
    static: FixedGraph | None = None,
    progress: Progress | None = None,
) -> Accuracy:
    """Accuracy of the float, the fixed and the statically quantized network on labelled images."""
    from tilewright.quant.metrics import accuracy

    assert test.labels is not None
    found = accuracy(fixed, test.inputs, test.labels, progress=progress)
    share = None
    if static is not None:
        share = accuracy(static, test.inputs, test.labels, progress=progress).fixed_share
    return Accuracy(
        images=found.images, float=found.float_share, fixed=found.fixed_share, static=share
    )


def compare_precision(
    graph: Graph,
    calibration: Data,
    widths: Sequence[int],
    *,
    test: Data | None = None,
    progress: Progress | None = None,
) -> tuple[Precision, ...]:
    """Quantize the network at several bit widths, dynamically and statically, and compare.

    Parameters
    ----------
    graph : the float network, as it was loaded
    calibration : images for the choice of fractional lengths, and for SQNR and saturations
    widths : bits of weights and feature maps
    test : labelled images for accuracy
    """
    return tuple(_precision(graph, calibration, bits, test, progress) for bits in widths)


def _precision(
    graph: Graph,
    calibration: Data,
    bits: int,
    test: Data | None,
    progress: Progress | None,
) -> Precision:
    from tilewright.quant.metrics import accuracy, compare
    from tilewright.quant.quantize import quantize

    errors, shares, forms = [], [], []
    for static in (False, True):
        config = QuantConfig(weight_bits=bits, feature_bits=bits, static=static)
        fixed = quantize(graph, calibration.inputs, config, progress=progress).fixed
        forms.append(fixed)
        # Layer by layer the fixed network stands beside the float one that it came from: equalization
        # shifts and scales feature maps.
        errors.append(compare(fixed.graph, fixed, calibration.inputs, progress=progress))
        share = None
        if test is not None and test.labels is not None:
            share = accuracy(fixed, test.inputs, test.labels, progress=progress).fixed_share
        shares.append(share)
    last = next(i for i, e in enumerate(errors[0]) if e.name == graph.outputs[0].tensor)
    dynamic, static_errors = errors
    return Precision(
        bits=bits,
        dynamic_sqnr_db=dynamic[last].sqnr_db,
        dynamic_saturated=sum(e.saturated for e in dynamic),
        static_frac=(_weight_frac(forms[1]), forms[1].layers[0].output.frac),
        static_sqnr_db=static_errors[last].sqnr_db,
        static_saturated=sum(e.saturated for e in static_errors),
        dynamic_accuracy=shares[0],
        static_accuracy=shares[1],
        layers=tuple(
            (d.name, d.saturated, s.saturated) for d, s in zip(dynamic, static_errors, strict=True)
        ),
    )


def _weight_frac(fixed: FixedGraph) -> int:
    """The one fractional length of all weights of a statically quantized network."""
    return next((int(x.weight_frac[0]) for x in fixed.layers if x.weight is not None), 0)
