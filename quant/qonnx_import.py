"""Loading a quantized network that `tilewright.quant.qonnx_export` saved."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import numpy_helper

from tilewright.errors import TilewrightError
from tilewright.quant.fixed import FixedGraph
from tilewright.quant.qonnx_builder import GraphBuilder
from tilewright.quant.qonnx_export import build_nodes, reserved_names
from tilewright.quant.qonnx_metadata import METADATA_KEY, VERSION, Arrays, from_json, version_of

__all__ = ["load_fixed"]


def load_fixed(path: str | os.PathLike[str]) -> FixedGraph:
    """Restore the network that `save_fixed` wrote to `path`.

    The nodes in the file are held against those that the restored network would be saved as, so a
    file that another tool has changed is refused instead of read half.

    Raises
    ------
    TilewrightError
        If the file cannot be read, is no ONNX file, was not saved by Tilewright, by another
        version of the format, or has been changed or damaged since.
    """
    path = Path(path)
    text, nodes, arrays = _content(_read(path), path)
    try:
        version = version_of(text)
        if version != VERSION:
            raise TilewrightError(
                f"{path}: saved in version {version!r} of the format, this Tilewright reads "
                f"version {VERSION}; quantize the network again"
            )
        fixed = from_json(text, arrays)
        rebuilt = _Comparison(fixed, arrays)
        build_nodes(fixed, rebuilt)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, AssertionError) as error:
        raise _damaged(path, str(error) or type(error).__name__) from error
    _compare(nodes, rebuilt.nodes, path)
    return fixed


class _Comparison(GraphBuilder):
    """Builds the nodes anew, and compares each initializer with the file's instead of keeping it.

    Those of VGG-16 would take another gigabyte.
    """

    def __init__(self, fixed: FixedGraph, arrays: Arrays) -> None:
        super().__init__(reserved_names(fixed))
        self._arrays = arrays

    def keep(self, name: str, array: npt.NDArray[np.generic]) -> str:
        found = self._arrays.get(name)
        if found is None or found.dtype != array.dtype or not np.array_equal(found, array):
            raise ValueError(f"initializer {name!r} does not match its metadata")
        return name


def _read(path: Path) -> onnx.ModelProto:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except OSError as error:
        raise TilewrightError(f"{path}: cannot be read: {error.strerror or error}") from error
    except DecodeError as error:
        raise TilewrightError(
            f"{path}: not an ONNX file, or a truncated one; give a file that Tilewright saved"
        ) from error
    return model


def _content(
    model: onnx.ModelProto, path: Path
) -> tuple[str, list[onnx.NodeProto], dict[str, npt.NDArray[np.generic]]]:
    """Metadata, nodes and initializers of a model, which need not live on for them."""
    text = {entry.key: entry.value for entry in model.metadata_props}.get(METADATA_KEY)
    if text is None:
        raise TilewrightError(
            f"{path}: an ONNX file, but not a quantized network that Tilewright saved; import it "
            "as a float network and quantize it"
        )
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
    return text, nodes, _initializers(model, path)


def _initializers(model: onnx.ModelProto, path: Path) -> dict[str, npt.NDArray[np.generic]]:
    arrays = {}
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise _damaged(path, f"initializer {tensor.name!r} lies outside the file")
        try:
            arrays[tensor.name] = numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError) as error:
            raise _damaged(path, f"initializer {tensor.name!r}: {error}") from error
    return arrays


def _compare(found: Sequence[onnx.NodeProto], wanted: Sequence[onnx.NodeProto], path: Path) -> None:
    for ours, theirs in zip(wanted, found, strict=False):
        if ours != theirs:
            raise _damaged(path, f"node {theirs.name!r} does not match its metadata")
    if len(found) != len(wanted):
        raise _damaged(path, f"it has {len(found)} nodes, its metadata describe {len(wanted)}")


def _damaged(path: Path, detail: str) -> TilewrightError:
    return TilewrightError(
        f"{path}: changed or damaged since Tilewright saved it ({detail}); save the network again"
    )
