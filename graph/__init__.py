"""The intermediate representation, its importers, the operator check and float execution."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tilewright.graph.check import Finding, check_model
    from tilewright.graph.execute import as_feature_maps, run_float, run_outputs
    from tilewright.graph.ir import Graph
    from tilewright.graph.load import load_onnx, load_torch

__all__ = [
    "Finding",
    "Graph",
    "as_feature_maps",
    "check_model",
    "load_onnx",
    "load_torch",
    "run_float",
    "run_outputs",
]

_HOMES = {
    "Finding": "findings",
    "Graph": "ir",
    "as_feature_maps": "execute",
    "check_model": "check",
    "load_onnx": "load",
    "load_torch": "load",
    "run_float": "execute",
    "run_outputs": "execute",
}


def __getattr__(name: str) -> Any:
    # Resolved on first use: the later stages need only `graph.ir`, not onnx.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
