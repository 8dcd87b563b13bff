"""What each subcommand does: read, run the stages, write the results, say what to print."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from rich.console import Console

from tilewright import api
from tilewright.boards import TARGETS
from tilewright.console import Outcome, print_lines, print_table
from tilewright.data import Data
from tilewright.doctor import inspect_tools
from tilewright.errors import TilewrightError
from tilewright.html.writing import require_plotly, write_page
from tilewright.networks import quantized_network, save_quantized
from tilewright.outputs import staging, to_json
from tilewright.planning import plan_lines
from tilewright.progress import Progress, show_progress
from tilewright.quant.fixed import FixedGraph
from tilewright.settings import (
    load_graph,
    model_path,
    output_folder,
    resolve,
    test_data,
)
from tilewright.usercode import is_python

if TYPE_CHECKING:
    from tilewright.graph.ir import Graph
    from tilewright.quant.layerwise import LayerLoss

__all__ = [
    "check",
    "compile_model",
    "doctor",
    "quantize",
    "targets",
    "verilog",
]


def check(options: argparse.Namespace) -> Outcome:
    """Say whether a network can run; list everything that cannot."""
    config = resolve(options)
    path = model_path(config)
    findings = []
    if not is_python(path):
        from tilewright.graph.check import check_model

        findings = check_model(path)
    if findings:
        result = {"supported": False, "findings": [dataclasses.asdict(f) for f in findings]}
        lines = [f"{path}: {len(findings)} not supported", *(f"  {f}" for f in findings)]
        return Outcome(2, result, lambda console: print_lines(console, lines))
    with show_progress(quiet=options.quiet) as progress:
        progress(0, 0, "import and compare with the original")
        graph = load_graph(config)
    layers = [
        {"name": x.name, "kind": x.kind, "shape": graph.shapes[x.name], "macs": graph.macs(x),
         "source": x.source}
        for x in graph.layers
    ]  # fmt: skip
    host = {o.name: list(o.host_ops) for o in graph.outputs if o.host_ops}
    result = {"supported": True, "findings": [], "layers": layers, "left_to_host": host}
    return Outcome(0, result, lambda console: _print_layers(console, graph, host))


def _print_layers(console: Console, graph: Graph, host: dict[str, list[str]]) -> None:
    rows = [
        (x.name, x.kind, "×".join(map(str, graph.shapes[x.name])), f"{graph.macs(x):,}")
        for x in graph.layers
    ]
    print_table(console, f"{graph.name}: supported", ("layer", "kind", "shape", "MACs"), rows)
    for name, operators in host.items():
        print_lines(console, [f"Output {name}: {', '.join(operators)} is left to the host"])


def quantize(options: argparse.Namespace) -> Outcome:
    """Choose a fractional length for every tensor; writes quantized.onnx (QONNX)."""
    from tilewright.analysis import edges
    from tilewright.profiles import print_losses, print_profiles
    from tilewright.quant.profile import profile

    if options.html:
        require_plotly()
    config = resolve(options)
    with show_progress(quiet=options.quiet) as progress:
        network = quantized_network(config, progress, resume=options.resume)
        profiles, losses = [], []
        if network.calibration is not None:
            progress(0, 0, "compare float and fixed")
            profiles = profile(network.fixed, network.calibration.inputs)
            losses = _layer_losses(network.fixed, test_data(config, network.fixed.graph), progress)
        elif options.html:
            raise TilewrightError("No images to show value ranges of: give --calibration FILE")
    folder = output_folder(config, network.fixed.graph.name)
    formats = network.fixed.formats
    result = {
        "output": str(folder),
        "name": network.fixed.graph.name,
        "edges": edges(network.fixed),
        "formats": {n: {"bits": f.bits, "frac": f.frac} for n, f in formats.items()},
        "layers": [dataclasses.asdict(found) for found in profiles],
        "losses": [{**dataclasses.asdict(found), "loss": found.loss} for found in losses],
        "steps": [dataclasses.asdict(step) for step in network.log],
        "front": [] if network.plan is None else list(map(dataclasses.asdict, network.plan.front)),
        "measured": {} if network.plan is None else dict(network.plan.measured),
    }
    with staging(folder) as stage:
        save_quantized(network, config, stage)
        (stage / "quantize.json").write_text(to_json(result), "utf-8")
        if options.html:
            write_page(stage / "quantize.html", result)
    lines = [*map(str, network.log), *plan_lines(network.plan)]

    def render(console: Console) -> None:
        print_lines(console, lines)
        if profiles:
            print_profiles(profiles, network.log, console)
        if losses:
            print_losses(losses, console)
        print_lines(console, [f"Wrote {folder / 'quantized.onnx'}"])

    return Outcome(0, result, render)


def _layer_losses(fixed: FixedGraph, test: Data | None, progress: Progress) -> list[LayerLoss]:
    """Loss of accuracy layer by layer; nothing without labels, or where one image takes too long."""
    from tilewright.quant.layerwise import images_within, layer_losses

    count = images_within(fixed)
    if test is None or test.labels is None or not count or len(fixed.graph.outputs) != 1:
        return []
    few = test.first(count)
    assert few.labels is not None
    return layer_losses(fixed, few.inputs, few.labels, progress=progress)


def compile_model(options: argparse.Namespace) -> Outcome:
    """Compile a network for a target; writes its program."""
    from tilewright.compiler.listing import listing
    from tilewright.compiler.save import save_program

    config = resolve(options)
    with show_progress(quiet=options.quiet) as progress:
        network = quantized_network(config, progress, resume=options.resume)
        compiled = api.compile(network.fixed, config.target, keep=False, progress=progress)
    program = compiled.program
    folder = output_folder(config, network.fixed.graph.name)
    with staging(folder) as stage:
        save_quantized(network, config, stage)
        save_program(program, stage / "program.twp")
        (stage / "program.txt").write_text(listing(program), "utf-8")
    layers = [{**dataclasses.asdict(r), "op": r.op.value} for r in program.regions]
    rows = [
        (r.name, network.fixed.layer(r.name).layer.kind, str(r.tiles), r.bound)
        for r in program.regions
    ]
    result = {
        "output": str(folder),
        "target": dataclasses.asdict(config.target),
        "instructions": program.count,
        "memory_bytes": program.memory_bytes,
        "layers": layers,
    }

    def render(console: Console) -> None:
        title = f"{network.fixed.graph.name} on target {config.target.name}"
        print_table(console, title, ("layer", "kind", "tiles", "bound"), rows)
        size = f"{program.count:,} instructions, {program.memory_bytes:,} bytes of memory"
        print_lines(console, [size, f"Wrote {folder / 'program.twp'}"])

    return Outcome(0, result, render)


def verilog(options: argparse.Namespace) -> Outcome:
    """Write the accelerator's Verilog, file list, register map and manifest."""
    config = resolve(options)
    folder = output_folder(config, config.target.name)
    with show_progress(quiet=options.quiet) as progress:
        progress(0, 0, "generate Verilog")
        path = api.verilog(config.target, folder)
    files = sorted(p.name for p in folder.iterdir())
    result = {"output": str(folder), "verilog": str(path), "files": files}
    return Outcome(0, result, lambda console: print_lines(console, [f"Wrote {path}"]))


