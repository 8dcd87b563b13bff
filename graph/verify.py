"""Comparing an imported graph with its original on random images; a difference is an error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from tilewright.errors import TilewrightError
from tilewright.graph.execute import run_float
from tilewright.graph.lowering import Value
from tilewright.graph.onnx_import import Imported

__all__ = [
    "original_feeds",
    "random_inputs",
    "relative_difference",
    "tolerance",
    "verify_onnx",
    "view",
]

Floats = npt.NDArray[np.float32]


def random_inputs(imported: Imported, *, seed: int = 0) -> dict[str, Floats]:
    """Seeded normal images, float32 [N, C, H, W] by input; N is the original's batch size."""
    rng = np.random.default_rng(seed)
    batch = max(_batch(imported.proto, name) for name in imported.inputs)
    return {
        spec.name: rng.standard_normal((batch, *spec.shape)).astype(np.float32)
        for spec in imported.graph.inputs
    }


def tolerance(imported: Imported) -> float:
    """Largest difference allowed, relative to the largest magnitude of the original's tensor.

    1e-3, or 2e-2 if the original computes in half precision.
    """
    kinds = {i.type.tensor_type.elem_type for i in imported.proto.graph.input}
    return 2e-2 if onnx.TensorProto.FLOAT16 in kinds else 1e-3


def verify_onnx(imported: Imported, *, seed: int = 0) -> None:
    """Compare with ONNX Runtime, outputs before the operators that are left to the host.

    Raises
    ------
    TilewrightError : ONNX Runtime refuses the model or is missing, or an output differs by more
        than `tolerance`; names the output and the first layer that differs.
    """
    maps = random_inputs(imported, seed=seed)
    tensors = run_float(imported.graph, maps, keep={o.tensor for o in imported.graph.outputs})
    wanted = [source for source, _ in imported.outputs]
    originals = _run_original(imported, maps, wanted)
    limit = tolerance(imported)
    for output, (source, value) in zip(imported.graph.outputs, imported.outputs, strict=True):
        ours, original = view(value, tensors[value.tensor]), originals[source]
        if not np.isfinite(original).all():
            raise TilewrightError(
                f"{imported.label}: output {output.name!r} of the original is NaN or infinite for "
                "normally distributed inputs; train or export the network again."
            )
        difference = relative_difference(ours, original)
        if difference > limit:
            raise TilewrightError(
                f"{imported.label}: output {output.name!r} of the imported network differs from "
                f"the original by {difference:.2g} of its largest value ({limit:g} is allowed)"
                f"{_first_difference(imported, maps)}; please report this model."
            )


def view(value: Value, tensor: Floats) -> Floats:
    """Read an ONNX tensor, batch first, from the feature map [N, C, H, W] that it lies in."""
    flat = tensor.reshape(tensor.shape[0], -1)
    flat = flat if value.index is None else flat[:, value.index.ravel()]
    return flat.reshape(tensor.shape[0], *value.shape[1:])


def original_feeds(imported: Imported, maps: dict[str, Floats]) -> dict[str, npt.NDArray[Any]]:
    """Feature maps [N, C, H, W] in the shapes and element types that the original takes."""
    kinds = {i.name: i.type.tensor_type.elem_type for i in imported.proto.graph.input}
    return {
        name: view(value, maps[name]).astype(helper.tensor_dtype_to_np_dtype(kinds[name]))
        for name, value in imported.inputs.items()
    }


def relative_difference(ours: Floats, original: npt.NDArray[Any]) -> float:
    """Largest difference over the original's largest magnitude; inf if the sizes differ."""
    if ours.size != original.size:
        return float("inf")
    scale = max(float(np.abs(original).max()), 1e-6)
    difference = np.abs(ours.reshape(-1).astype(np.float64) - original.reshape(-1)).max()
    return float("inf") if np.isnan(difference) else float(difference) / scale


def _first_difference(imported: Imported, maps: dict[str, Floats]) -> str:
    """Say which layer is the first to differ, as a clause of a sentence ('' if none can be told)."""
    tensors = run_float(imported.graph, maps)
    originals = _run_original(imported, maps, [name for name, _ in imported.probes.values()])
    for layer in imported.graph.layers:
        source, value = imported.probes.get(layer.name, ("", None))
        if value is None:
            continue
        difference = relative_difference(view(value, tensors[layer.name]), originals[source])
        if difference > tolerance(imported):
            return f", first in layer {layer.name!r} ({layer.source}), tensor {source!r}"
    return ""


def _batch(proto: onnx.ModelProto, name: str) -> int:
    value = next(i for i in proto.graph.input if i.name == name)
    return max(int(value.type.tensor_type.shape.dim[0].dim_value), 1)


def _run_original(
    imported: Imported, maps: dict[str, Floats], names: Sequence[str]
) -> dict[str, npt.NDArray[Any]]:
    try:
        import onnxruntime
    except ImportError as error:
        raise TilewrightError(
            "Comparing with the original needs ONNX Runtime; pip install onnxruntime."
        ) from error
    proto = onnx.ModelProto()
    proto.CopyFrom(imported.proto)
    names = list(dict.fromkeys(names))
    del proto.graph.output[:]
    proto.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # The model as it is: a fusion of ONNX Runtime's moves zeros of a Pad into a MaxPool.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    feeds = original_feeds(imported, maps)
    try:
        session = onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        results = session.run(names, feeds)
    except Exception as error:
        raise TilewrightError(
            f"{imported.label}: ONNX Runtime cannot run the original, so the import cannot be "
            f"compared with it: {str(error).splitlines()[0]}"
        ) from error
    return dict(zip(names, results, strict=True))
