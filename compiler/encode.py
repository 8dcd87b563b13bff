"""Bit packing of the weight stream and of the parameter records."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tilewright.quant.numerics import store_shift

__all__ = ["CONTAINER_CODES", "pack_compact", "pack_params", "pack_weights"]

IntArray = npt.NDArray[np.int64]

CONTAINER_CODES = {2: 0, 4: 1, 8: 2, 16: 3}
"""Encoding of the WEIGHTS instruction's `container` field."""


def pack_weights(tiles: IntArray, container: int, offsets: IntArray | None = None) -> bytes:
    """Weight stream of `tiles` [n, R, C], padded to bytes: rows of C weights, c = 0 lowest.

    With `offsets` [n, R], each row is preceded by its 16-bit bank offset.
    """
    if offsets is None:
        return _pack_flat(tiles.reshape(-1), container)
    return _with_offsets(_bits(tiles, container).reshape(*offsets.shape, -1), offsets)


def pack_compact(tiles: IntArray, offsets: IntArray, *, width: int, room: int) -> bytes:
    """Weight stream of packed `tiles` [n, R, P]: each row's `width`-bit weights in `room` bits."""
    bits = _bits(tiles, width).reshape(*offsets.shape, -1)
    spare = np.zeros((*offsets.shape, room - bits.shape[-1]), np.uint8)
    return _with_offsets(np.concatenate([bits, spare], axis=2), offsets)


def _with_offsets(rows: npt.NDArray[np.uint8], offsets: IntArray) -> bytes:
    heads = _bits(offsets[:, :, None], 16).reshape(*offsets.shape, 16)
    return np.packbits(np.concatenate([heads, rows], axis=2), bitorder="little").tobytes()


def _pack_flat(values: IntArray, container: int) -> bytes:
    if container == 16:
        return values.astype("<i2").tobytes()
    data = values.astype(np.int8).view(np.uint8)
    if container == 8:
        return data.tobytes()
    per_byte = 8 // container
    data = np.pad(data, (0, -len(data) % per_byte)).reshape(-1, per_byte)
    packed = np.zeros(len(data), np.uint8)
    for i in range(per_byte):
        packed |= (data[:, i] & ((1 << container) - 1)) << (container * i)
    return packed.tobytes()


def _bits(values: IntArray, count: int) -> npt.NDArray[np.uint8]:
    """The low `count` bits of each value, lowest first: uint8 [..., count]."""
    data = values.astype("<i4").astype("<u2").reshape(-1, 1).view(np.uint8)
    bits = np.unpackbits(data, axis=1, bitorder="little")[:, :count]
    return bits.reshape(*values.shape, count)


def pack_params(bias: IntArray, shift: IntArray) -> bytes:
    """Parameter records: int48 bias, stored requantizing shift, 0."""
    records = np.zeros((len(bias), 8), np.uint8)
    records[:, :6] = bias.astype("<i8").reshape(-1, 1).view(np.uint8)[:, :6]
    records[:, 6] = store_shift(shift)
    return records.tobytes()
