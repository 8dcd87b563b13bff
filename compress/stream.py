"""The compressed weight stream, bit by bit as docs/compression.md defines it: the encoder.

A layer has a code block, which the hardware's decoder reads once, and a stream for each WEIGHTS
instruction. Columns are dealt to lanes, each of which has its own bits: codewords of zero runs and
of codebook entries by turns. Lanes' words alternate, so that the decoder needs no pointers.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilewright.compress.huffman import LIMIT, code_lengths, codewords
from tilewright.compress.steps import MAX_ENTRIES
from tilewright.errors import TilewrightError

__all__ = [
    "CODES",
    "CODES_HEAD",
    "LANE_WORDS",
    "LONGEST_RUN",
    "MAGIC",
    "OFFSETS",
    "OFFSET_ROWS",
    "Codes",
    "choose_codes",
    "encode_stream",
    "lane_items",
    "offset_block",
    "round_bytes",
    "seal",
]

IntArray = npt.NDArray[np.int64]

MAGIC = 0x57
CODES, OFFSETS = 0x21, 0x22
"""Second byte of a block: version 2, codes or offsets."""
CODES_HEAD = struct.Struct(f"<BBBBBBH{LIMIT}s{LIMIT}s")
"""Magic, kind, log2 lanes, bytes of an entry, entries, run symbols, escape, codewords of values and
of runs by length."""
LONGEST_RUNS = (3, 7, 15, 31, 63)
LONGEST_RUN = LONGEST_RUNS[-1]
WORD = 16
"""Bits of a word of a lane."""
MAX_ROWS = (1 << 15) - 1
MAX_WORDS = (1 << 16) - 1
"""Most rows of a chunk, and most words of a lane in it."""
LANE_WORDS = 256
"""Words that a lane of the decoder can hold."""
OFFSET_ROWS = 2048
"""Bank offsets that the decoder can hold."""


def round_bytes(lanes: int) -> int:
    """Bytes of a round: one word of each lane."""
    return lanes * WORD // 8


def seal(content: bytes, lanes: int) -> bytes:
    """Content, filled up to whole rounds, and behind it the round that ends in its CRC-32."""
    size = round_bytes(lanes)
    data = content + bytes(-len(content) % size + size - 4)
    return data + struct.pack("<I", zlib.crc32(data))


def offset_block(offsets: IntArray, lanes: int) -> bytes:
    """Bank offsets of the rows of the streams that follow."""
    size = round_bytes(lanes)
    head = struct.pack(
        "<BBBBHH", MAGIC, OFFSETS, lanes.bit_length() - 1, 0, -(-len(offsets) // lanes), 0
    )
    data = (offsets & 0xFFFF).astype("<u2").tobytes()
    return seal(head + bytes(-len(head) % size) + data, lanes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Codes:
    """A layer's codes.

    Attributes
    ----------
    lanes : decoders that work side by side, a power of two from 2 on that divides C
    longest : M, the escape; run symbol r < M is r zeros and then a value, M is M zeros and no value
    run_lengths, value_lengths : lengths of the codewords, 0 for symbols that do not occur
    values : the codebook
    """

    lanes: int
    longest: int
    run_lengths: IntArray
    value_lengths: IntArray
    values: IntArray

    def pack(self, entry_bytes: int = 1) -> bytes:
        """The code block; values take `entry_bytes`, 1 or 2."""
        runs, used = _canonical(self.run_lengths), _canonical(self.value_lengths)
        escape = int(self.run_lengths[self.longest])
        if escape:
            word = int(codewords(self.run_lengths)[self.longest])
            escape |= word << (LIMIT - escape) << 4
        head = CODES_HEAD.pack(
            *(MAGIC, CODES, self.lanes.bit_length() - 1, entry_bytes, len(used), len(runs), escape),
            *(_counts(lengths) for lengths in (self.value_lengths, self.run_lengths)),
        )
        body = self.values[used].astype(f"<i{entry_bytes}").tobytes()
        return seal(head + body + runs.astype(np.uint8).tobytes(), self.lanes)


def _canonical(lengths: IntArray) -> IntArray:
    """Symbols that occur, in the order of their codewords."""
    symbols = np.flatnonzero(lengths)
    ordered: IntArray = symbols[np.argsort(lengths[symbols], kind="stable")]
    return ordered


def _counts(lengths: IntArray) -> bytes:
    return np.bincount(lengths, minlength=LIMIT + 1)[1:].astype(np.uint8).tobytes()


def choose_codes(streams: Sequence[IntArray], *, lanes: int = 4, huffman: bool = True) -> Codes:
    """The codes that suit the streams of a layer best.

    Parameters
    ----------
    streams : rows of C weights each
    lanes : decoders that work side by side
    huffman : codewords as frequent symbols suggest, or all equally long

    Raises
    ------
    TilewrightError
        If lanes do not divide the columns, or the layer has more different values than a codebook
        holds, or none but zero.
    """
    cols = streams[0].shape[1]
    if lanes < 2 or lanes.bit_count() != 1 or cols % lanes:
        raise TilewrightError(
            f"A compressed stream needs lanes that are a power of two from 2 on and divide the "
            f"{cols} columns, not {lanes}"
        )
    values = np.unique(np.concatenate([np.unique(part) for part in streams]))
    values = values[values != 0]
    if not 1 <= len(values) <= MAX_ENTRIES:
        raise TilewrightError(
            f"A compressed stream holds 1 to {MAX_ENTRIES} different weights besides zero, not "
            f"{len(values)}; share the layer's weights first, or prune it less"
        )
    if values[0] < -(1 << 15) or values[-1] >= 1 << 15:
        raise TilewrightError(f"A weight of {values[-1]} exceeds the 16 bits of a codebook entry")
    used = np.zeros(len(values), np.int64)
    gaps, tails = [], []
    for part in streams:
        for lane in _by_lane(part, lanes):
            places = np.flatnonzero(lane)
            used += np.bincount(np.searchsorted(values, lane[places]), minlength=len(values))
            gaps.append(np.diff(places, prepend=-1) - 1)
            tails.append(len(lane) - 1 - (int(places[-1]) if len(places) else -1))
    value_lengths = _lengths(used, huffman)
    best: tuple[int, Codes] | None = None
    for longest in LONGEST_RUNS:
        runs = _run_counts(np.concatenate(gaps), np.array(tails), longest)
        run_lengths = _lengths(runs, huffman)
        bits = int((runs * run_lengths).sum())
        if best is None or bits < best[0]:
            codes = Codes(
                lanes=lanes,
                longest=longest,
                run_lengths=run_lengths,
                value_lengths=value_lengths,
                values=values,
            )
            best = bits, codes
    assert best is not None
    return best[1]


def _run_counts(gaps: IntArray, tails: IntArray, longest: int) -> IntArray:
    runs = np.bincount(gaps % longest, minlength=longest + 1)
    runs[longest] += (gaps // longest).sum() + (-(-tails // longest)).sum()
    return runs


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


def _by_lane(weights: IntArray, lanes: int) -> IntArray:
    """Weights of each lane in its order."""
    grouped = deal(weights.reshape(len(weights), lanes, -1))
    return grouped.transpose(1, 0, 2).reshape(lanes, -1)


def encode_stream(weights: IntArray, codes: Codes, *, words: int = LANE_WORDS) -> bytes:
    """The stream of one WEIGHTS instruction.

    Parameters
    ----------
    weights : rows of C weights
    codes : that have codewords for all of them
    words : that a lane of the decoder can hold
    """
    coder = _Coder(codes)
    chunk = min(len(weights), MAX_ROWS)
    while True:
        parts = [
            coder.chunk(weights[first : first + chunk], first + chunk >= len(weights))
            for first in range(0, len(weights), chunk)
        ]
        if chunk == 1 or max(most for _, most in parts) <= words:
            return seal(b"".join(data for data, _ in parts), codes.lanes)
        chunk = -(-chunk // 2)


def lane_items(weights: IntArray, codes: Codes) -> list[tuple[IntArray, IntArray]]:
    """Run symbols, and the value behind each or 0, of every lane of a stream of one chunk."""
    return [_items(lane, codes.longest)[:2] for lane in _by_lane(weights, codes.lanes)]


def _items(lane: IntArray, longest: int) -> tuple[IntArray, IntArray, IntArray]:
    """The items of a lane, which the decoder handles one by one: a run and its value, or an escape.

    Returns
    -------
    run symbols; the value behind each, 0 if there is none; weights given once it is done
    """
    places = np.flatnonzero(lane)
    gaps = np.diff(places, prepend=-1) - 1
    tail = len(lane) - 1 - (int(places[-1]) if len(places) else -1)
    whole, rest = np.divmod(gaps, longest)
    ends = np.cumsum(whole + 1)
    count = (int(ends[-1]) if len(ends) else 0) + -(-tail // longest)
    runs, values = np.full(count, longest, np.int64), np.zeros(count, np.int64)
    runs[ends - 1], values[ends - 1] = rest, lane[places]
    return runs, values, np.cumsum(runs + (values != 0))


class _Coder:
    """Writes chunks."""

    def __init__(self, codes: Codes) -> None:
        self._codes = codes
        self._words = codewords(codes.run_lengths), codewords(codes.value_lengths)

    def chunk(self, weights: IntArray, last: bool) -> tuple[bytes, int]:
        """A chunk of rows, and the words that a lane may have to hold of it."""
        codes = self._codes
        coded = [self._lane(lane, len(weights)) for lane in _by_lane(weights, codes.lanes)]
        words = max(-(-len(bits) // WORD) for bits, _ in coded)
        if words > MAX_WORDS:
            return b"", words
        needs = np.stack([used for _, used in coded])
        # Rows wait for the lane that needs most words; another may still hold all of its own that
        # it has not needed for the row before. One more is the chunk's rows.
        wanted = np.minimum(-(-(needs[:, 1:] + LIMIT - 1) // WORD), words).max(axis=0)
        most = int((wanted - (needs[:, :-1] // WORD).min(axis=0)).max()) + 1
        image = np.zeros((codes.lanes, words * WORD), np.uint8)
        for row, (bits, _) in zip(image, coded, strict=True):
            row[: len(bits)] = bits
        body = np.packbits(image, axis=1).view(">u2").T.astype("<u2").tobytes()
        head = struct.pack("<HH", words, len(weights) | last << 15)
        return head.ljust(round_bytes(codes.lanes), b"\0") + body, most

    def _lane(self, lane: IntArray, rows: int) -> tuple[npt.NDArray[np.uint8], IntArray]:
        """A lane's bits, and how many of them it needs for the first 0, 1, ... rows."""
        codes = self._codes
        runs, values, given = _items(lane, codes.longest)
        index = np.searchsorted(codes.values, values) % len(codes.values)
        lengths = np.stack(
            [codes.run_lengths[runs], np.where(values != 0, codes.value_lengths[index], 0)], axis=1
        )
        words = np.stack([self._words[0][runs], self._words[1][index]], axis=1)
        assert (lengths[:, 0] > 0).all(), "every run has a codeword"
        place = np.arange(LIMIT)
        flat, shifts = words.reshape(-1, 1), lengths.reshape(-1, 1)
        bits = (flat >> np.maximum(shifts - 1 - place, 0) & 1)[place < shifts].astype(np.uint8)
        ends = np.cumsum(lengths.sum(axis=1))
        wanted = np.arange(1, rows + 1) * (len(lane) // rows)
        return bits, np.append(0, ends[np.searchsorted(given, wanted)])
