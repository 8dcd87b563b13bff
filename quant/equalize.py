"""Equalization: rewriting the float network so that its feature maps suit fixed point better.

Channels of small range are multiplied by a power of two, and the next weights divided by it, see
`tilewright.quant.scales`: "cross-layer equalization", Nagel et al., "Data-Free Quantization", ICCV
2019, section 4.1.1. That keeps what the network computes (up to float rounding) and costs nothing in
hardware. The scaled channels of a clipped layer are then clipped at eight times the largest value that
the calibration images gave them, or above, instead of where all channels are.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tilewright.graph.ir import Graph
from tilewright.quant.floats import walk_float
from tilewright.quant.scales import ChannelRange, scale_channels

__all__ = ["ChannelRange", "channel_ranges", "equalize"]

FloatArray = npt.NDArray[np.float32]


def channel_ranges(graph: Graph, data: Mapping[str, FloatArray]) -> dict[str, ChannelRange]:
    """Ranges of every layer's output on normalized images, float32 [N, C, H, W] by input."""
    axes = (0, 2, 3)
    return {
        layer.name: ChannelRange(
            values.min(axis=axes).astype(np.float64), values.max(axis=axes).astype(np.float64)
        )
        for layer, values in walk_float(graph, data)
    }


def equalize(graph: Graph, ranges: Mapping[str, ChannelRange]) -> tuple[Graph, dict[str, str]]:
    """The rewritten network, and for every changed tensor what was done to it.

    Parameters
    ----------
    graph : the float network
    ranges : of `channel_ranges`
    """
    return scale_channels(graph, ranges)
