"""Retraining: seeded, resumable after every epoch, on any PyTorch module and data loader."""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from tilewright.errors import TilewrightError

__all__ = ["Progress", "TrainConfig", "accuracy", "train"]

Progress = Callable[[int, int, str], None]
"""Called as progress(epochs done, epochs in all, text)."""

_ABOUT = "tilewright"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How to retrain.

    Attributes
    ----------
    epochs : passes over the loader; 0 does nothing
    learning_rate : of AdamW; falls along a half cosine
    weight_decay : of AdamW
    temperature : of what a teacher says, where `train` is given one: its scores are divided by it
    seed : of every random number drawn from PyTorch's global generator
    checkpoint : file (.npz) written after every epoch and continued from if it is there; None: none

    Raises
    ------
    TilewrightError
        If a value is out of its range.
    """

    epochs: int = 1
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    temperature: float = 4.0
    seed: int = 0
    checkpoint: Path | None = None

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise TilewrightError(f"Retraining needs epochs of 0 or more, not {self.epochs!r}")
        if not 0.0 < self.learning_rate <= 1.0:
            raise TilewrightError(
                f"Retraining needs a learning_rate above 0 and up to 1, not {self.learning_rate!r}"
            )
        if not 0.0 < self.temperature <= 100.0:
            raise TilewrightError(
                f"Retraining needs a temperature above 0 and up to 100, not {self.temperature!r}"
            )


def train(
    model: nn.Module,
    loader: Iterable[Any],
    config: TrainConfig,
    *,
    teacher: nn.Module | None = None,
    progress: Progress | None = None,
) -> tuple[float, ...]:
    """Train what of a module requires gradients; returns each epoch's mean loss.

    The loss is cross-entropy with the labels, or the divergence from what `teacher` says.

    Parameters
    ----------
    model : trained in place and left in evaluation mode
    loader : gives (inputs, labels) batch by batch, and again for each epoch
    teacher : in evaluation mode; it sees the same inputs

    Raises
    ------
    TilewrightError
        If the loader gives nothing or too little for BatchNorm, the loss becomes no number, or the
        checkpoint is of another model or other choices.
    """
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad],
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
    )
    identity = _identity(model, config, teacher)
    losses = _load(config.checkpoint, identity, model, optimizer)
    while len(losses) < config.epochs:
        epoch = len(losses)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed * 1_000_003 + epoch)
            losses.append(_epoch(model, loader, optimizer, config, epoch, teacher))
        if config.checkpoint is not None:
            _save(config.checkpoint, identity, model, optimizer, losses)
        if progress is not None:
            progress(epoch + 1, config.epochs, f"epoch {epoch + 1}: loss {losses[-1]:.4f}")
    model.eval()
    return tuple(losses)


def accuracy(model: nn.Module, loader: Iterable[Any]) -> float:
    """Share of a loader's images that a module labels rightly."""
    model.eval()
    right = count = 0
    with torch.inference_mode():
        for images, labels in loader:
            right += int((model(images).flatten(1).argmax(1) == labels).sum())
            count += len(labels)
    return right / count


def _epoch(
    model: nn.Module,
    loader: Iterable[Any],
    optimizer: torch.optim.Optimizer,
    config: TrainConfig,
    epoch: int,
    teacher: nn.Module | None,
) -> float:
    model.train()
    total, images = 0.0, 0
    batches = len(loader) if isinstance(loader, Sized) else 0
    for number, (x, y) in enumerate(loader):
        done = (epoch + (number / batches if batches else 0.0)) / config.epochs
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))
        scores = _scores(model, x)
        if teacher is None:
            loss = functional.cross_entropy(scores, y)
        else:
            loss = _divergence(scores, teacher, x, config.temperature)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TilewrightError(
                f"Retraining stopped in epoch {epoch + 1}, batch {number + 1}: the loss is "
                f"{value:g}; use a smaller learning_rate"
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total, images = total + value * len(y), images + len(y)
    if not images:
        raise TilewrightError("Retraining: the loader gives no batches; give one that does")
    return total / images


def _scores(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    try:
        scores: torch.Tensor = model(inputs).flatten(1)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise TilewrightError(
            f"Retraining: BatchNorm learns nothing from a batch of {len(inputs)} with one value a channel; "
            "give larger batches"
        ) from error
    return scores


def _divergence(
    scores: torch.Tensor, teacher: nn.Module, inputs: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Section 2 of "Distilling the Knowledge in a Neural Network" (Hinton et al. 2015), soft targets only."""
    with torch.no_grad():
        wanted = functional.log_softmax(teacher(inputs).flatten(1) / temperature, 1)
    found = functional.log_softmax(scores / temperature, 1)
    # Gradients fall with the square of the temperature.
    return temperature**2 * functional.kl_div(found, wanted, reduction="batchmean", log_target=True)


def _identity(model: nn.Module, config: TrainConfig, teacher: nn.Module | None) -> str:
    """What a checkpoint must have been made of: the model before, the teacher, and the choices."""
    choices = [config.epochs, config.learning_rate, config.weight_decay, config.seed]
    choices += [] if teacher is None else [config.temperature]
    digest = hashlib.sha256(json.dumps(choices).encode())
    for module in (model,) if teacher is None else (model, teacher):
        for name, tensor in module.state_dict().items():
            digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _save(
    path: Path,
    identity: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    losses: list[float],
) -> None:
    about = json.dumps({"identity": identity, "losses": losses})
    arrays: dict[str, Any] = {_ABOUT: np.array(about)}
    arrays |= {f"model/{name}": tensor.numpy() for name, tensor in model.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        arrays |= {f"optimizer/{number}/{key}": value.numpy() for key, value in state.items()}
    try:
        handle, temporary = tempfile.mkstemp(prefix=".tilewright-", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        Path(temporary).replace(path)
    except OSError as error:
        raise TilewrightError(
            f"{path}: cannot be written: {error.strerror or error}; choose a writable place"
        ) from error


def _load(
    path: Path | None, identity: str, model: nn.Module, optimizer: torch.optim.Optimizer
) -> list[float]:
    """Put a checkpoint's state into model and optimizer; the losses so far."""
    if path is None or not path.exists():
        return []
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(str(arrays.pop(_ABOUT)))
        found, losses = about["identity"], [float(loss) for loss in about["losses"]]
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise TilewrightError(
            f"{path}: not a checkpoint of retraining ({error}); remove it to begin anew"
        ) from error
    if found != identity:
        raise TilewrightError(
            f"{path}: a checkpoint of another network or with other choices; give the same ones, "
            "or remove it to begin anew"
        )
    state: dict[str, torch.Tensor] = {}
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, array in arrays.items():
        kind, _, rest = name.partition("/")
        if kind == "model":
            state[rest] = torch.from_numpy(array)
        else:
            number, _, key = rest.partition("/")
            moments.setdefault(int(number), {})[key] = torch.from_numpy(array)
    model.load_state_dict(state)
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    return losses
