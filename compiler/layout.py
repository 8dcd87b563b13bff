"""Where a feature map's values stand in external memory and in the banks, defined once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilewright.compiler.pixels import PixelMap
from tilewright.compiler.target import Target
from tilewright.graph.ir import Shape
from tilewright.quant.fixed import FixedGraph
from tilewright.quant.formats import QFormat

__all__ = ["TensorLayout", "lane_map", "memory_lanes", "stored_offset"]


def stored_offset(form: QFormat, target: Target) -> int:
    """What is subtracted from a map's integers so that they fit the target's signed lanes."""
    half = 1 << (target.act_bits - 1)
    return half if form.max >= half else 0


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


def memory_lanes(target: Target, narrow: int) -> int:
    """Lanes of a pixel in memory for a value of LOAD's field `narrow`."""
    return target.narrow_lanes[narrow - 1] if narrow else target.rows


@dataclass(frozen=True, slots=True)
class TensorLayout:
    """A feature map in memory: [channel block of R][row][column][R lanes], rows padded to the bus.

    Lanes are one byte for act_bits <= 8 and two (little-endian) above. A `narrow` map has one block
    with fewer lanes (LOAD's field of that name says how many), one for each channel and then zeros;
    LOAD copies them.

    Lanes are signed. An unsigned map that takes all of act_bits stands there less `offset`, half of
    its range: what reads it makes up for that in its bias, what pads it writes -offset.
    """

    shape: Shape
    target: Target
    narrow: int = 0
    offset: int = 0

    @classmethod
    def of(cls, fixed: FixedGraph, name: str, target: Target) -> TensorLayout:
        """The layout of a network's tensor; an input of few channels is narrow."""
        shape, offset = fixed.graph.shapes[name], stored_offset(fixed.formats[name], target)
        if any(item.name == name for item in fixed.graph.inputs):
            return cls.narrowest(shape, target, offset)
        return cls(shape, target, offset=offset)

    @classmethod
    def narrowest(cls, shape: Shape, target: Target, offset: int = 0) -> TensorLayout:
        """The narrow layout with the fewest lanes, the usual one if there are too many channels."""
        for code, lanes in enumerate(target.narrow_lanes, start=1):
            if lanes >= shape[0]:
                return cls(shape, target, code, offset)
        return cls(shape, target, offset=offset)

    @property
    def lanes(self) -> int:
        """Lanes of a pixel in memory."""
        return memory_lanes(self.target, self.narrow)

    @property
    def period(self) -> int:
        """LOAD's field `period`."""
        return self.shape[0] if self.narrow else 0

    @property
    def pixel_bytes(self) -> int:
        """Bytes of one pixel of one channel block."""
        return self.lanes * self.target.lane_bytes

    @property
    def pixel_align(self) -> int:
        """Smallest number of pixels that fills whole bus beats."""
        return self.target.bus_bytes // math.gcd(self.target.bus_bytes, self.pixel_bytes)

    @property
    def lane_map(self) -> npt.NDArray[np.int64]:
        """Channel held by each lane of the banks: int64 [blocks * rows], -1 for none."""
        if not self.narrow:
            return lane_map(self.shape[0], self.target)
        lanes = np.arange(self.target.rows)
        whole = self.target.rows // self.shape[0] * self.shape[0]
        return np.where(lanes < whole, lanes % self.shape[0], -1)

    @property
    def blocks(self) -> int:
        """Channel blocks of R lanes."""
        return -(-self.shape[0] // self.target.rows)

    @property
    def pitch(self) -> int:
        """Bytes from one row to the next."""
        bus = self.target.bus_bytes
        return -(-self.shape[2] * self.pixel_bytes // bus) * bus

    @property
    def block_bytes(self) -> int:
        """Bytes from one channel block to the next."""
        return self.pitch * self.shape[1]

    @property
    def size(self) -> int:
        """Bytes of the whole map."""
        return self.block_bytes * self.blocks

    @property
    def pixels(self) -> PixelMap:
        """What packing and unpacking need to know."""
        return PixelMap(
            shape=self.shape,
            lanes=tuple(map(int, self._memory_map())),
            blocks=self.blocks,
            lane_bytes=self.target.lane_bytes,
            pitch=self.pitch,
            offset=self.offset,
        )

    def pack(self, values: npt.NDArray[np.int64]) -> bytes:
        """Memory image of integers [C, H, W]; lanes without a channel and row ends are 0."""
        return self.pixels.pack(values)

    def unpack(self, data: bytes) -> npt.NDArray[np.int64]:
        """Integers [C, H, W] of a memory image."""
        return self.pixels.unpack(data)

    def _memory_map(self) -> npt.NDArray[np.int64]:
        """Channel held by each lane in memory, -1 for none."""
        if not self.narrow:
            return self.lane_map
        lanes = np.arange(self.lanes)
        return np.where(lanes < self.shape[0], lanes, -1)
