"""Two networks on handwritten digits, from float to RTL: `make demo`.

MNIST-8 is a trained network from the ONNX model zoo, taken from the qonnx package; the other is the
residual, depthwise-separable network of digits.py. Everything is left in build/demo.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from digits import network, package_folder, read_digits, split
from rich.console import Console

import tilewright
from tilewright.data import Data
from tilewright.graph.ir import Graph
from tilewright.outputs import staging, to_json
from tilewright.progress import Progress, show_progress
from tilewright.report_tables import print_report
from tilewright.reports import NetworkReport, report_dict
from tilewright.road import Road, run_road

CALIBRATION = 64
PIXEL_SCALE = [1 / 255]
"""Both networks take pixels in 0..1; the digits have 0..255."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A network, the images to choose fractional lengths on, and others with labels."""

    name: str
    graph: Graph
    calibration: Data
    test: Data


def examples() -> Iterator[Example]:
    """Both networks, each with its data."""
    pixels, labels = read_digits()
    path = package_folder("qonnx") / "data" / "onnx" / "mnist-conv" / "model.onnx"
    graph = tilewright.load(path, name="mnist-8", scale=PIXEL_SCALE)
    train, test = split(len(labels))
    everything = np.concatenate([test, train])
    # It was trained on other digits, so all of these are test images.
    yield _example("mnist-8", graph, pixels, labels, train, everything)
    graph = tilewright.load(network(), np.zeros((1, 1, 28, 28)), name="digits", scale=PIXEL_SCALE)
    yield _example("digits", graph, pixels, labels, train, test)


def _example(
    name: str,
    graph: Graph,
    pixels: np.ndarray,
    labels: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
) -> Example:
    chosen = train[:CALIBRATION]
    source = graph.inputs[0].name
    return Example(
        name=name,
        graph=graph,
        calibration=Data(inputs={source: pixels[chosen]}, labels=labels[chosen]),
        test=Data(inputs={source: pixels[test]}, labels=labels[test]),
    )


def run(example: Example, images: int, folder: Path, progress: Progress) -> NetworkReport:
    """One network's whole road, at 8 bits on the default target."""
    result = tilewright.quantize(example.graph, example.calibration, bits=8, progress=progress)
    road = Road(
        fixed=result.fixed,
        graph=example.graph,
        calibration=example.calibration,
        test=example.test,
        target=tilewright.Target(),
        images=images,
    )
    folder.mkdir()
    return run_road(road, folder, progress)


def main() -> int:
    """Run both; 1 if RTL and reference differ anywhere."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20, help="simulated in RTL, a network")
    parser.add_argument("--output", type=Path, default=Path("build/demo"))
    options = parser.parse_args()
    torch.set_num_threads(2)
    console = Console(width=None if sys.stdout.isatty() else 170)
    reports = []
    with staging(options.output) as stage:
        for example in examples():
            with show_progress() as progress:
                found = run(example, options.images, stage / example.name, progress)
            print_report(found, console)
            reports.append(found)
        text = to_json({"networks": [report_dict(found) for found in reports]})
        (stage / "report.json").write_text(text, "utf-8")
    console.print(f"Everything is in {options.output}")
    return int(any(found.rtl is None or found.rtl.mismatches for found in reports))


if __name__ == "__main__":
    sys.exit(main())
