"""Compressed streams give back every weight, and damage is noticed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilewright.compress.coded_layer import Rows, encode_layer
from tilewright.compress.huffman import code_lengths, codewords, decode_table
from tilewright.compress.stream import choose_codes, encode_stream
from tilewright.compress.unstream import (
    decode_stream,
    stream_lanes,
    unpack_codes,
    unpack_offsets,
)
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
    lanes=st.sampled_from([2, 4, 8]),
    density=st.sampled_from([0.0, 0.03, 0.1, 0.5, 1.0]),
    entries=st.sampled_from([1, 2, 5, 32, 100]),
    huffman=st.booleans(),
    offsets=st.sampled_from(["none", "own", "common"]),
)
def test_what_is_encoded_is_decoded(seed, rows, lanes, density, entries, huffman, offsets):
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
    encoded = encode_layer(streams, lanes=lanes, huffman=huffman)
    codes = unpack_codes(encoded.block + bytes(5))
    blocks = [unpack_offsets(block + bytes(3)) for block in encoded.offset_blocks]
    for part, block, data in zip(streams, encoded.offset_block_of, encoded.streams, strict=True):
        found = decode_stream(codes, data + bytes(5), rows=len(part.weights), cols=8)
        np.testing.assert_array_equal(found, part.weights)
        if part.offsets is not None:
            assert block is not None
            np.testing.assert_array_equal(blocks[block][: len(part.offsets)], part.offsets)
    assert len(blocks) <= {"none": 0, "own": len(rows), "common": 1}[offsets]
    assert encoded.weights == sum(int(np.count_nonzero(part.weights)) for part in streams)
    assert all(len(part) % (2 * lanes) == 0 for part in encoded.parts())


def test_sizes_are_near_the_entropy():
    weights = sparse(1, 4000, 16, 0.08, 32)
    encoded = encode_layer([Rows(weights=weights)], lanes=4)
    share = np.count_nonzero(weights) / weights.size
    place = -(share * np.log2(share) + (1 - share) * np.log2(1 - share)) * weights.size
    _, counts = np.unique(weights[weights != 0], return_counts=True)
    p = counts / counts.sum()
    entropy = (place - (p * np.log2(p)).sum() * counts.sum()) / 8
    assert entropy < encoded.size() < 1.1 * entropy


def test_chunks_end_before_a_lane_has_to_hold_more_than_it_can():
    # All lanes' weights turn, but this matrix turns with them: one lane gets all of them.
    rows = np.arange(3000)
    weights = np.zeros((3000, 16), np.int64)
    for column in range(4):
        weights[rows, (rows + 1) % 4 * 4 + column] = 1 + rows % 50
    weights[0] = 1
    codes = choose_codes([weights], lanes=4)
    for words in (16, 64):
        data = encode_stream(weights, codes, words=words)
        chunks = stream_lanes(codes, data)
        assert len(chunks) > 1
        np.testing.assert_array_equal(decode_stream(codes, data, rows=3000, cols=16), weights)
    assert len(stream_lanes(codes, encode_stream(sparse(2, 3000, 16, 0.3, 40), codes_of(2)))) == 1


def codes_of(seed):
    return choose_codes([sparse(seed, 3000, 16, 0.3, 40)], lanes=4)


@pytest.mark.parametrize("cut", [1, 4, 30, 500])
def test_a_truncated_stream_is_refused(cut):
    weights = sparse(3, 600, 8, 0.2, 9)
    encoded = encode_layer([Rows(weights=weights)], lanes=2)
    with pytest.raises(TilewrightError, match="damaged"):
        decode_stream(encoded.codes, encoded.streams[0][:-cut], rows=600, cols=8)
    with pytest.raises(TilewrightError, match="code block is truncated"):
        unpack_codes(encoded.block[:-1])
    with pytest.raises(TilewrightError, match="600 rows, not 608"):
        decode_stream(encoded.codes, encoded.streams[0], rows=608, cols=8)


def test_every_flipped_bit_is_noticed():
    weights = sparse(4, 40, 8, 0.2, 9)
    encoded = encode_layer([Rows(weights=weights, offsets=np.arange(40))], lanes=2)
    for place in range(8 * len(encoded.block)):
        with pytest.raises(TilewrightError, match="damaged"):
            unpack_codes(flip(encoded.block, place))
    for place in range(8 * len(encoded.offset_blocks[0])):
        with pytest.raises(TilewrightError, match="damaged"):
            unpack_offsets(flip(encoded.offset_blocks[0], place))
    for place in range(8 * len(encoded.streams[0])):
        with pytest.raises(TilewrightError, match="damaged"):
            decode_stream(encoded.codes, flip(encoded.streams[0], place), rows=40, cols=8)


def flip(data, place):
    """The bytes with one bit changed."""
    result = bytearray(data)
    result[place // 8] ^= 1 << place % 8
    return bytes(result)


def test_layers_that_a_stream_cannot_hold_are_refused():
    many = np.arange(1, 301).reshape(-1, 4)
    with pytest.raises(TilewrightError, match="255 different weights besides zero, not 300"):
        encode_layer([Rows(weights=many)])
    with pytest.raises(TilewrightError, match="not 0"):
        encode_layer([Rows(weights=np.zeros((4, 4), np.int64))])
    with pytest.raises(TilewrightError, match="divide the 6 columns, not 4"):
        encode_layer([Rows(weights=np.ones((4, 6), np.int64))], lanes=4)
    long = Rows(weights=np.ones((4096, 4), np.int64), offsets=np.arange(4096))
    with pytest.raises(TilewrightError, match="4096 rows with bank offsets"):
        encode_layer([long])


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
