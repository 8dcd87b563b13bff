"""The networks that are compressed: LeNet-300-100, Caffe's LeNet-5, a VGG-like net and a ResNet.

All take float32 [N, 1, 28, 28] in 0..1 and give ten scores. Besides, a fully connected layer of any
integers.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from tilewright.graph.ir import Conv, Graph, Input, Layer, Op, Output
from tilewright.quant.fixed import FixedGraph, FixedLayer
from tilewright.quant.formats import QFormat

__all__ = ["NETWORKS", "lenet_5", "lenet_300_100", "one_layer", "resnet", "vgg"]


def lenet_300_100() -> nn.Module:
    """Three fully connected layers: 266,610 parameters."""
    return nn.Sequential(
        nn.Flatten(),
        *(nn.Linear(784, 300), nn.ReLU(), nn.Dropout(0.1)),
        *(nn.Linear(300, 100), nn.ReLU(), nn.Dropout(0.1)),
        nn.Linear(100, 10),
    )


def lenet_5() -> nn.Module:
    """Caffe's LeNet-5, as the papers compress it: 431,080 parameters."""
    return nn.Sequential(
        *(nn.Conv2d(1, 20, 5), nn.MaxPool2d(2)),
        *(nn.Conv2d(20, 50, 5), nn.MaxPool2d(2)),
        nn.Flatten(),
        *(nn.Linear(800, 500), nn.ReLU(), nn.Dropout(0.5)),
        nn.Linear(500, 10),
    )


def _conv(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


def vgg() -> nn.Module:
    """Five 3x3 convolutions, three poolings and a fully connected layer."""
    return nn.Sequential(
        *(*_conv(1, 16), nn.ReLU(), nn.MaxPool2d(2)),
        *(*_conv(16, 64), nn.ReLU()),
        *(*_conv(64, 64), nn.ReLU()),
        *(*_conv(64, 64), nn.ReLU(), nn.MaxPool2d(2)),
        *(*_conv(64, 64), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Flatten(),
        nn.Linear(64 * 3 * 3, 10),
    )


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            *(*_conv(inputs, outputs, stride), nn.ReLU()), *_conv(outputs, outputs)
        )
        self.skip = nn.Identity()
        if inputs != outputs:
            self.skip = nn.Sequential(*_conv(inputs, outputs, stride, kernel=1))

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.main(x) + self.skip(x))


def resnet(blocks: int = 3, stem: int = 2) -> nn.Module:
    """Three stages of 16, 32 and 64 channels of `blocks` blocks each, 6 * blocks + 2 layers deep.

    `stem` is the stride of the first convolution: 1 is the papers' network, 2 takes a quarter of
    the time to train.
    """
    parts: list[nn.Module] = [*_conv(1, 16, stem), nn.ReLU()]
    channels = 16
    for outputs in (16, 32, 64):
        for number in range(blocks):
            stride = 2 if outputs > 16 and number == 0 else 1
            parts.append(_Block(channels, outputs, stride))
            channels = outputs
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def one_layer(weight: np.ndarray, shift: int) -> FixedGraph:
    """A fully connected layer with these weights."""
    count, inputs = weight.shape[:2]
    conv = Conv(weight=weight.astype(np.float32), bias=np.zeros(count, np.float32))
    layer = Layer(name="fc6", op=Op.CONV, inputs=("x",), conv=conv)
    graph = Graph(
        name="fc6",
        inputs=(Input(name="x", shape=(inputs, 1, 1)),),
        layers=(layer,),
        outputs=(Output(name="y", tensor="fc6", shape=(count, 1, 1)),),
    )
    zeros, output = np.zeros(count, np.int64), QFormat(8, 0)
    fixed = FixedLayer(
        layer=layer,
        weight=weight,
        weight_bits=8,
        weight_frac=zeros + shift,
        acc_frac=zeros + shift,
        bias=zeros,
        output=output,
        lo=output.min,
        hi=output.max,
    )
    return FixedGraph(graph=graph, formats={"x": QFormat(8, 0), "fc6": output}, layers=(fixed,))


NETWORKS = {
    "lenet-300-100": lenet_300_100,
    "lenet-5": lenet_5,
    "fashion-vgg": vgg,
    "fashion-resnet": resnet,
}
"""Untrained networks by name."""
