"""Where a feature map's values stand in external memory and in the banks, defined once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilewright.compiler.target import Target
from tilewright.graph.ir import Shape

__all__ = ["TensorLayout", "lane_map"]


def lane_map(channels: int, target: Target) -> npt.NDArray[np.int64]:
    """Channel held by each lane: int64 [blocks * rows], -1 where a lane holds nothing (zero).

    Block b holds channels b*R .. b*R+R-1. A ragged block of n channels holds copies of them as far
    as R lanes allow, which lets a weight tile take several kernel taps at once; but never so many
    that the producer needs more column tiles than the channels themselves need.
    """
    rows, cols = target.rows, target.cols
    blocks = -(-channels // rows)
    limit = max(-(-channels // cols) * cols, channels)
    lanes = np.full(blocks * rows, -1, np.int64)
    lanes[:channels] = np.arange(channels)
    start = (blocks - 1) * rows
    ragged = channels - start
    copies = max(min(rows, limit - start) // ragged, 1)
    lanes[start : start + copies * ragged] = start + np.tile(np.arange(ragged), copies)
    return lanes


@dataclass(frozen=True, slots=True)
class TensorLayout:
    """A feature map in memory: [channel block of R][row][column][R lanes], rows padded to the bus.

    Lanes are one byte for act_bits <= 8 and two (little-endian) above.
    """

    shape: Shape
    target: Target

    @property
    def blocks(self) -> int:
        """Channel blocks of R lanes."""
        return -(-self.shape[0] // self.target.rows)

    @property
    def pitch(self) -> int:
        """Bytes from one row to the next."""
        bus = self.target.bus_bytes
        return -(-self.shape[2] * self.target.pixel_bytes // bus) * bus

    @property
    def block_bytes(self) -> int:
        """Bytes from one channel block to the next."""
        return self.pitch * self.shape[1]

    @property
    def size(self) -> int:
        """Bytes of the whole map."""
        return self.block_bytes * self.blocks

    def pack(self, values: npt.NDArray[np.int64]) -> bytes:
        """Memory image of integers [C, H, W]; lanes without a channel and row ends are 0."""
        rows = self.target.rows
        lanes = lane_map(self.shape[0], self.target)
        spread = np.where((lanes >= 0)[:, None, None], values[np.maximum(lanes, 0)], 0)
        pixels = spread.reshape(self.blocks, rows, *self.shape[1:]).transpose(0, 2, 3, 1)
        data = np.ascontiguousarray(pixels).astype("<i1" if self.target.lane_bytes == 1 else "<i2")
        raw = data.view(np.uint8).reshape(self.blocks, self.shape[1], -1)
        image = np.zeros((self.blocks, self.shape[1], self.pitch), np.uint8)
        image[:, :, : raw.shape[2]] = raw
        return image.tobytes()

    def unpack(self, data: bytes) -> npt.NDArray[np.int64]:
        """Integers [C, H, W] of a memory image."""
        channels, height, width = self.shape
        image = np.frombuffer(data, np.uint8).reshape(self.blocks, height, self.pitch)
        raw = np.ascontiguousarray(image[:, :, : width * self.target.pixel_bytes])
        values = raw.view("<i1" if self.target.lane_bytes == 1 else "<i2")
        pixels = values.reshape(self.blocks, height, width, self.target.rows)
        return pixels.transpose(0, 3, 1, 2).reshape(-1, height, width)[:channels].astype(np.int64)
