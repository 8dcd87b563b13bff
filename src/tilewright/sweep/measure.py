"""What workers do: quantize a network in one setting and measure it, and count cycles on hardware."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tilewright import api
from tilewright.boards.cycles import memory_timing
from tilewright.boards.registry import get_board
from tilewright.compiler.bus import MemoryTiming
from tilewright.compiler.checks import check_network
from tilewright.compiler.cycles import predict
from tilewright.compiler.joint import joint_groups
from tilewright.compiler.lower import compile_network
from tilewright.compiler.matrices import area_runs
from tilewright.compiler.packing import packings
from tilewright.compiler.target import Target
from tilewright.compiler.work import layer_work
from tilewright.config import Config
from tilewright.data import Data
from tilewright.errors import TilewrightError
from tilewright.graph.ir import Graph
from tilewright.planning import plan_weights
from tilewright.quant.fixed import FixedGraph
from tilewright.quant.metrics import compare, right_share
from tilewright.quant.qonnx_export import save_fixed
from tilewright.quant.qonnx_import import load_fixed
from tilewright.sweep.space import Hardware, Setting

__all__ = [
    "Source",
    "measure_cycles",
    "measure_float",
    "measure_setting",
    "open_network",
    "setting_config",
    "shape",
    "signature",
    "timing",
]

_COMPARED = 32
"""Images on which float and fixed are compared."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """The float network, the images, and everything that is configured."""

    config: Config
    graph: Graph
    calibration: Data
    test: Data | None


def measure_float(source: Source) -> dict[str, Any]:
    """Accuracy of the float network; None without labels."""
    return {"accuracy": _accuracy(source.graph, source.test)}


def measure_setting(source: Source, setting: Setting) -> tuple[dict[str, Any], bytes | None]:
    """Quantize a network: its accuracy and error, and the network as a QONNX file's content.

    Where the network cannot be compressed or quantized so, there is only `error`, the reason.
    """
    try:
        fixed = _quantize(source, setting)
    except TilewrightError as error:
        return {"error": str(error)}, None
    few = source.calibration.first(_COMPARED)
    errors = compare(fixed.graph, fixed, few.inputs)
    last = fixed.graph.outputs[0].tensor
    found = {
        "accuracy": _accuracy(fixed, source.test),
        "sqnr_db": next(error.sqnr_db for error in errors if error.name == last),
        "weight_bits": {x.name: x.weight_bits for x in fixed.layers if x.weight is not None},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.onnx")
        save_fixed(fixed, path)
        return found, path.read_bytes()


def _accuracy(network: Graph | FixedGraph, test: Data | None) -> float | None:
    if test is None or test.labels is None:
        return None
    return right_share(network, test.inputs, test.labels)


def setting_config(config: Config, setting: Setting) -> Config:
    """The configuration with which other commands find the same network."""
    bits = dataclasses.replace(
        config.quant,
        weight_bits=setting.weight_bits,
        feature_bits=setting.feature_bits,
        average_bits=setting.average_bits,
        refine=False,
    )
    compress = dataclasses.replace(config.compress, methods=setting.compress or None)
    return dataclasses.replace(config, quant=bits, compress=compress)


def _quantize(source: Source, setting: Setting) -> FixedGraph:
    config = setting_config(source.config, setting)
    if setting.compress:
        from tilewright.shrinking import shrink

        with tempfile.TemporaryDirectory() as folder:
            return shrink(config, Path(folder), _silent).fixed
    few = source.calibration.first(config.quant.images)
    plan = plan_weights(source.graph, few, config, _silent)
    options = config.quant.options(config.target) if plan is None else plan.config
    return api.quantize(source.graph, few, config=options).fixed


def _silent(done: int, total: int, text: str) -> None:
    pass


def open_network(content: bytes) -> FixedGraph:
    """The quantized network in a QONNX file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.onnx")
        path.write_bytes(content)
        return load_fixed(path)


def measure_cycles(
    networks: Sequence[FixedGraph], jobs: Sequence[tuple[int, Hardware]], latency: int
) -> list[dict[str, Any]]:
    """Cycles and memory of networks on hardware, by the cycle model.

    Parameters
    ----------
    networks : quantized
    jobs : number of a network, and the hardware
    latency : of the memory where there is no board

    Returns
    -------
    list of dict
        For each job `cycles` and `memory_bytes`, or `error`, why the network cannot run there.
    """
    known: dict[Hashable, dict[str, Any]] = {}
    results = []
    for number, hardware in jobs:
        try:
            memory = timing(hardware, latency)
            _check_widths(networks[number], hardware.target)
            key = (
                tuple(shape(hardware.target).items()),
                memory,
                signature(networks[number], hardware.target),
            )
            if key not in known:
                known[key] = _cycles(networks[number], hardware.target, memory)
            results.append(known[key])
        except TilewrightError as error:
            results.append({"error": str(error)})
    return results


def _check_widths(network: FixedGraph, target: Target) -> None:
    """Raise TilewrightError, as compiling would, where a tensor is wider than the target."""
    weights = max(
        (layer.weight_bits for layer in network.layers if layer.weight is not None), default=0
    )
    maps = max(form.bits for form in network.formats.values())
    if weights > target.weight_bits or maps > target.act_bits:
        check_network(network, target)


def _cycles(network: FixedGraph, target: Target, memory: MemoryTiming) -> dict[str, Any]:
    program = compile_network(network, target, keep=False)
    return {"cycles": predict(program, memory).cycles, "memory_bytes": program.memory_bytes}


def timing(hardware: Hardware, latency: int) -> MemoryTiming:
    """The memory behind the bus: the board's, or one of that latency."""
    if hardware.board is None:
        return MemoryTiming(latency=latency, write_latency=latency)
    return memory_timing(get_board(hardware.board), hardware.target)


def shape(target: Target) -> dict[str, Any]:
    """Everything of a target that cycles depend on, but the network's part in it."""
    fields = dataclasses.asdict(target)
    for name in ("name", "prefix", "clock_mhz", "act_bits", "weight_bits", "acc_bits", "counters"):
        del fields[name]
    return {**fields, "lane_bytes": target.lane_bytes}


def signature(network: FixedGraph, target: Target) -> Hashable:
    """What cycles depend on of a network: on targets of one `shape`, equal for equal programs.

    Numbers do not matter, but how many weight tiles of which container they take, and which terms are
    zero.
    """
    parts: list[Hashable] = [tuple(map(str, network.graph.inputs))]
    for layer in network.layers:
        work = layer_work(network, layer, target)
        for area in work.areas:
            sources = tuple(
                (s.tensor, s.layout.shape, s.layout.narrow, s.rows, s.cols, s.dense, s.offset)
                for s in area.sources
            )
            runs = tuple(area_runs(work, area, packing) for packing in packings(work, area))
            zeros = b""
            if layer.weight is not None and joint_groups(work, area.sources[0]):
                zeros = np.packbits(layer.weight != 0).tobytes()
            parts.append((layer.name, area.rows, area.cols, area.row_windows, area.col_windows,
                          sources, runs, zeros))  # fmt: skip
    return tuple(parts)
