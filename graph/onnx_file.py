"""Reading an ONNX file: every way in which it can be broken ends in one clear message."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import onnx.inliner
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

from tilewright.errors import TilewrightError

__all__ = ["MIN_OPSET", "open_model"]

MIN_OPSET = 7
"""Oldest opset whose broadcasting rules are those of today."""


def open_model(source: str | os.PathLike[str] | onnx.ModelProto) -> tuple[onnx.ModelProto, str]:
    """Read and validate a model; local functions are inlined and external weights loaded.

    Parameters
    ----------
    source : path of an .onnx file, or a model in memory (not changed)

    Returns
    -------
    The model, and the name by which messages call it.

    Raises
    ------
    TilewrightError : not a readable ONNX file, external data missing or outside the model's
        folder, an opset that is too old or too new, tensors used before they are made.
    """
    if isinstance(source, onnx.ModelProto):
        model, label = onnx.ModelProto(), "the model"
        model.CopyFrom(source)
    else:
        path = Path(source)
        label = str(path)
        model = _read(path)
        _load_external(model, path)
    _check_opset(model, label)
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    _check_structure(model, label)
    return model, label


def _read(path: Path) -> onnx.ModelProto:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TilewrightError(f"Cannot read model {path}: {error.strerror}.") from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise TilewrightError(
            f"{path} is not an ONNX file, or it is truncated ({len(data)} bytes); "
            "export the model again."
        ) from error
    if not model.ir_version or not model.graph.output:
        raise TilewrightError(
            f"{path} is not a complete ONNX model: no graph with outputs was found in its "
            f"{len(data)} bytes; export the model again."
        )
    return model


def _load_external(model: onnx.ModelProto, path: Path) -> None:
    folder = path.parent.resolve()
    for tensor in model.graph.initializer:
        if not uses_external_data(tensor):
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        target = (folder / location).resolve()
        if not location or not target.is_relative_to(folder):
            raise TilewrightError(
                f"{path}: weight {tensor.name!r} is stored in {location!r}, which is outside the "
                "model's folder; move the file beside the model and export again."
            )
        try:
            load_external_data_for_tensor(tensor, str(folder))
        except (OSError, ValueError, onnx.checker.ValidationError) as error:
            raise TilewrightError(
                f"{path}: weight {tensor.name!r} cannot be read from {location!r} beside the "
                f"model ({str(error).splitlines()[0]}); copy the file there or export again."
            ) from error
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def _check_opset(model: onnx.ModelProto, label: str) -> None:
    versions = {e.domain or "ai.onnx": e.version for e in model.opset_import}
    opset, newest = versions.get("ai.onnx"), onnx.defs.onnx_opset_version()
    if opset is None or not MIN_OPSET <= opset <= newest:
        found = "no opset of the ai.onnx domain" if opset is None else f"opset {opset}"
        raise TilewrightError(
            f"{label} uses {found}; opsets {MIN_OPSET} to {newest} are supported, export the "
            "model with one of those."
        )


def _check_structure(model: onnx.ModelProto, label: str) -> None:
    graph = model.graph
    if graph.sparse_initializer:
        name = graph.sparse_initializer[0].values.name
        raise TilewrightError(f"{label}: initializer {name!r} is sparse; store it as dense.")
    known = {t.name for t in graph.initializer} | {i.name for i in graph.input} | {""}
    for node in graph.node:
        for name in node.input:
            if name not in known:
                raise TilewrightError(
                    f"{label}: node {node.name or node.op_type!r} reads tensor {name!r}, which "
                    "nothing before it makes; the file is damaged, export the model again."
                )
        for name in node.output:
            if name and name in known:
                raise TilewrightError(
                    f"{label}: tensor {name!r} is made twice; the file is damaged, export the "
                    "model again."
                )
            known.add(name)
    for output in graph.output:
        if output.name not in known:
            raise TilewrightError(
                f"{label}: output {output.name!r} is made by no node; export the model again."
            )
