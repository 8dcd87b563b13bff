"""The subcommand `compress`."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from tilewright.console import Outcome, print_lines, print_table
from tilewright.html.writing import require_plotly, write_page
from tilewright.networks import QuantizedNetwork, save_quantized
from tilewright.outputs import staging, to_json
from tilewright.progress import show_progress
from tilewright.settings import model_path, output_folder, resolve

__all__ = ["compress"]


def compress(options: argparse.Namespace) -> Outcome:
    """Prune, factorize, ternarize, share weights, retrain; writes quantized.onnx and the streams."""
    from tilewright.compression import write_streams
    from tilewright.shrinking import describe, shrink

    if options.html:
        require_plotly()
    config = resolve(options)
    folder = output_folder(config, Path(model_path(config).partition(":")[0]).stem)
    with show_progress(quiet=options.quiet) as progress:
        found = shrink(config, folder / "checkpoints", progress)
        with staging(folder) as stage:
            (stage / "streams").mkdir()
            write_streams(found.encoded, stage / "streams")
            network = QuantizedNetwork(fixed=found.fixed, calibration=None, log=())
            save_quantized(network, config, stage)
            result = {"output": str(folder), **describe(found)}
            (stage / "compress.json").write_text(to_json(result), "utf-8")
            if options.html:
                write_page(stage / "compress.html", result)
    rows = [(x.step, f"{x.accuracy:.2%}", f"{x.parameters:,}") for x in found.result.stages]
    layers = [
        (row["layer"], f"{row['kept']:.1%}", f"{row['plain_bytes']:,}",
         "–" if row["stream_bytes"] is None else f"{row['stream_bytes']:,}")
        for row in result["layers"]
    ]  # fmt: skip

    def render(console: Console) -> None:
        print_table(console, "After each step", ("step", "accuracy", "parameters left"), rows)
        columns = ("layer", "weights left", "plain bytes", "coded bytes")
        print_table(console, "Weight streams", columns, layers)
        print_lines(console, [f"Wrote {folder / 'quantized.onnx'}"])

    return Outcome(0, result, render)
