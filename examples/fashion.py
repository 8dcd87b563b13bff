"""Three small networks for Fashion-MNIST: plain, residual and depthwise-separable.

Their weights in fashion_*.npz were trained by train_fashion.py. The images are those of the Debian
package dataset-fashion-mnist (MIT): 60,000 to train on and 10,000 to test on, in four idx files.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

__all__ = ["DEFAULT_FOLDER", "NETWORKS", "network", "read_idx", "read_images", "weights_path"]

DEFAULT_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where the Debian package puts its files."""


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Array of bytes in an idx file, which may be compressed by gzip.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or it is none of bytes.
    """
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if data[:3] != b"\0\0\x08":
        raise ValueError(f"{path} is no idx file of bytes")
    shape = np.frombuffer(data, ">u4", data[3], 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def read_images(folder: Path, part: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images uint8 [N, 1, 28, 28] in 0..255 and labels int64 [N] of `part`, "train" or "t10k".

    The folder holds the four files of MNIST or Fashion-MNIST, compressed or not.
    """
    found = []
    for kind in ("images-idx3", "labels-idx1"):
        path = folder / f"{part}-{kind}-ubyte"
        found.append(read_idx(path if path.is_file() else path.with_name(path.name + ".gz")))
    return found[0].reshape(-1, 1, 28, 28), found[1].astype(np.int64)


def _conv(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1
) -> tuple[nn.Module, nn.Module]:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return conv, nn.BatchNorm2d(outputs)


def _plain() -> nn.Module:
    """Three convolutions and two fully connected layers."""
    return nn.Sequential(
        *(*_conv(1, 16), nn.ReLU(), nn.MaxPool2d(2)),
        *(*_conv(16, 32), nn.ReLU(), nn.MaxPool2d(2)),
        *(*_conv(32, 32), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Flatten(),
        *(nn.Linear(32 * 3 * 3, 24), nn.ReLU()),
        nn.Linear(24, 10),
    )


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.main = nn.Sequential(*_conv(channels, channels), nn.ReLU(), *_conv(channels, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.main(x))


def _residual() -> nn.Module:
    """Two residual blocks."""
    return nn.Sequential(
        *(*_conv(1, 16), nn.ReLU(), nn.MaxPool2d(2)),
        _Residual(16),
        *(*_conv(16, 24, stride=2), nn.ReLU()),
        _Residual(24),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Linear(24, 10),
    )


def _separable() -> nn.Module:
    """A convolution and four depthwise-separable ones, with ReLU6."""
    parts: list[nn.Module] = [*_conv(1, 16), nn.ReLU6(), nn.MaxPool2d(2)]
    for inputs, outputs, stride in ((16, 32, 1), (32, 64, 2), (64, 96, 1), (96, 96, 1)):
        parts += [*_conv(inputs, inputs, 3, stride, inputs), nn.ReLU6()]
        parts += [*_conv(inputs, outputs, 1), nn.ReLU6()]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 10))


NETWORKS = {"plain": _plain, "residual": _residual, "separable": _separable}
"""Untrained networks by name: float32 [N, 1, 28, 28] in 0..1 to ten scores."""


def weights_path(name: str) -> Path:
    """Where the weights of a network of `NETWORKS` are."""
    return Path(__file__).with_name(f"fashion_{name}.npz")


def network(name: str) -> nn.Module:
    """A trained network of `NETWORKS`, in evaluation mode."""
    model = NETWORKS[name]()
    with np.load(weights_path(name), allow_pickle=False) as arrays:
        model.load_state_dict({key: torch.from_numpy(arrays[key]) for key in arrays.files})
    return model.eval()
