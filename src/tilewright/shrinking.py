"""What `tilewright compress` does: read, compress, quantize, compile, code the weights, describe."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tilewright import api
from tilewright.analysis import edges
from tilewright.compress.coded_layer import Encoded
from tilewright.compress.pipeline import Result, Setup, run_steps
from tilewright.compress.steps import Step, parse_steps
from tilewright.compress.train import TrainConfig
from tilewright.compression import (
    Batches,
    compile_for_streams,
    encode_program,
    layer_cycles,
    quant_config,
    vector_arrays,
)
from tilewright.config import Config
from tilewright.data import Data, read_data
from tilewright.errors import TilewrightError
from tilewright.graph.ir import Graph
from tilewright.progress import Progress
from tilewright.quant.data import normalize
from tilewright.quant.fixed import FixedGraph
from tilewright.quant.metrics import check_labels
from tilewright.settings import load_graph, model_path, user_data
from tilewright.usercode import is_python, load_module

__all__ = ["Shrunk", "describe", "held_out", "shrink", "ternary_layers"]

HELD_OUT = 10
"""One of so many training images is not trained on where pruning chooses how much each layer loses."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shrunk:
    """A compressed network.

    Attributes
    ----------
    result : the module and what each step led to
    fixed : quantized
    encoded : compressed streams of each layer (None: not possible), and the bytes of the plain ones
    """

    result: Result
    fixed: FixedGraph
    encoded: dict[str, tuple[Encoded | None, int]]


def shrink(config: Config, checkpoints: Path, progress: Progress) -> Shrunk:
    """Compress the configured module.

    Parameters
    ----------
    checkpoints : folder from which an interrupted retraining goes on

    Raises
    ------
    TilewrightError
        If something needed is missing or wrong, or a step is not possible.
    """
    section, path = config.compress, model_path(config)
    steps = parse_steps(section.methods or ())
    if not steps:
        raise TilewrightError(
            "Nothing to do: give --prune, --vectors, --low-rank, --ternary, --share or --huffman, "
            "or compress.methods"
        )
    if not is_python(path):
        raise TilewrightError(
            f"{path}: compression retrains a PyTorch module; give it as FILE.py:ATTRIBUTE"
        )
    progress(0, 0, "import and compare with the original")
    graph, module = load_graph(config), load_module(path)
    calibration = user_data(config, graph)
    train = _labelled(section.train, "--train", graph)
    test = train if config.model.test is None else _labelled(config.model.test, "--test", graph)
    images = _tensor(graph, calibration)
    checkpoints.mkdir(parents=True, exist_ok=True)
    tune = train
    if any(step.kind == "prune" for step in steps):
        train, tune = held_out(train, str(section.train))
    setup = Setup(
        train=_batches(graph, train, section.batch, shuffle=True),
        test=_batches(graph, test, 500, shuffle=False),
        tune=_batches(graph, tune, 500, shuffle=False),
        images=images,
        arrays=vector_arrays(config.target),
        cycles=layer_cycles(images, config.target),
        config=TrainConfig(
            epochs=section.epochs,
            learning_rate=section.learning_rate,
            weight_decay=section.weight_decay,
            seed=section.seed,
            checkpoint=checkpoints,
        ),
        rounds=section.rounds,
        distill=section.distill,
        progress=progress,
    )
    result = run_steps(module, steps, setup)
    fixed = _quantize(result, steps, config, calibration, progress)
    progress(0, 0, "code the weights")
    plain = dataclasses.replace(config.target, decoder_lanes=0)
    program = compile_for_streams(fixed, steps, plain)
    lanes = config.target.decoder_lanes or _lanes(section.lanes, config.target.cols)
    encoded = encode_program(program, lanes=lanes, huffman=result.huffman)
    return Shrunk(result=result, fixed=fixed, encoded=encoded)


def _lanes(most: int, cols: int) -> int:
    """The largest power of two up to `most` that divides the columns; with 1 nothing is coded."""
    return min(1 << (most.bit_length() - 1), cols & -cols)


