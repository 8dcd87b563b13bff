"""Bank-balanced pruning keeps equally many vectors in every bank, the largest ones."""

import numpy as np
import pytest

from tilewright.compress.vectors import Array, balanced_mask, tile_counts
from tilewright.errors import TilewrightError

RNG = np.random.default_rng(0)
LANES = np.arange(32).reshape(4, 8)


def vectors_by_bank(mask, cols, rows):
    """Vectors kept of each column tile and bank: [column tiles, banks]."""
    kept = mask[::cols].reshape(len(mask[::cols]), -1, rows, *mask.shape[2:])
    return kept.sum(axis=(1, 3, 4))


@pytest.mark.parametrize("span", [0, 2])
@pytest.mark.parametrize("keep", [0.75, 0.5, 0.25, 0.1])
def test_every_bank_keeps_equally_many_whole_vectors(keep, span):
    array = Array(cols=8, lanes=LANES, span=span)
    weight = RNG.standard_normal((24, 32, 3, 3))
    mask = balanced_mask(weight, array, keep)
    by_column = mask.reshape(3, 8, 32, 3, 3)
    assert (by_column == by_column[:, :1]).all()
    counts = vectors_by_bank(mask, 8, 8)
    assert (counts == counts[:, :1]).all()
    np.testing.assert_array_equal(counts[:, 0], tile_counts(weight * mask, array))
    assert counts[:, 0].sum() == int(keep * 3 * 36)
    assert mask.mean() <= keep


def test_the_largest_vectors_stay():
    weight = RNG.uniform(0.1, 1, (8, 16, 3, 3))
    weight[:, 3, 1, 1] = 100
    weight[:, 8, 0, 2] = 0.001
    mask = balanced_mask(weight, Array(cols=8, lanes=np.arange(16).reshape(2, 8)), 0.2)
    assert mask[:, 3, 1, 1].all()
    assert not mask[:, 8, 0, 2].any()


def test_column_tiles_with_larger_weights_keep_more():
    weight = RNG.uniform(0.5, 1, (16, 16, 3, 3))
    weight[8:] *= 10
    array = Array(cols=8, lanes=np.arange(16).reshape(2, 8))
    few, many = tile_counts(weight * balanced_mask(weight, array, 0.5), array)
    assert 1 <= few < many
    assert few + many == 18


def test_channels_that_several_banks_hold_share_their_tiles():
    array = Array(cols=4, lanes=np.array([[0, 1, 0, 1]]))
    weight = RNG.standard_normal((4, 2, 3, 3))
    assert tile_counts(weight, array) == [5]
    assert tile_counts(weight * balanced_mask(weight, array, 0.4), array) == [2]


def test_a_share_that_leaves_a_column_tile_without_a_vector_is_refused():
    array = Array(cols=8, lanes=np.arange(8).reshape(1, 8))
    with pytest.raises(TilewrightError, match="leaves 1 weight tiles for 3 column tiles"):
        balanced_mask(RNG.standard_normal((24, 8, 3, 3)), array, 0.05)
    with pytest.raises(TilewrightError, match=r"above 0 and up to 1, not 1\.5"):
        balanced_mask(RNG.standard_normal((24, 8, 3, 3)), array, 1.5)
