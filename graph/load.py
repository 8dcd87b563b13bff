"""Loading a network: import, then compare with the original. The way in for users."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from tilewright.graph.ir import Graph
from tilewright.graph.onnx_import import import_onnx
from tilewright.graph.torch_import import from_torch, verify_torch
from tilewright.graph.verify import verify_onnx

if TYPE_CHECKING:
    import onnx

__all__ = ["load_onnx", "load_torch"]


def load_onnx(
    source: str | os.PathLike[str] | onnx.ModelProto, *, name: str | None = None
) -> Graph:
    """Load a float ONNX model (opset 7 or later) and compare it with ONNX Runtime.

    Parameters
    ----------
    source : path of an .onnx file, or a model in memory
    name : name of the network; the file's stem or the model's own if not given

    Raises
    ------
    TilewrightError : the file cannot be read; the model holds something that is not supported
        (all of it is listed, one a line); the imported network computes something else.
    """
    if name is None and isinstance(source, str | os.PathLike):
        name = os.path.splitext(os.path.basename(source))[0]
    imported = import_onnx(source, name=name)
    verify_onnx(imported)
    return imported.graph


def load_torch(module: Any, example: Any, *, name: str | None = None) -> Graph:
    """Load a `torch.nn.Module` in evaluation mode and compare it with PyTorch eager.

    Parameters
    ----------
    module : torch.nn.Module; left in the mode (training or not) that it was in
    example : input tensor [N, C, H, W], or a tuple of them
    name : name of the network; the class's if not given

    Raises
    ------
    TilewrightError : as `load_onnx`; also if PyTorch cannot export the module.
    """
    imported = from_torch(module, example, name=name)
    verify_torch(imported, module)
    verify_onnx(imported)
    return imported.graph
