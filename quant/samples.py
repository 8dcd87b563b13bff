"""What a convolution sees and should give, at a sample of its output pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from tilewright.graph.ir import Conv, Layer

__all__ = ["Samples", "draw", "draw_windows"]

_VALUES = 1 << 25
"""Values sampled for one layer: 128 MB of float32."""
_PIXELS = 1 << 13

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Windows of the fixed network and results of the float one, at the same output pixels.

    Attributes
    ----------
    windows : what the layer reads in the fixed network, as real numbers, float32
        [groups, pixels, inputs of a group · kernel height · kernel width]
    wanted : what the weighted sum and the bias should give: the float network's value before the
        activation, less the fixed network's residual; float32 [pixels, output channels]
    """

    windows: torch.Tensor
    wanted: torch.Tensor

    def part(self, pixels: torch.Tensor) -> Samples:
        """The samples of some pixels, bool [pixels]."""
        return Samples(self.windows[:, pixels], self.wanted[pixels])


def draw(
    layer: Layer,
    floats: Sequence[Sequence[FloatArray]],
    fixed: Sequence[Sequence[torch.Tensor]],
    scales: Sequence[float],
) -> Samples:
    """Sample a convolution's output pixels over all calibration images, the same on every run.

    Parameters
    ----------
    layer : a convolution
    floats : for each of its inputs its chunks in the float network, float32 [n, C, H, W] each
    fixed : for each of its inputs its chunks in the fixed network, integers [n, C, H, W]
    scales : value of 1 of each input's integers
    """
    conv = layer.conv
    assert conv is not None
    shape = (int(fixed[0][0].shape[1]), int(fixed[0][0].shape[2]), int(fixed[0][0].shape[3]))
    _, height, width = conv.output_shape(shape)
    taps = shape[0] * conv.kernel[0] * conv.kernel[1]
    images = sum(len(chunk) for chunk in fixed[0])
    pixels = min(images * height * width, _PIXELS, max(64, _VALUES // taps))
    rng = np.random.default_rng(0)
    weight, bias = torch.from_numpy(np.array(conv.weight)), torch.from_numpy(np.array(conv.bias))
    windows, wanted = [], []
    for index, chunk in enumerate(fixed[0]):
        count = -(-pixels * len(chunk) // images)
        places = rng.choice(len(chunk) * height * width, count, replace=False)
        at = np.unravel_index(np.sort(places), (len(chunk), height, width))
        where = tuple(torch.from_numpy(part.astype(np.int64)) for part in at)
        seen = _windows(conv, torch.from_numpy(floats[0][index]), where)
        goal = _products(seen, weight) + bias
        if layer.residual is not None:
            goal += torch.from_numpy(floats[1][index])[where[0], :, where[1], where[2]]
            goal -= fixed[1][index][where[0], :, where[1], where[2]].float() * scales[1]
        wanted.append(goal)
        windows.append(_windows(conv, fixed[0][index].float() * scales[0], where))
    return Samples(torch.cat(windows, dim=1), torch.cat(wanted))


def draw_windows(layer: Layer, values: FloatArray) -> npt.NDArray[np.float64]:
    """What a convolution without groups reads of `values` [N, C, H, W], at the same pixels as `draw`.

    Returns [pixels, inputs · kernel height · kernel width].
    """
    alone = replace(layer, residual=None)
    samples = draw(alone, [[values]], [[torch.from_numpy(values)]], [1.0])
    windows: npt.NDArray[np.float64] = samples.windows[0].double().numpy()
    return windows


def _windows(conv: Conv, x: torch.Tensor, where: Sequence[torch.Tensor]) -> torch.Tensor:
    """Windows of `x` [n, C, H, W] at output pixels `where` (image, row, column): [G, pixels, d]."""
    top, bottom, left, right = conv.pads
    padded = F.pad(x, (left, right, top, bottom)) if any(conv.pads) else x
    image, row, column = where[0], where[1] * conv.stride[0], where[2] * conv.stride[1]
    taps = [
        padded[image, :, row + i * conv.dilation[0], column + j * conv.dilation[1]]
        for i in range(conv.kernel[0])
        for j in range(conv.kernel[1])
    ]
    grouped = torch.stack(taps, dim=2).reshape(len(image), conv.groups, -1)
    return grouped.transpose(0, 1).contiguous()


def _products(windows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Weighted sums [pixels, O] of windows [G, pixels, d] by weights [O, I/G, kh, kw]."""
    groups, pixels, size = windows.shape
    sums = windows @ weight.reshape(groups, -1, size).transpose(1, 2)
    return sums.transpose(0, 1).reshape(pixels, -1)
