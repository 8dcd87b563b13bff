"""The Python API: a network's way from float to RTL in a few calls.

Everything here is a thin layer over the packages below; what they need is imported when it is used,
so that importing Tilewright is quick and needs neither PyTorch nor a simulator.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from tilewright.compiler.target import Target
from tilewright.data import as_data
from tilewright.errors import TilewrightError
from tilewright.graph.ir import Graph
from tilewright.progress import Progress
from tilewright.quant.fixed import FixedGraph
from tilewright.report_tables import print_report
from tilewright.reports import NetworkReport
from tilewright.simulation import LATENCY, Compiled, Simulation

if TYPE_CHECKING:
    from tilewright.quant.finetune import FineTuneConfig
    from tilewright.quant.quantize import QuantResult

__all__ = [
    "compile",
    "fine_tune",
    "load",
    "quantize",
    "report",
    "verilog",
]


def load(
    model: Any,
    example: Any = None,
    *,
    name: str | None = None,
    mean: Sequence[float] | None = None,
    scale: Sequence[float] | None = None,
) -> Graph:
    """Load a network and compare it with the original on random images.

    Parameters
    ----------
    model : a torch.nn.Module, or the path of an .onnx file
    example : for a module, an input [1, C, H, W] as array or tensor, or a tuple of them
    name : name of the network
    mean, scale : the network's inputs are (raw - mean) * scale, per channel or one for all

    Raises
    ------
    TilewrightError
        If the model cannot be read, holds something unsupported (all of it is listed), or computes
        something else after the import.
    """
    from tilewright.graph.load import load_onnx, load_torch

    if isinstance(model, (str, os.PathLike)):
        graph = load_onnx(model, name=name)
    else:
        if example is None:
            raise TilewrightError("A PyTorch module needs example=, an input of shape [1, C, H, W]")
        graph = load_torch(model, _tensors(example), name=name)
    return _preprocessed(graph, mean, scale)


def _tensors(example: Any) -> Any:
    import torch

    parts = example if isinstance(example, (tuple, list)) else (example,)
    return tuple(torch.as_tensor(np.asarray(part), dtype=torch.float32) for part in parts)


def _preprocessed(
    graph: Graph, mean: Sequence[float] | None, scale: Sequence[float] | None
) -> Graph:
    """`graph` with other preprocessing of its inputs."""
    inputs = []
    for spec in graph.inputs:
        changes = {}
        for what, values in (("mean", mean), ("scale", scale)):
            if values is None:
                continue
            if len(values) not in (1, spec.shape[0]):
                raise TilewrightError(
                    f"Input {spec.name!r} has {spec.shape[0]} channels; {what} must have 1 or "
                    f"{spec.shape[0]} values, not {len(values)}"
                )
            changes[what] = tuple(float(v) for v in values)
        inputs.append(dataclasses.replace(spec, **changes))  # type: ignore[arg-type]
    return dataclasses.replace(graph, inputs=tuple(inputs))


def quantize(
    graph: Graph,
    calibration: Any,
    *,
    bits: int = 8,
    target: Target | None = None,
    config: Any = None,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> QuantResult:
    """Choose bits and fractional length of every tensor.

    Parameters
    ----------
    graph : of `load`
    calibration : images [N, C, H, W] as an array, arrays by input name, or a DataLoader
    bits : of weights and feature maps, 2..16
    target : what it will run on; the accumulators of the default one if None
    config : a `tilewright.quant.config.QuantConfig` instead of `bits` and `target`
    checkpoint : file (.npz) from which an interrupted search goes on, see
        `tilewright.quant.quantize.quantize`

    Returns
    -------
    QuantResult
        `fixed`, the network, and `log`, every decision with the candidates tried.

    Raises
    ------
    TilewrightError
        If the data do not fit the network, or something holds NaN or infinity.
    """
    from tilewright.quant.config import QuantConfig
    from tilewright.quant.quantize import quantize as search

    data = as_data(calibration, graph)
    acc_bits = (target or Target()).acc_bits
    config = config or QuantConfig(weight_bits=bits, feature_bits=bits, acc_bits=acc_bits)
    return search(graph, data.inputs, config, progress=progress, checkpoint=checkpoint)


def fine_tune(
    network: QuantResult | FixedGraph,
    loader: Iterable[Any],
    *,
    config: FineTuneConfig | None = None,
    progress: Progress | None = None,
) -> FixedGraph:
    """Train a quantized network's weights and biases on labelled images; formats stay.

    Parameters
    ----------
    network : of `quantize`
    loader : batches of (raw images [N, C, H, W], labels [N]), as a PyTorch DataLoader gives them
    config : a `tilewright.quant.finetune.FineTuneConfig`: epochs, learning rate, seed, checkpoint

    Raises
    ------
    TilewrightError
        If a batch does not fit the network, or the loss becomes no number: then nothing is returned;
        `tilewright.quant.finetune.fine_tune` returns the last good state with the reason instead.
    """
    from tilewright.quant.finetune import fine_tune as tune

    fixed = network if isinstance(network, FixedGraph) else network.fixed
    result = tune(fixed, loader, config, progress=progress)
    if result.stopped is not None:
        raise TilewrightError(f"Fine-tuning {result.stopped}")
    return result.fixed


def compile(
    network: QuantResult | FixedGraph,
    target: Target | None = None,
    *,
    keep: bool = True,
    layer: str | None = None,
    tile: int | None = None,
    progress: Progress | None = None,
) -> Compiled:
    """Compile a quantized network for a target.

    Parameters
    ----------
    network : of `quantize`
    target : the default one if not given
    keep : keep every layer's output in memory, so that a simulation can compare it
    layer, tile : only this layer, or one accumulator fill of it

    Raises
    ------
    TilewrightError
        If the target cannot run the network.
    """
    from tilewright.compiler.lower import compile_network

    fixed = network if isinstance(network, FixedGraph) else network.fixed

    def report(text: str, done: int, total: int) -> None:
        if progress is not None:
            progress(done, total, text)

    program = compile_network(
        fixed, target or Target(), keep=keep, layer=layer, tile=tile, progress=report
    )
    return Compiled(fixed=fixed, program=program, tile=tile)


def verilog(target: Target, folder: str | os.PathLike[str]) -> Path:
    """Write the accelerator's Verilog, file list, register map and manifest.

    Returns the path of the Verilog file.

    Raises
    ------
    TilewrightError
        If `folder` cannot be written.
    """
    from tilewright.delivery import write_hardware
    from tilewright.outputs import staging

    with staging(Path(folder)) as stage:
        write_hardware(target, stage)
    return Path(folder) / f"{target.prefix}.v"


def report(
    compiled: Compiled,
    images: Any,
    *,
    simulation: Simulation | None = None,
    console: Console | None = None,
) -> NetworkReport:
    """Compare float, fixed and RTL layer by layer, print the table, and return its content.

    Parameters
    ----------
    compiled : of `compile`, for the whole network
    images : raw images on which float and fixed are compared
    simulation : of `simulate`; predicted cycles are for its memory
    console : where to print; standard output if not given

    Raises
    ------
    TilewrightError
        If `images` do not fit the network.
    """
    from tilewright.analysis import make_report, predict_cycles

    latency = LATENCY if simulation is None else simulation.latency
    found = make_report(
        compiled.fixed,
        as_data(images, compiled.fixed.graph, what="Images"),
        program=compiled.program,
        simulation=simulation,
        predicted=predict_cycles(compiled.program, latency),
    )
    print_report(found, console or Console())
    return found