def targets(options: argparse.Namespace) -> Outcome:
    """List the named targets."""
    rows = [
        (t.name, f"{t.rows}×{t.cols}", f"{t.weight_bits}/{t.act_bits}/{t.acc_bits}",
         f"{t.rows * t.act_depth * t.lane_bytes:,}", str(t.acc_depth), str(t.bus_bytes))
        for t in TARGETS.values()
    ]  # fmt: skip
    columns = ("name", "array", "bits w/x/acc", "bank bytes", "accumulators", "bus bytes")
    result = {name: dataclasses.asdict(target) for name, target in TARGETS.items()}
    return Outcome(0, result, lambda console: print_table(console, "Targets", columns, rows))


def doctor(options: argparse.Namespace) -> Outcome:
    """Say what is installed and what is missing."""
    tools = inspect_tools()
    rows = [(t.name, t.found or "missing", t.purpose) for t in tools]
    missing = [t.name for t in tools if t.found is None and t.required]
    result = {"tools": [dataclasses.asdict(t) for t in tools], "missing": missing}

    def render(console: Console) -> None:
        print_table(console, "Installed", ("what", "found", "needed for"), rows)
        text = f"Missing: {', '.join(missing)}" if missing else "Everything needed is there."
        print_lines(console, [text])

    return Outcome(2 if missing else 0, result, render)
