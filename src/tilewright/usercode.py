"""Run the user's Python: a module named as file.py:attribute, or a file of activations."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from tilewright.errors import TilewrightError, nearest

__all__ = ["is_python", "load_activations", "load_module"]


def is_python(spec: str) -> bool:
    """Whether `spec` names an attribute of a Python file rather than a model file."""
    return spec.rpartition(":")[0].endswith(".py") or spec.endswith(".py")


def load_module(spec: str) -> Any:
    """`torch.nn.Module` named by "file.py:attribute", in evaluation mode.

    The attribute is a module, or a class or function that gives one when called without arguments.
    Importing runs the user's file.

    Raises
    ------
    TilewrightError
        If the file or attribute is missing, running it fails, or it is no module.
    """
    import torch

    path, _, attribute = spec.rpartition(":")
    if not path.endswith(".py"):
        raise TilewrightError(f"{spec}: name the module too, as {spec}:model")
    module = _import(Path(path))
    if not hasattr(module, attribute):
        names = [name for name in vars(module) if not name.startswith("_")]
        raise TilewrightError(f"{path} has no {attribute!r}; {nearest(attribute, names)}")
    found = getattr(module, attribute)
    if callable(found) and not isinstance(found, torch.nn.Module):
        found = _run(f"{spec}()", found)
    if not isinstance(found, torch.nn.Module):
        raise TilewrightError(
            f"{spec} must be a torch.nn.Module or something that returns one, not "
            f"{type(found).__name__}"
        )
    return found.eval()


def load_activations(path: str) -> tuple[str, ...]:
    """Names of the activations that a Python file registers with `tilewright.activation`.

    Importing runs the file, once in a process.

    Raises
    ------
    TilewrightError
        If it is missing, running it fails, or it registers nothing.
    """
    from tilewright.graph.functions import registered

    key, before = str(Path(path).resolve()), registered()
    if key not in _activations or not before.keys() >= set(_activations[key]):
        _import(Path(path))
        now = registered()
        _activations[key] = tuple(name for name in now if now[name] is not before.get(name))
    if not _activations[key]:
        raise TilewrightError(
            f"{path} registers no activation; decorate a function with tilewright.activation"
        )
    return _activations[key]


_activations: dict[str, tuple[str, ...]] = {}


def _import(path: Path) -> ModuleType:
    if not path.is_file():
        raise TilewrightError(f"{path}: no such file; name an existing Python file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))
    sys.modules[path.stem] = module
    try:
        _run(str(path), lambda: spec.loader.exec_module(module))
    finally:
        sys.path.pop(0)
    return module


def _run(what: str, function: Any) -> Any:
    """Result of the user's code; whatever it raises is the user's to mend."""
    try:
        return function()
    except TilewrightError:
        raise
    except Exception as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else what
        raise TilewrightError(f"{what} raised {type(error).__name__}: {error} ({place})") from error
