"""Feature maps in memory, as packing and unpacking them needs to know them.

Needs nothing but NumPy: the host on a board has this file as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["PixelMap"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelMap:
    """A map [channel block][row][column][lane] in memory, its rows padded.

    Attributes
    ----------
    shape : (C, H, W)
    lanes : channel held by each lane, block after block, -1 for none (zero)
    blocks : channel blocks
    lane_bytes : 1, or 2 with the low byte first
    pitch : bytes from one row to the next
    offset : what is subtracted from the integers of an unsigned map to fit signed lanes
    """

    shape: tuple[int, int, int]
    lanes: tuple[int, ...]
    blocks: int
    lane_bytes: int
    pitch: int
    offset: int = 0

    @property
    def size(self) -> int:
        """Bytes of the whole map."""
        return self.pitch * self.shape[1] * self.blocks

    @property
    def _type(self) -> str:
        return "<i1" if self.lane_bytes == 1 else "<i2"

    def pack(self, values: npt.NDArray[np.int64]) -> bytes:
        """Memory image of integers [C, H, W]; lanes without a channel and row ends are 0."""
        lanes = np.asarray(self.lanes)
        stored = values - self.offset
        spread = np.where((lanes >= 0)[:, None, None], stored[np.maximum(lanes, 0)], 0)
        pixels = spread.reshape(self.blocks, -1, *self.shape[1:]).transpose(0, 2, 3, 1)
        data = np.ascontiguousarray(pixels).astype(self._type)
        raw = data.view(np.uint8).reshape(self.blocks, self.shape[1], -1)
        image = np.zeros((self.blocks, self.shape[1], self.pitch), np.uint8)
        image[:, :, : raw.shape[2]] = raw
        return image.tobytes()

    def unpack(self, data: bytes) -> npt.NDArray[np.int64]:
        """Integers [C, H, W] of a memory image."""
        channels, height, width = self.shape
        lanes = len(self.lanes) // self.blocks
        image = np.frombuffer(data, np.uint8).reshape(self.blocks, height, self.pitch)
        raw = np.ascontiguousarray(image[:, :, : width * lanes * self.lane_bytes])
        pixels = raw.view(self._type).reshape(self.blocks, height, width, lanes)
        stored = pixels.transpose(0, 3, 1, 2).reshape(-1, height, width)[:channels]
        return stored.astype(np.int64) + self.offset
