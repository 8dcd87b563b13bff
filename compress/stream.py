"""The compressed weight stream, bit by bit as docs/compression.md defines it: encoder and decoder.

A layer is a table block, which a decoder reads once, and a stream for each WEIGHTS instruction.
Columns are dealt to lanes, each of which has its own bits: codewords of zero runs and of codebook
entries by turns. Chunks of rows begin anew, so that what a lane must hold of its bits is bounded.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilewright.compress.huffman import LIMIT, code_lengths, codewords
from tilewright.errors import TilewrightError

__all__ = ["HEADER", "MAGIC", "Encoded", "Rows", "Tables", "deal", "encode_layer"]

IntArray = npt.NDArray[np.int64]

MAGIC, VERSION = 0x5754, 1
HEADER = struct.Struct("<HBBBBBBHHI")
"""Magic, version, log2 lanes, longest run, entries - 1, bytes an entry, offsets, chunk rows,
common offsets, CRC."""
LONGEST_RUNS = (3, 7, 15, 31, 63)
MAX_ROWS = 1 << 15
WORD = 16
"""Bits of a word of a lane."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """What one WEIGHTS instruction streams: rows of C weights, and each row's bank offset or None."""

    weights: IntArray
    offsets: IntArray | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tables:
    """A layer's codes.

    Attributes
    ----------
    lanes : decoders that work side by side, a power of two that divides C
    longest : M; run symbol r < M is r zeros and then a value, M is M zeros and no value
    run_lengths, value_lengths : lengths of the codewords, 0 for symbols that do not occur
    values : the codebook
    offsets : whether rows have offsets
    common : the offsets, if they are the same in all streams; those are not in the streams then
    chunk_rows : rows of a chunk
    """

    lanes: int
    longest: int
    run_lengths: IntArray
    value_lengths: IntArray
    values: IntArray
    offsets: bool
    common: IntArray | None
    chunk_rows: int

    def pack(self) -> bytes:
        """The table block."""
        entry = 1 if -128 <= self.values.min() and self.values.max() < 128 else 2
        body = _nibbles(self.run_lengths) + _nibbles(self.value_lengths)
        body += self.values.astype(f"<i{entry}").tobytes()
        common = np.zeros(0, np.int64) if self.common is None else self.common
        body += (common & 0xFFFF).astype("<u2").tobytes()
        fields = (
            *(MAGIC, VERSION, self.lanes.bit_length() - 1, self.longest),
            *(len(self.values) - 1, entry, int(self.offsets), self.chunk_rows, len(common)),
        )
        crc = zlib.crc32(HEADER.pack(*fields, 0)[:-4] + body)
        return HEADER.pack(*fields, crc) + body


