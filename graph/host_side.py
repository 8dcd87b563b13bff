"""What the host computes before and behind the accelerator.

Needs nothing but NumPy: the host on a board has this file as it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["apply_host_ops", "as_channels_first", "normalized"]

Floats = npt.NDArray[np.float32]


def as_channels_first(
    data: npt.NDArray[np.generic], shape: tuple[int, int, int], layout: str
) -> npt.NDArray[np.generic] | None:
    """Images as the user's model takes them, as [N, C, H, W]; None if their shape is another.

    Data that is already [N, C, H, W] is taken as such when it cannot be the other layout.

    Parameters
    ----------
    data : [N, ...]
    shape : (C, H, W)
    layout : "nchw", "nhwc" or "flat", as in `Input`
    """
    channels, height, width = shape
    if layout == "nhwc" and data.shape[1:] == (height, width, channels):
        return np.ascontiguousarray(data.transpose(0, 3, 1, 2))
    if data.shape[1:] == shape:
        return data
    if layout == "flat" and data.ndim > 1 and math.prod(data.shape[1:]) == math.prod(shape):
        return data.reshape(-1, *shape)
    return None


def normalized(
    raw: npt.NDArray[np.generic], mean: Sequence[float], scale: Sequence[float]
) -> Floats:
    """What the network sees of `raw` [N, C, H, W]: (raw - mean) * scale, in float32.

    `mean` and `scale` hold a value for each channel, or one for all.
    """
    offset, factor = (np.asarray(v, np.float64).reshape(-1, 1, 1) for v in (mean, scale))
    return ((raw.astype(np.float64) - offset) * factor).astype(np.float32)


def apply_host_ops(data: Floats, host_ops: Collection[str]) -> Floats:
    """Apply the operators of `Output.host_ops` to [N, ...]; axes count the batch as axis 0."""
    for operation in host_ops:
        found = re.fullmatch(r"(\w+)\((?:axes=([\d,]+))?\)", operation)
        assert found is not None, operation
        if found[1] == "Sigmoid":
            data = (0.5 * (1.0 + np.tanh(0.5 * data.astype(np.float64)))).astype(np.float32)
            continue
        axes = tuple(int(axis) for axis in found[2].split(","))
        shifted = data.astype(np.float64) - data.max(axis=axes, keepdims=True)
        logs = shifted - np.log(np.exp(shifted).sum(axis=axes, keepdims=True))
        assert found[1] in ("Softmax", "LogSoftmax"), operation
        data = (np.exp(logs) if found[1] == "Softmax" else logs).astype(np.float32)
    return data
