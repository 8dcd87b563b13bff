"""The decoder of compressed weight streams: what the hardware does, symbol by symbol."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import numpy.typing as npt

from tilewright.compress.huffman import LIMIT, decode_table
from tilewright.compress.stream import (
    CODES,
    CODES_HEAD,
    MAGIC,
    OFFSETS,
    WORD,
    Codes,
    deal,
    round_bytes,
)
from tilewright.errors import TilewrightError

__all__ = ["decode_stream", "is_codes", "stream_lanes", "unpack_codes", "unpack_offsets"]

IntArray = npt.NDArray[np.int64]


def is_codes(data: bytes) -> bool:
    """Whether a block holds codes, or offsets."""
    return data[1:2] == bytes([CODES])


def unpack_codes(data: bytes) -> Codes:
    """The codes in a code block, with or without what pads it to the bus.

    Raises
    ------
    TilewrightError
        If the block is truncated, damaged or of another version.
    """
    if len(data) < CODES_HEAD.size:
        raise _damaged("its code block is truncated")
    magic, kind, lanes, entry, count, runs, escape, *counts = CODES_HEAD.unpack_from(data)
    if (magic, kind) != (MAGIC, CODES) or entry not in (1, 2) or lanes > 6:
        raise _damaged("it does not begin with a code block of this version")
    _check(data, CODES_HEAD.size + count * entry + runs, 1 << lanes, "code block")
    value_lengths, lengths = (
        np.repeat(np.arange(1, LIMIT + 1), np.frombuffer(part, np.uint8)) for part in counts
    )
    values = np.frombuffer(data, f"<i{entry}", count, CODES_HEAD.size).astype(np.int64)
    symbols = np.frombuffer(data, np.uint8, runs, CODES_HEAD.size + count * entry)
    if len(value_lengths) != count or len(lengths) != runs or not runs:
        raise _damaged("its code block contradicts itself")
    # Without an escape any M above the runs will do.
    longest = int(symbols.max()) + (not escape)
    run_lengths = np.zeros(longest + 1, np.int64)
    run_lengths[symbols] = lengths
    return Codes(
        lanes=1 << lanes,
        longest=longest,
        run_lengths=run_lengths,
        value_lengths=value_lengths,
        values=values,
    )


def unpack_offsets(data: bytes) -> IntArray:
    """Bank offsets in an offset block, filled up to whole rounds.

    Raises
    ------
    TilewrightError
        As `unpack_codes`.
    """
    if len(data) < 8:
        raise _damaged("its offset block is truncated")
    magic, kind, lanes, _, count, _ = struct.unpack_from("<BBBBHH", data)
    if (magic, kind) != (MAGIC, OFFSETS) or lanes > 6:
        raise _damaged("it does not begin with an offset block of this version")
    size = round_bytes(1 << lanes)
    first = -(-8 // size) * size
    _check(data, first + count * size, 1 << lanes, "offset block")
    return np.frombuffer(data, "<u2", count << lanes, first).astype(np.int64)


def _check(data: bytes, content: int, lanes: int, what: str) -> int:
    """The end of a part of so many bytes, its checksum seen."""
    size = round_bytes(lanes)
    end = (-(-content // size) + 1) * size
    if len(data) < end:
        raise _damaged(f"its {what} is truncated")
    if struct.unpack_from("<I", data, end - 4)[0] != zlib.crc32(data[: end - 4]):
        raise _damaged(f"the checksum of its {what} is wrong")
    return end


def stream_lanes(codes: Codes, data: bytes) -> list[tuple[int, IntArray]]:
    """Rows, and words [lanes, W], of each chunk of a stream."""
    size, at, last, chunks = round_bytes(codes.lanes), 0, 0, []
    while not last:
        if at + size > len(data):
            raise _damaged("it is truncated")
        words, rows = struct.unpack_from("<HH", data, at)
        last, rows = rows >> 15, rows & 0x7FFF
        if not words or not rows:
            raise _damaged("a chunk is empty")
        at += size
        if at + words * size > len(data):
            raise _damaged("it is truncated")
        body = np.frombuffer(data, "<u2", words * codes.lanes, at).astype(np.int64)
        chunks.append((rows, body.reshape(-1, codes.lanes).T))
        at += words * size
    _check(data, at, codes.lanes, "stream")
    return chunks


def decode_stream(codes: Codes, data: bytes, *, rows: int, cols: int) -> IntArray:
    """The weights [rows, C] of one WEIGHTS instruction.

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
    decoders = [decode_table(codes.run_lengths), decode_table(codes.value_lengths)]
    parts = []
    for count, lanes in stream_lanes(codes, data):
        size = count * cols // codes.lanes
        found = [_lane(lane, size, codes, decoders) for lane in lanes]
        grid = np.stack(found).reshape(codes.lanes, count, -1).transpose(1, 0, 2)
        parts.append(deal(grid, back=True).reshape(count, cols))
    weights = np.concatenate(parts)
    if len(weights) != rows:
        raise _damaged(f"it has {len(weights)} rows, not {rows}")
    return weights


def _lane(
    words: IntArray, size: int, codes: Codes, decoders: list[tuple[IntArray, IntArray]]
) -> IntArray:
    """Weights of one lane in one chunk."""
    total = len(words) * WORD
    # Bits are looked at a word at a time, so that long lanes cost no more a symbol than short ones.
    padded = [*words.tolist(), 0, 0]
    result = np.zeros(size, np.int64)
    place = used = kind = 0
    while place < size:
        word, bit = divmod(min(used, total), WORD)
        pair = padded[word] << WORD | padded[word + 1]
        window = pair >> (2 * WORD - LIMIT - bit) & ((1 << LIMIT) - 1) if bit <= WORD else 0
        symbol, length = (int(part[window]) for part in decoders[kind])
        used += length
        if symbol < 0 or used > total:
            raise _damaged("a lane ends before its weights, or holds a word that is no code")
        if kind:
            result[place] = codes.values[symbol]
            place, kind = place + 1, 0
        else:
            place += symbol
            kind = int(symbol < codes.longest)
            if kind and place >= size:
                raise _damaged("a value lies behind the end of its chunk")
    return result


def _damaged(reason: str) -> TilewrightError:
    return TilewrightError(f"A compressed weight stream is damaged: {reason}; compress it again")
