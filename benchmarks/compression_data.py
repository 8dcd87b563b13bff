"""Images that the compressed networks are trained and tested on, and files of their states."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import fashion

__all__ = ["Batches", "DataSet", "data_of", "read_state", "write_state"]


class Batches:
    """Images and labels in random order; mirrored and shifted by chance if `augment`."""

    def __init__(
        self, images: torch.Tensor, labels: torch.Tensor, size: int, count: int, augment: bool
    ) -> None:
        self.images, self.labels, self.size = images, labels, size
        self.count, self.augment = min(count, len(images)), augment

    def __len__(self) -> int:
        return max(-(-self.count // self.size), 0)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for batch in torch.randperm(len(self.images))[: self.count].split(self.size):
            x = self.images[batch]
            if self.augment:
                x = x.flip(3) if torch.rand(()) < 0.5 else x
                x = torch.roll(x, torch.randint(-1, 2, (2,)).tolist(), (2, 3))
            yield x.contiguous(memory_format=torch.channels_last), self.labels[batch]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DataSet:
    """Training and test images: uint8 [N, 1, 28, 28] and labels."""

    train_arrays: tuple[Any, Any]
    test_arrays: tuple[Any, Any]

    @property
    def calibration(self) -> Any:
        """Training images."""
        return self.train_arrays[0]

    def tensors(self, part: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Images in 0..1 and labels of "train" or "test"."""
        images, labels = self.train_arrays if part == "train" else self.test_arrays
        return torch.from_numpy(images.astype(np.float32) / 255), torch.from_numpy(labels)

    def test(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The test set in batches."""
        images, labels = self.tensors("test")
        return list(zip(images.split(500), labels.split(500), strict=True))


def data_of(folder: Path) -> DataSet:
    """The data set in a folder of idx files."""
    train_set, test_set = (fashion.read_images(folder, part) for part in ("train", "t10k"))
    return DataSet(train_arrays=train_set, test_arrays=test_set)


def read_state(model: nn.Module, path: Path) -> None:
    """Give a module the state in a file."""
    with np.load(path, allow_pickle=False) as arrays:
        model.load_state_dict({key: torch.from_numpy(arrays[key]) for key in arrays.files})


def write_state(model: nn.Module, path: Path) -> None:
    """Keep a module's state."""
    state = {key: tensor.numpy() for key, tensor in model.state_dict().items()}
    np.savez(path, allow_pickle=False, **state)
