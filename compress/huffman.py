"""Canonical Huffman codes of limited length, so that a decoder needs no tree.

A code is its lengths alone: codewords of one length are consecutive numbers in the order of their
symbols, and the first codeword of each length follows from those before (RFC 1951, section 3.2.2).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tilewright.errors import TilewrightError

__all__ = ["LIMIT", "code_lengths", "codewords", "decode_table"]

IntArray = npt.NDArray[np.int64]

LIMIT = 12
"""Bits of the longest codeword."""


def code_lengths(counts: IntArray, limit: int = LIMIT) -> IntArray:
    """Length of each symbol's codeword, 0 for symbols that do not occur: package-merge.

    The lengths are the best for these counts among all with none above `limit` (Larmore and
    Hirschberg 1990). A single symbol gets one bit.
    """
    symbols = np.flatnonzero(counts)
    lengths = np.zeros(len(counts), np.int64)
    if len(symbols) > 1 << limit:
        raise TilewrightError(f"A code of {len(symbols)} symbols needs more than {limit} bits")
    if len(symbols) == 1:
        lengths[symbols] = 1
        return lengths
    leaves = sorted((int(counts[s]), (int(s),)) for s in symbols)
    packages: list[tuple[int, tuple[int, ...]]] = []
    for _ in range(limit):
        merged = sorted(leaves + packages)
        packages = [
            (a[0] + b[0], a[1] + b[1]) for a, b in zip(merged[::2], merged[1::2], strict=False)
        ]
    for _, members in packages[: len(symbols) - 1]:
        np.add.at(lengths, list(members), 1)
    return lengths


def codewords(lengths: IntArray) -> IntArray:
    """Each symbol's codeword, the first bit highest.

    Raises
    ------
    TilewrightError
        If no code has these lengths.
    """
    words = np.zeros(len(lengths), np.int64)
    word = 0
    for length in range(1, int(lengths.max(initial=0)) + 1):
        members = np.flatnonzero(lengths == length)
        words[members] = word + np.arange(len(members))
        word += len(members)
        if word > 1 << length:
            raise TilewrightError("The code lengths of a weight stream are those of no code")
        word <<= 1
    return words


def decode_table(lengths: IntArray, limit: int = LIMIT) -> tuple[IntArray, IntArray]:
    """For the next `limit` bits: the symbol, -1 if there is none, and its length."""
    symbols = np.full(1 << limit, -1, np.int64)
    widths = np.zeros(1 << limit, np.int64)
    for symbol, word in enumerate(codewords(lengths)):
        length = int(lengths[symbol])
        if length:
            first = int(word) << (limit - length)
            symbols[first : first + (1 << (limit - length))] = symbol
            widths[first : first + (1 << (limit - length))] = length
    return symbols, widths
