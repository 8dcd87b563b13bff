"""Compressed streams give back every weight, and damage is noticed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilewright.compress.huffman import code_lengths, codewords, decode_table
from tilewright.compress.stream import Rows, encode_layer
from tilewright.compress.unstream import decode_stream, unpack_tables
from tilewright.errors import TilewrightError


def sparse(seed, rows, cols, density, entries):
    """Rows of weights from a codebook of `entries` values."""
    rng = np.random.default_rng(seed)
    values = rng.choice(np.arange(1, 128), entries, replace=False) * rng.choice([-1, 1], entries)
    weights = np.where(rng.random((rows, cols)) < density, rng.choice(values, (rows, cols)), 0)
    weights[0, 0] = values[0]
    return weights.astype(np.int64)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.lists(st.integers(1, 60), min_size=1, max_size=3),
    lanes=st.sampled_from([1, 2, 4, 8]),
    density=st.sampled_from([0.0, 0.03, 0.1, 0.5, 1.0]),
    entries=st.sampled_from([1, 2, 5, 32, 100]),
    words=st.sampled_from([2, 16, 512]),
    huffman=st.booleans(),
    offsets=st.sampled_from(["none", "own", "common"]),
)
def test_what_is_encoded_is_decoded(seed, rows, lanes, density, entries, words, huffman, offsets):
    common = np.random.default_rng(0).integers(0, 1 << 16, 60)
    rng = np.random.default_rng(seed)
    streams = [
        Rows(
            weights=sparse(seed, count, 8, density, entries),
            offsets={
                "none": None,
                "own": rng.integers(0, 1 << 16, count),
                "common": common[:count],
            }[offsets],
        )
        for count in rows
    ]
    encoded = encode_layer(streams, lanes=lanes, huffman=huffman, words=words)
    tables = unpack_tables(encoded.table)
    for part, data in zip(streams, encoded.streams, strict=True):
        found = decode_stream(tables, data + bytes(5), rows=len(part.weights), cols=8)
        np.testing.assert_array_equal(found.weights, part.weights)
        if offsets != "none":
            np.testing.assert_array_equal(found.offsets, part.offsets)
    assert (tables.common is not None) == (offsets == "common" and len(rows) > 1)
    assert encoded.weights == sum(int(np.count_nonzero(part.weights)) for part in streams)


def test_sizes_are_near_the_entropy():
    weights = sparse(1, 4000, 16, 0.08, 32)
    encoded = encode_layer([Rows(weights=weights)], lanes=4)
    share = np.count_nonzero(weights) / weights.size
    place = -(share * np.log2(share) + (1 - share) * np.log2(1 - share)) * weights.size
    _, counts = np.unique(weights[weights != 0], return_counts=True)
    p = counts / counts.sum()
    entropy = (place - (p * np.log2(p)).sum() * counts.sum()) / 8
    assert entropy < encoded.size() < 1.1 * entropy


def test_chunks_fit_what_a_lane_can_hold():
    weights = sparse(2, 3000, 16, 0.3, 16)
    encoded = encode_layer([Rows(weights=weights)], lanes=4, words=32)
    assert encoded.tables.chunk_rows < 3000
    at, (data,) = 0, encoded.streams
    for _ in range(-(-3000 // encoded.tables.chunk_rows)):
        words = int.from_bytes(data[at : at + 2], "little")
        assert words <= 32
        at += 2 + words * 4 * 2
    assert at == len(data) - 4


@pytest.mark.parametrize("cut", [1, 4, 30, 2000])
def test_a_truncated_stream_is_refused(cut):
    weights = sparse(3, 600, 8, 0.2, 9)
    encoded = encode_layer([Rows(weights=weights)], lanes=2)
    with pytest.raises(TilewrightError, match="damaged"):
        decode_stream(encoded.tables, encoded.streams[0][:-cut], rows=600, cols=8)
    with pytest.raises(TilewrightError, match="table block"):
        unpack_tables(encoded.table[:-1])


def test_every_flipped_bit_is_noticed():
    weights = sparse(4, 40, 8, 0.2, 9)
    encoded = encode_layer([Rows(weights=weights)], lanes=2)
    for place in range(8 * len(encoded.table)):
        with pytest.raises(TilewrightError, match="damaged"):
            unpack_tables(flip(encoded.table, place))
    for place in range(8 * len(encoded.streams[0])):
        with pytest.raises(TilewrightError, match="damaged"):
            decode_stream(encoded.tables, flip(encoded.streams[0], place), rows=40, cols=8)


def flip(data, place):
    """The bytes with one bit changed."""
    result = bytearray(data)
    result[place // 8] ^= 1 << place % 8
    return bytes(result)


def test_layers_that_a_stream_cannot_hold_are_refused():
    many = np.arange(1, 301).reshape(-1, 4)
    with pytest.raises(TilewrightError, match="256 different weights besides zero, not 300"):
        encode_layer([Rows(weights=many)])
    with pytest.raises(TilewrightError, match="not 0"):
        encode_layer([Rows(weights=np.zeros((4, 4), np.int64))])
    with pytest.raises(TilewrightError, match="divide the 6 columns, not 4"):
        encode_layer([Rows(weights=np.ones((4, 6), np.int64))], lanes=4)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    counts=st.lists(st.integers(0, 10**6), min_size=2, max_size=40).filter(any),
    limit=st.integers(6, 12),
)
def test_code_lengths_are_limited_complete_and_no_longer_than_needed(counts, limit):
    counts = np.array(counts)
    lengths = code_lengths(counts, limit)
    used = lengths[counts > 0]
    assert ((lengths > 0) == (counts > 0)).all()
    assert lengths.max() <= limit
    if len(used) > 1:
        assert (2.0 ** -used.astype(float)).sum() == 1.0
    fixed = max(int(np.ceil(np.log2(max(len(used), 2)))), 1)
    assert (lengths * counts).sum() <= (fixed * counts).sum()
    symbols, widths = decode_table(lengths, limit)
    for symbol, word in enumerate(codewords(lengths)):
        if lengths[symbol]:
            place = int(word) << (limit - int(lengths[symbol]))
            assert (symbols[place], widths[place]) == (symbol, lengths[symbol])


def test_unlimited_lengths_are_huffman_s():
    counts = np.array([45, 13, 12, 16, 9, 5])
    np.testing.assert_array_equal(code_lengths(counts), [1, 3, 3, 3, 4, 4])
