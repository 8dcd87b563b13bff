"""The decoder of compressed weight streams: what the hardware does, symbol by symbol."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt

from tilewright.compress.huffman import LIMIT, decode_table
from tilewright.compress.stream import HEADER, MAGIC, VERSION, WORD, Rows, Tables, deal
from tilewright.errors import TilewrightError

__all__ = ["decode_stream", "unpack_tables"]

IntArray = npt.NDArray[np.int64]


def unpack_tables(data: bytes) -> Tables:
    """The codes in a table block.

    Raises
    ------
    TilewrightError
        If the block is truncated, damaged or of another version.
    """
    if len(data) < HEADER.size:
        raise _damaged("its table block is truncated")
    magic, version, lanes, longest, last, entry, offsets, chunk, common, crc = HEADER.unpack_from(
        data
    )
    if (magic, version) != (MAGIC, VERSION) or entry not in (1, 2):
        raise _damaged("it does not begin with a table block of this version")
    sizes = [(longest + 2) // 2, (last + 2) // 2, (last + 1) * entry, 2 * common]
    end = HEADER.size + sum(sizes)
    if len(data) < end:
        raise _damaged("its table block is truncated")
    if crc != zlib.crc32(data[: HEADER.size - 4] + data[HEADER.size : end]):
        raise _damaged("the checksum of its table block is wrong")
    at = [HEADER.size + sum(sizes[:i]) for i in range(4)]
    values = np.frombuffer(data, f"<i{entry}", last + 1, at[2]).astype(np.int64)
    return Tables(
        lanes=1 << lanes,
        longest=longest,
        run_lengths=_nibbles(data[at[0] : at[1]], longest + 1),
        value_lengths=_nibbles(data[at[1] : at[2]], last + 1),
        values=values,
        offsets=bool(offsets),
        common=np.frombuffer(data, "<u2", common, at[3]).astype(np.int64) if common else None,
        chunk_rows=chunk,
    )


def _nibbles(data: bytes, count: int) -> IntArray:
    raw = np.frombuffer(data, np.uint8)
    return np.stack([raw & 15, raw >> 4], axis=1).ravel()[:count].astype(np.int64)


def decode_stream(tables: Tables, data: bytes, *, rows: int, cols: int) -> Rows:
    """The weights of one WEIGHTS instruction.

    Parameters
    ----------
    data : the stream, with or without what pads it to the bus
    rows : of the stream: tiles * R
    cols : of the array, C

    Raises
    ------
    TilewrightError
        If the stream is truncated or damaged; no input makes this run without end.
    """
    decoders = [decode_table(tables.run_lengths), decode_table(tables.value_lengths)]
    weights = np.zeros((rows, cols), np.int64)
    offsets = np.zeros(rows, np.int64) if tables.offsets else None
    if tables.common is not None and len(tables.common) < rows:
        raise _damaged("its table block has offsets of fewer rows")
    at = 0
    for first in range(0, rows, tables.chunk_rows):
        count = min(tables.chunk_rows, rows - first)
        words, at = _words(data, at, 1)
        if offsets is not None and tables.common is not None:
            offsets[first : first + count] = tables.common[first : first + count]
        elif offsets is not None:
            offsets[first : first + count], at = _words(data, at, count)
        body, at = _words(data, at, int(words[0]) * tables.lanes)
        lanes = body.reshape(-1, tables.lanes).T
        size = count * cols // tables.lanes
        found = [_lane(lane, size, tables, decoders) for lane in lanes]
        grid = deal(np.stack(found).reshape(tables.lanes, count, -1).transpose(1, 0, 2), back=True)
        weights[first : first + count] = grid.reshape(count, cols)
    if len(data) < at + 4:
        raise _damaged("it is truncated")
    if struct.unpack_from("<I", data, at)[0] != zlib.crc32(data[:at]):
        raise _damaged("its checksum is wrong")
    return Rows(weights=weights, offsets=offsets)


def _words(data: bytes, at: int, count: int) -> tuple[IntArray, int]:
    end = at + 2 * count
    if end > len(data):
        raise _damaged("it is truncated")
    return np.frombuffer(data, "<u2", count, at).astype(np.int64), end


def _lane(
    words: IntArray, size: int, tables: Tables, decoders: list[tuple[IntArray, IntArray]]
) -> IntArray:
    """Weights of one lane in one chunk."""
    total = len(words) * WORD
    bits = int.from_bytes(words.astype(">u2").tobytes(), "big") << LIMIT
    result = np.zeros(size, np.int64)
    place = used = kind = 0
    while place < size:
        window = (bits >> (total - used)) & ((1 << LIMIT) - 1) if used <= total else 0
        symbol, length = (int(part[window]) for part in decoders[kind])
        used += length
        if symbol < 0 or used > total:
            raise _damaged("a lane ends before its weights, or holds a word that is no code")
        if kind:
            result[place] = tables.values[symbol]
            place, kind = place + 1, 0
        else:
            place += symbol
            kind = int(symbol < tables.longest)
            if kind and place >= size:
                raise _damaged("a value lies behind the end of its chunk")
    return result


def _damaged(reason: str) -> TilewrightError:
    return TilewrightError(f"A compressed weight stream is damaged: {reason}; compress it again")
