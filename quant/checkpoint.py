"""Checkpoints: arrays and a description in an .npz file, without pickle; those of fine-tuning."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tilewright.errors import TilewrightError
from tilewright.quant.fixed import FixedGraph

if TYPE_CHECKING:
    from tilewright.quant.finetune import FineTuneConfig

__all__ = ["Checkpoint", "load_checkpoint", "read_archive", "save_checkpoint", "write_archive"]

_ABOUT = "tilewright"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """State after `epoch` epochs: their losses, and arrays by name."""

    epoch: int
    losses: tuple[float, ...]
    arrays: Mapping[str, npt.NDArray[np.generic]]


def write_archive(
    path: Path, about: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[np.generic]]
) -> None:
    """Write arrays and a description; a file that is there is replaced only by a complete one.

    Raises
    ------
    TilewrightError
        If it cannot be written.
    """
    named: dict[str, Any] = {_ABOUT: np.array(json.dumps(about)), **arrays}
    try:
        handle, temporary = tempfile.mkstemp(prefix=".tilewright-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, allow_pickle=False, **named)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise TilewrightError(
            f"{path}: cannot be written: {error.strerror or error}; choose a writable place"
        ) from error


def read_archive(path: Path, what: str) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Description and arrays of a file of `write_archive`, a checkpoint of `what`.

    Raises
    ------
    TilewrightError
        If it is damaged, or something else.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as members:
            arrays = {name: members[name] for name in members.files}
        about = json.loads(str(arrays.pop(_ABOUT)))
        return dict(about), arrays
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged(path, what, error) from error


def _damaged(path: Path, what: str, error: Exception) -> TilewrightError:
    return TilewrightError(f"{path}: not a checkpoint of {what} ({error}); remove it to begin anew")


def _identity(fixed: FixedGraph, config: FineTuneConfig) -> str:
    """What a checkpoint must have been made of: the network before, and the choices."""
    digest = hashlib.sha256()
    choices = [config.epochs, config.learning_rate, config.seed]
    digest.update(json.dumps([fixed.graph.name, choices]).encode())
    for layer in fixed.layers:
        digest.update(json.dumps([layer.name, layer.weight_bits, str(layer.output)]).encode())
        for array in (layer.weight, layer.weight_frac, layer.bias):
            digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def save_checkpoint(
    path: str, state: Checkpoint, fixed: FixedGraph, config: FineTuneConfig
) -> None:
    """Write `state`; a file that is there is replaced only by a complete one.

    Raises
    ------
    TilewrightError
        If it cannot be written.
    """
    about = {"epoch": state.epoch, "losses": state.losses, "identity": _identity(fixed, config)}
    write_archive(Path(path), about, state.arrays)


def load_checkpoint(path: str, fixed: FixedGraph, config: FineTuneConfig) -> Checkpoint | None:
    """The state in the file at `path`; None if there is no such file.

    Raises
    ------
    TilewrightError
        If the file is damaged, or of another network or other choices.
    """
    if not Path(path).exists():
        return None
    about, arrays = read_archive(Path(path), "fine-tuning")
    try:
        identity, epoch, losses = about["identity"], int(about["epoch"]), tuple(about["losses"])
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(Path(path), "fine-tuning", error) from error
    if identity != _identity(fixed, config):
        raise TilewrightError(
            f"{path}: a checkpoint of another network or with other epochs, learning_rate or seed; "
            "give the same ones, or remove it to begin anew"
        )
    return Checkpoint(epoch=epoch, losses=losses, arrays=arrays)
