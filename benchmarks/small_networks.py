"""Networks small enough for every board, quantized."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

from tilewright.quant.config import QuantConfig
from tilewright.quant.fixed import FixedGraph

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

__all__ = ["NETWORKS", "quantized"]

CALIBRATION = 16

NETWORKS = ("digits", "mnist-8", "fashion-residual")
"""Small ones; the last is that of the Fashion-MNIST benchmarks."""


@functools.cache
def quantized(name: str, acc_bits: int) -> FixedGraph:
    """One of NETWORKS, quantized to 8 bits: cycles depend on its shapes alone."""
    import fashion
    import numpy as np
    from digits import network, package_folder, read_digits

    import tilewright

    images = read_digits()[0][:CALIBRATION]
    blank = np.zeros((1, 1, 28, 28), np.float32)
    if name == "mnist-8":
        model = package_folder("qonnx") / "data" / "onnx" / "mnist-conv" / "model.onnx"
        graph = tilewright.load(model, name=name, scale=[1 / 255])
    else:
        module = network() if name == "digits" else fashion.network("residual")
        graph = tilewright.load(module, blank, name=name, scale=[1 / 255])
    config = QuantConfig.paper(acc_bits=acc_bits)  # the quickest
    return tilewright.quantize(graph, images, config=config).fixed
