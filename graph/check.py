"""The pre-flight check: everything in a model that Tilewright does not support, at once."""

from __future__ import annotations

import os

import onnx

from tilewright.graph.findings import Finding
from tilewright.graph.onnx_import import find_problems

__all__ = ["Finding", "check_model"]


def check_model(source: str | os.PathLike[str] | onnx.ModelProto) -> list[Finding]:
    """List every unsupported operator and attribute of a model; empty if it can be imported.

    The importer itself is run, so the two cannot disagree. After an operator that is not
    supported the check goes on with a feature map of the shape that ONNX infers for it.

    Raises
    ------
    TilewrightError : the file cannot be read as an ONNX model.
    """
    return find_problems(source)
