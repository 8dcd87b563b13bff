"""Importing PyTorch modules through `torch.onnx.export`; PyTorch is imported only when used."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from tilewright.errors import TilewrightError
from tilewright.graph.execute import run_outputs
from tilewright.graph.onnx_import import Imported, import_onnx
from tilewright.graph.verify import (
    original_feeds,
    random_inputs,
    relative_difference,
    tolerance,
)

__all__ = ["from_torch", "verify_torch"]


def from_torch(module: Any, example: Any, *, name: str | None = None) -> Imported:
    """Export a module in evaluation mode, in memory, and import the result.

    Parameters
    ----------
    module : torch.nn.Module; its training flags are restored
    example : input tensor [N, C, H, W], or a tuple of them; only the first image is used
    name : name of the graph; the class's if not given

    Raises
    ------
    TilewrightError : not a module, PyTorch cannot export it, or as `import_onnx`.
    """
    try:
        import torch
    except ImportError as error:
        raise TilewrightError("PyTorch is not installed; pip install torch.") from error
    if not isinstance(module, torch.nn.Module):
        raise TilewrightError(f"A torch.nn.Module is needed, not {type(module).__name__}.")
    examples = _examples(example)
    label = type(module).__name__
    with _evaluation(module), _quiet():
        try:
            program = torch.onnx.export(module, examples, dynamo=True, verbose=False)
        except Exception as error:
            reason = str(error.__cause__ or error).strip().splitlines()
            raise TilewrightError(
                f"PyTorch cannot export {label}: {reason[0].rstrip('.') if reason else type(error).__name__}. "
                "The module must be traceable by torch.export; see the chained error."
            ) from error
    assert program is not None
    return import_onnx(program.model_proto, name=name or label)


def _examples(example: Any) -> tuple[Any, ...]:
    """First image of each example input."""
    import torch

    examples = tuple(example) if isinstance(example, tuple | list) else (example,)
    for position, tensor in enumerate(examples):
        if not isinstance(tensor, torch.Tensor) or tensor.ndim < 2 or not tensor.shape[0]:
            found = list(tensor.shape) if isinstance(tensor, torch.Tensor) else type(tensor)
            raise TilewrightError(
                f"Example input {position} is {found}; a tensor [N, C, H, W] is needed."
            )
    return tuple(tensor[:1] for tensor in examples)


def verify_torch(imported: Imported, module: Any, *, seed: int = 1) -> None:
    """Compare with PyTorch eager on random images, operators left to the host included.

    Raises
    ------
    TilewrightError : an output differs by more than the tolerance; it is named.
    """
    import torch

    maps = random_inputs(imported, seed=seed)
    ours = run_outputs(imported.graph, maps)
    limit = tolerance(imported)
    feeds = [torch.from_numpy(np.array(f)) for f in original_feeds(imported, maps).values()]
    with _evaluation(module), torch.inference_mode():
        results = [r for r in _flatten(module(*feeds)) if isinstance(r, torch.Tensor)]
    if len(results) != len(imported.graph.outputs):
        raise TilewrightError(
            f"{imported.label}: {len(imported.graph.outputs)} outputs were imported, but the "
            f"module returns {len(results)}; return a tuple of tensors."
        )
    for output, result in zip(imported.graph.outputs, results, strict=True):
        original = result.numpy()
        difference = relative_difference(ours[output.name], original)
        if not np.isfinite(original).all() or difference > limit:
            raise TilewrightError(
                f"{imported.label}: output {output.name!r} of the imported network differs from "
                f"PyTorch by {difference:.2g} of its largest value ({limit:g} is allowed)."
            )


def _flatten(result: Any) -> list[Any]:
    if isinstance(result, dict):
        result = tuple(result.values())
    if isinstance(result, tuple | list):
        return [tensor for part in result for tensor in _flatten(part)]
    return [result]


@contextlib.contextmanager
def _evaluation(module: Any) -> Iterator[None]:
    """Put a module in evaluation mode; restore the flag of each submodule afterwards."""
    flags = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, flag in flags:
            part.training = flag


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's own deprecation warnings and its torchvision notice from the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            warnings.filterwarnings("ignore", category=FutureWarning)
            yield
    finally:
        logger.setLevel(level)
