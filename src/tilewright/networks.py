"""The quantized network that a subcommand works on: found on calibration images, or read."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilewright import api
from tilewright.config import Config, dump_config
from tilewright.data import Data
from tilewright.errors import TilewrightError
from tilewright.outputs import to_json
from tilewright.planning import plan_weights
from tilewright.progress import Progress
from tilewright.quant.fixed import FixedGraph
from tilewright.settings import load_graph, model_path, output_folder, user_data
from tilewright.usercode import is_python

if TYPE_CHECKING:
    from tilewright.graph.ir import Graph
    from tilewright.quant.mixed import Plan

__all__ = ["QuantizedNetwork", "quantized_network", "save_quantized"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuantizedNetwork:
    """A quantized network, the calibration images, how it was found, and the float one; None if unknown."""

    fixed: FixedGraph
    calibration: Data | None
    log: tuple[Any, ...]
    graph: Graph | None = None
    plan: Plan | None = None


CHECKPOINT = "calibration.npz"
"""What an interrupted calibration leaves in the output folder."""


def quantized_network(
    config: Config, progress: Progress, *, resume: bool = False
) -> QuantizedNetwork:
    """The configured network, quantized: read from QONNX, or found on the calibration images.

    `resume` goes on with a calibration that was interrupted (KeyboardInterrupt, whose text says how).
    """
    path = model_path(config)
    fixed = None if is_python(path) else _readquantized_network(path)
    if fixed is not None:
        given = config.model.calibration is not None
        calibration = user_data(config, fixed.graph) if given else None
        return QuantizedNetwork(fixed=fixed, calibration=calibration, log=())
    progress(0, 0, "import and compare with the original")
    graph = load_graph(config)
    data = user_data(config, graph).first(config.quant.images)
    checkpoint = output_folder(config, graph.name) / CHECKPOINT
    if resume and not checkpoint.exists():
        raise TilewrightError(f"{checkpoint} does not exist: nothing to go on with, omit --resume")
    options = config.quant.options(config.target)
    plan = plan_weights(graph, data, config, progress)
    if plan is not None:
        options = plan.config
    if not resume and checkpoint.exists():
        checkpoint.unlink()
    try:
        result = api.quantize(graph, data, config=options, progress=progress, checkpoint=checkpoint)
    except KeyboardInterrupt:
        if not checkpoint.exists():
            raise
        raise KeyboardInterrupt(
            f"{checkpoint} keeps what was done; the same command with --resume goes on"
        ) from None
    return QuantizedNetwork(
        fixed=result.fixed, calibration=data, log=result.log, graph=graph, plan=plan
    )


def _readquantized_network(path: str) -> FixedGraph | None:
    """The network in a QONNX file; None for other ONNX files and for what is none."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    from tilewright.quant.qonnx_foreign import has_quant_nodes, import_qonnx
    from tilewright.quant.qonnx_import import load_fixed
    from tilewright.quant.qonnx_metadata import METADATA_KEY

    try:
        model = onnx.load(path, load_external_data=False)
    except (OSError, DecodeError):
        return None
    if METADATA_KEY in {entry.key for entry in model.metadata_props}:
        return load_fixed(path)
    return import_qonnx(path, name=Path(path).stem) if has_quant_nodes(model) else None


def save_quantized(network: QuantizedNetwork, config: Config, folder: Path) -> None:
    from tilewright.quant.qonnx_export import save_fixed

    save_fixed(network.fixed, folder / "quantized.onnx")
    if network.log:
        log = [dataclasses.asdict(step) for step in network.log]
        (folder / "quantize.json").write_text(to_json({"steps": log}), "utf-8")
    (folder / "tilewright.toml").write_text(dump_config(config), "utf-8")