def _labelled(path: str | None, option: str, graph: Graph) -> Data:
    if path is None:
        raise TilewrightError(f"Retraining needs labelled images: give {option} FILE (.npz)")
    data = read_data(Path(path), graph)
    if data.labels is None:
        raise TilewrightError(f"{path}: has no array `labels`; retraining needs labelled images")
    if len(data.inputs) != 1 or len(graph.outputs) != 1:
        raise TilewrightError(
            "Compression retrains networks with one input and one output, not "
            f"{len(data.inputs)} and {len(graph.outputs)}"
        )
    try:
        check_labels(data.labels, len(data), math.prod(graph.shapes[graph.outputs[0].tensor]))
    except TilewrightError as error:
        raise TilewrightError(f"{path}: {error}") from error
    return data


def held_out(data: Data, path: str) -> tuple[Data, Data]:
    """A data set without one image of HELD_OUT, and these images."""
    held = np.arange(len(data)) % HELD_OUT == HELD_OUT - 1
    if not held.any():
        raise TilewrightError(
            f"{path}: has {len(data)} images; pruning holds one of {HELD_OUT} out to choose on, so give "
            f"at least {HELD_OUT}"
        )
    assert data.labels is not None
    first, second = (
        Data(inputs={name: x[mask] for name, x in data.inputs.items()}, labels=data.labels[mask])
        for mask in (~held, held)
    )
    return first, second


def _tensor(graph: Graph, data: Data) -> torch.Tensor:
    """Images as the module takes them."""
    (spec,) = graph.inputs
    return torch.from_numpy(normalize(spec, data.inputs[spec.name]).astype(np.float32))


def _batches(graph: Graph, data: Data, size: int, *, shuffle: bool) -> Batches:
    assert data.labels is not None
    return Batches(_tensor(graph, data), torch.from_numpy(data.labels), size, shuffle)


def _quantize(
    result: Result, steps: tuple[Step, ...], config: Config, data: Data, progress: Progress
) -> FixedGraph:
    """The compressed module, imported and quantized so that nothing of it is undone."""
    (images,) = data.inputs.values()
    example = np.asarray(images[:1], np.float32)
    section = config.model
    graph = api.load(result.model, example, name=None, mean=section.mean, scale=section.scale)
    shifts: tuple[str, ...] = ()
    if any(step.option == "shift" for step in steps):
        shifts = ternary_layers(graph)
    options = quant_config(config.quant.options(config.target), steps, shifts)
    few = data.first(config.quant.images)
    return api.quantize(graph, few, config=options, progress=progress).fixed


def ternary_layers(graph: Graph) -> tuple[str, ...]:
    """Graph layers in which each output channel has one magnitude of weights, and zeros."""
    found = []
    for layer in graph.layers:
        if layer.conv is not None:
            sizes = np.abs(layer.conv.weight).reshape(len(layer.conv.weight), -1)
            largest = sizes.max(axis=1, keepdims=True)
            if ((sizes == 0) | (sizes == largest)).all():
                found.append(layer.name)
    return tuple(found)


def describe(found: Shrunk) -> dict[str, Any]:
    """The result for JSON."""
    layers = []
    for name, (layer, plain) in found.encoded.items():
        weight = found.fixed.layer(name).weight
        kept = 1.0 if weight is None else float(np.mean(weight != 0))
        coded = None if layer is None else layer.size()
        bits = found.fixed.layer(name).weight_bits
        layers.append(
            {
                "layer": name,
                "kept": kept,
                "weight_bits": bits,
                "plain_bytes": plain,
                "stream_bytes": coded,
            }
        )
    formats = found.fixed.formats
    return {
        "name": found.fixed.graph.name,
        "edges": edges(found.fixed),
        "formats": {n: {"bits": f.bits, "frac": f.frac} for n, f in formats.items()},
        "stages": [dataclasses.asdict(stage) for stage in found.result.stages],
        "layers": layers,
        "plain_bytes": sum(row["plain_bytes"] for row in layers),
        "stream_bytes": sum(row["stream_bytes"] or row["plain_bytes"] for row in layers),
    }
