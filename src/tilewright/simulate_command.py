"""The subcommand `simulate`."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from tilewright import api
from tilewright.config import Config
from tilewright.console import Outcome, print_lines
from tilewright.data import Data
from tilewright.errors import TilewrightError, nearest
from tilewright.html.writing import require_plotly, write_page
from tilewright.networks import QuantizedNetwork, quantized_network
from tilewright.outputs import staging, to_json
from tilewright.progress import show_progress
from tilewright.quant.fixed import FixedGraph
from tilewright.reports import report_dict
from tilewright.settings import output_folder, resolve, test_data
from tilewright.simulation import Simulation
from tilewright.simulation import simulate as simulate_program

__all__ = ["simulate"]


def simulate(options: argparse.Namespace) -> Outcome:
    """Run a network, a layer or a tile in RTL and compare with the integer reference."""
    config = resolve(options)
    if options.tile is not None and options.layer is None:
        raise TilewrightError("Option --tile needs --layer")
    if options.tile is not None and options.html:
        raise TilewrightError("Option --html is not for --tile: it compares whole layers")
    if options.html:
        require_plotly()
    with show_progress(quiet=options.quiet) as progress:
        network = quantized_network(config, progress, resume=options.resume)
        _check_layer(network.fixed, options.layer)
        compiled = api.compile(
            network.fixed, config.target, layer=options.layer, tile=options.tile, progress=progress
        )
        folder = output_folder(config, network.fixed.graph.name)
        images = _images(network, config)
        with staging(folder) as stage:
            run = simulate_program(
                compiled,
                images.inputs,
                work_dir=stage / "simulation",
                latency=config.simulate.latency,
                simulator=config.simulate.simulator,
                waves=options.waves,
                progress=progress,
            )
            result = {
                "output": str(folder),
                "layer": options.layer,
                "tile": options.tile,
                **_save_simulation(run, folder, stage / "simulation"),
            }
            if options.html or (options.json and options.tile is None):
                result["report"] = _layer_report(run, images)
            (stage / "simulate.json").write_text(to_json(result), "utf-8")
            if options.html:
                write_page(stage / "simulate.html", result)
    cycles = run.runs[0].cycles
    lines = [f"{len(run.runs)} images of {cycles:,} cycles, {run.compared:,} values compared"]
    lines += [f"image {i}: {m}" for i, found in enumerate(run.mismatches) for m in found]
    lines.append("equal to the integer reference" if run.passed else "RTL DIFFERS")
    wrote = "expected, actual and compared values" + (" and waves.vcd" if options.waves else "")
    lines.append(f"Wrote {wrote} in {folder / 'simulation'}")
    return Outcome(not run.passed, result, lambda console: print_lines(console, lines))


def _check_layer(fixed: FixedGraph, name: str | None) -> None:
    names = [layer.name for layer in fixed.layers]
    if name is not None and name not in names:
        raise TilewrightError(f"Network has no layer {name!r}; {nearest(name, names)}")


def _images(network: QuantizedNetwork, config: Config) -> Data:
    """The images to simulate: the test images if there are any, else calibration images."""
    data = test_data(config, network.fixed.graph) or network.calibration
    if data is None:
        raise TilewrightError("No images: give --test FILE or --calibration FILE")
    return data.first(config.simulate.images)


def _layer_report(run: Simulation, images: Data) -> dict[str, Any]:
    """Float, fixed and RTL of the layers that ran, and the cycle model beside the RTL's cycles."""
    from tilewright.analysis import make_report, predict_cycles

    program = run.compiled.program
    whole = len(program.regions) == len(run.compiled.fixed.layers)
    found = make_report(
        run.compiled.fixed,
        images if whole else dataclasses.replace(images, labels=None),
        program=program,
        simulation=run,
        predicted=predict_cycles(program, run.latency, trace=True),
    )
    return report_dict(found)


def _save_simulation(run: Simulation, folder: Path, work: Path) -> dict[str, Any]:
    """Leave expected and actual values and the waveform in `work`; describe them for JSON.

    One tile computes only some of its layer's values: compared.npz says which.
    """
    import numpy as np

    np.savez_compressed(work / "expected.npz", **run.expected)  # type: ignore[arg-type]
    actual = {name: np.stack([r.tensors[name] for r in run.runs]) for name in run.expected}
    np.savez_compressed(work / "actual.npz", **actual)  # type: ignore[arg-type]
    np.savez_compressed(work / "compared.npz", **run.written)  # type: ignore[arg-type]
    keep = {"expected.npz", "actual.npz", "compared.npz", "waves.vcd", "simulation.log"}
    for entry in work.iterdir():
        if entry.name not in keep:
            entry.unlink()
    waves = folder / "simulation" / "waves.vcd" if (work / "waves.vcd").is_file() else None
    return {
        "passed": run.passed,
        "images": len(run.runs),
        "compared": run.compared,
        "mismatches": [[dataclasses.asdict(m) for m in found] for found in run.mismatches],
        "counters": run.runs[0].counters,
        "layers": [
            {"name": region.name, "end_cycle": end, "busy_cycles": busy}
            for region, (end, busy) in zip(
                run.compiled.program.regions, run.runs[0].stamps, strict=True
            )
        ],
        "waves": None if waves is None else str(waves),
        "files": sorted(str(folder / "simulation" / p.name) for p in work.iterdir()),
    }