def _nibbles(lengths: IntArray) -> bytes:
    low = np.append(lengths, [0] * (len(lengths) % 2)).astype(np.uint8).reshape(-1, 2)
    return (low[:, 0] | low[:, 1] << 4).tobytes()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Encoded:
    """A compressed layer, and what its bits went to.

    Attributes
    ----------
    table, streams : bytes, each to be padded to the bus
    weights : weights that are not zero
    value_bits, run_bits : bits of all codewords of values and of runs
    """

    tables: Tables
    table: bytes
    streams: tuple[bytes, ...]
    weights: int
    value_bits: int
    run_bits: int

    def size(self, align: int = 8) -> int:
        """Bytes in memory, every part padded to a multiple of `align`."""
        return sum(-(-len(part) // align) * align for part in (self.table, *self.streams))


def encode_layer(
    streams: Sequence[Rows], *, lanes: int = 4, huffman: bool = True, words: int = 512
) -> Encoded:
    """Compress the weights of a layer.

    Parameters
    ----------
    streams : what each WEIGHTS instruction streams
    lanes : decoders that work side by side
    huffman : codewords as frequent symbols suggest, or all equally long
    words : most words of a chunk that a lane has to hold

    Raises
    ------
    TilewrightError
        If lanes do not divide the columns, the layer has more than 256 different values or none
        but zero, or they exceed 16 bits.
    """
    cols = streams[0].weights.shape[1]
    if lanes < 1 or lanes.bit_count() != 1 or cols % lanes:
        raise TilewrightError(
            f"A compressed stream needs lanes that are a power of two and divide the {cols} "
            f"columns, not {lanes}"
        )
    values = np.unique(np.concatenate([np.unique(part.weights) for part in streams]))
    values = values[values != 0]
    if not 1 <= len(values) <= 256:
        raise TilewrightError(
            f"A compressed stream holds 1 to 256 different weights besides zero, not "
            f"{len(values)}; share the layer's weights first, or prune it less"
        )
    if values[0] < -(1 << 15) or values[-1] >= 1 << 15:
        raise TilewrightError(f"A weight of {values[-1]} exceeds the 16 bits of a codebook entry")
    rows = max(len(part.weights) for part in streams)
    chunk = min(1 << (rows - 1).bit_length(), MAX_ROWS)
    while True:
        found = [_encode(streams, values, lanes, huffman, chunk, m) for m in LONGEST_RUNS]
        best = min(found, key=lambda item: item[0].size())
        if best[1] <= words or chunk == 1:
            return best[0]
        chunk //= 2


Symbols = tuple[IntArray, npt.NDArray[np.bool_]]
"""Symbols of a lane in a chunk, and which of them are values."""


def _encode(
    streams: Sequence[Rows], values: IntArray, lanes: int, huffman: bool, chunk: int, longest: int
) -> tuple[Encoded, int]:
    """A layer with given rows of a chunk and longest run, and the most words of a chunk's lane."""
    cut = [_chunks(part.weights, values, lanes, chunk, longest) for part in streams]
    runs, used = np.zeros(longest + 1, np.int64), np.zeros(len(values), np.int64)
    for symbols, is_value in (item for part in cut for piece in part for item in piece):
        runs += np.bincount(symbols[~is_value], minlength=len(runs))
        used += np.bincount(symbols[is_value], minlength=len(used))
    run_lengths, value_lengths = _lengths(runs, huffman), _lengths(used, huffman)
    tables = Tables(
        lanes=lanes,
        longest=longest,
        run_lengths=run_lengths,
        value_lengths=value_lengths,
        values=values,
        offsets=streams[0].offsets is not None,
        common=_common(streams),
        chunk_rows=chunk,
    )
    coder = _Coder(run_lengths, value_lengths)
    own = tables.common is None
    parts = [
        _stream(part, pieces, coder, chunk, own) for part, pieces in zip(streams, cut, strict=True)
    ]
    return Encoded(
        tables=tables,
        table=tables.pack(),
        streams=tuple(data for data, _ in parts),
        weights=int(used.sum()),
        value_bits=int((used * value_lengths).sum()),
        run_bits=int((runs * run_lengths).sum()),
    ), max(most for _, most in parts)


def _common(streams: Sequence[Rows]) -> IntArray | None:
    """The offsets that all streams have, each as many of them as it has rows; None if they differ."""
    found = [part.offsets for part in streams if part.offsets is not None]
    if not found or len(found) < len(streams):
        return None
    longest = max(found, key=len)
    same = all(np.array_equal(one, longest[: len(one)]) for one in found)
    return longest if same and len(streams) > 1 and len(longest) < 1 << 16 else None


def _lengths(counts: IntArray, huffman: bool) -> IntArray:
    if huffman:
        return code_lengths(counts)
    return np.full(len(counts), max((len(counts) - 1).bit_length(), 1), np.int64)


def deal(groups: IntArray, back: bool = False) -> IntArray:
    """Column groups [rows, L, C / L] as the lanes get them: group g of row r goes to lane g + r mod L.

    So that lanes are equally long although columns are not equally dense. `back` undoes it.
    """
    rows, lanes = groups.shape[:2]
    turn = np.arange(rows)[:, None] * (1 if back else -1)
    result: IntArray = np.take_along_axis(
        groups, ((np.arange(lanes) + turn) % lanes)[..., None], axis=1
    )
    return result


def _chunks(
    weights: IntArray, values: IntArray, lanes: int, chunk: int, longest: int
) -> list[list[Symbols]]:
    """Symbols of each lane of each chunk."""
    result = []
    for first in range(0, len(weights), chunk):
        part = weights[first : first + chunk]
        by_lane = deal(part.reshape(len(part), lanes, -1)).transpose(1, 0, 2).reshape(lanes, -1)
        result.append([_symbols(lane, values, longest) for lane in by_lane])
    return result


def _symbols(lane: IntArray, values: IntArray, longest: int) -> Symbols:
    places = np.flatnonzero(lane)
    gaps = np.diff(places, prepend=-1) - 1
    tail = len(lane) - 1 - (int(places[-1]) if len(places) else -1)
    whole, rest = np.divmod(gaps, longest)
    ends = np.cumsum(whole + 2)
    count = int(ends[-1]) if len(ends) else 0
    symbols = np.full(count + -(-tail // longest), longest, np.int64)
    is_value = np.zeros(len(symbols), np.bool_)
    symbols[ends - 2] = rest
    symbols[ends - 1] = np.searchsorted(values, lane[places])
    is_value[ends - 1] = True
    return symbols, is_value


class _Coder:
    """Writes symbols as bits."""

    def __init__(self, run_lengths: IntArray, value_lengths: IntArray) -> None:
        self._lengths = run_lengths, value_lengths
        self._words = codewords(run_lengths), codewords(value_lengths)

    def bits(self, item: Symbols) -> npt.NDArray[np.uint8]:
        """Bits of a lane in a chunk, first bit first."""
        symbols, is_value = item
        lengths, words = np.empty((2, len(symbols)), np.int64)
        for kind in (0, 1):
            chosen = is_value == bool(kind)
            lengths[chosen] = self._lengths[kind][symbols[chosen]]
            words[chosen] = self._words[kind][symbols[chosen]]
        place = np.arange(LIMIT)
        shifted = words[:, None] >> np.maximum(lengths[:, None] - 1 - place, 0)
        bits: npt.NDArray[np.uint8] = (shifted & 1)[place < lengths[:, None]].astype(np.uint8)
        return bits


def _stream(
    part: Rows, pieces: list[list[Symbols]], coder: _Coder, chunk: int, own: bool
) -> tuple[bytes, int]:
    """Bytes of a stream, and the most words of a chunk's lane."""
    data, most = [], 0
    for number, piece in enumerate(pieces):
        bits = [coder.bits(item) for item in piece]
        words = max(-(-len(lane) // WORD) for lane in bits)
        most = max(most, words)
        image = np.zeros((len(bits), words * WORD), np.uint8)
        for row, lane in zip(image, bits, strict=True):
            row[: len(lane)] = lane
        packed = np.packbits(image, axis=1).view(">u2")
        data.append(struct.pack("<H", words))
        if own and part.offsets is not None:
            offsets = part.offsets[number * chunk : (number + 1) * chunk]
            data.append((offsets & 0xFFFF).astype("<u2").tobytes())
        data.append(packed.T.astype("<u2").tobytes())
    body = b"".join(data)
    return body + struct.pack("<I", zlib.crc32(body)), most
