"""Bank-balanced pruning of vectors: the form of sparsity that the array runs at full speed.

A vector is what one row of the array multiplies at once: the weights of C output channels (a column
tile) at one input channel and kernel position. A weight tile takes one vector from each of the R
banks, so a column tile with n vectors left in every bank takes n tiles, and not more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from tilewright.compress.layers import weight_layers
from tilewright.errors import TilewrightError

__all__ = ["Array", "balanced_mask", "tile_counts", "vector_masks"]

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Array:
    """How a convolution meets the array.

    Attributes
    ----------
    cols : output channels of a column tile, C
    lanes : int64 [blocks, R], input channel that each bank holds in each channel block; -1 for none.
        A channel may stand in several banks of a block, which then share its vectors.
    span : channel blocks that are balanced among themselves; 0 for all blocks together
    """

    cols: int
    lanes: IntArray
    span: int = 0

    def spans(self) -> list[IntArray]:
        """The lanes of each set of blocks that are balanced among themselves."""
        size = self.span or len(self.lanes)
        return [self.lanes[start : start + size] for start in range(0, len(self.lanes), size)]


def balanced_mask(weight: FloatArray, array: Array, keep: float) -> BoolArray:
    """Which weights of a convolution to keep so that every bank keeps equally many vectors.

    The share `keep` of the dense layer's weight tiles is kept, rounded down, and at least one in
    each column tile. They go to the column tiles whose vectors are largest (sum of squares).

    Parameters
    ----------
    weight : [O, I, kh, kw], not grouped
    array : the array, and where it holds the input channels
    keep : share of the weight tiles to keep, above 0 and up to 1

    Returns
    -------
    bool, of the weight's shape.

    Raises
    ------
    TilewrightError
        If `keep` is out of its range, or less than one tile of a column tile.
    """
    if not 0.0 < keep <= 1.0:
        raise TilewrightError(f"Pruning needs a share to keep above 0 and up to 1, not {keep!r}")
    energy = _energies(weight, array.cols)
    spans = [_Span(lanes, energy.shape[2]) for lanes in array.spans()]
    order = [[span.order(column) for span in spans] for column in energy]
    dense = sum(span.dense for span in spans) * len(energy)
    wanted = int(keep * dense + 1e-9)
    counts = _allocate(order, wanted)
    mask = np.zeros(energy.shape, np.bool_)
    for j, parts in enumerate(order):
        for part, count in zip(parts, counts[j], strict=True):
            for rank, channel, tap, _ in part:
                mask[j, channel, tap] |= rank < count
    spread = np.repeat(mask, array.cols, axis=0)[: len(weight)]
    return spread.reshape(weight.shape)


def vector_masks(
    model: nn.Module, arrays: Mapping[str, Array], keep: float
) -> dict[str, torch.Tensor]:
    """Masks of the convolutions named in `arrays`, each pruned to the share `keep` of its tiles.

    Raises
    ------
    TilewrightError
        As `balanced_mask`, with the layer's name.
    """
    layers, masks = weight_layers(model), {}
    for name, array in arrays.items():
        weight = layers[name].weight.detach().numpy()
        try:
            mask = balanced_mask(weight, array, keep)
        except TilewrightError as error:
            raise TilewrightError(f"Layer {name!r}: {error}") from error
        masks[name] = torch.from_numpy(mask)
    return masks


def tile_counts(weight: FloatArray, array: Array) -> IntArray:
    """Weight tiles that each column tile takes, leaving out vectors of zeros: int64 [columns]."""
    energy = _energies(weight, array.cols)
    counts = []
    for column in energy:
        tiles = 0
        for lanes in array.spans():
            order = _Span(lanes, energy.shape[2]).order(column)
            tiles += max((rank + 1 for rank, _, _, size in order if size > 0), default=0)
        counts.append(tiles)
    return np.array(counts, np.int64)


def _energies(weight: FloatArray, cols: int) -> npt.NDArray[np.float64]:
    """Sum of squares of each vector: float64 [column tiles, I, taps]."""
    outputs, inputs = weight.shape[:2]
    squares = np.square(weight.astype(np.float64)).reshape(outputs, inputs, -1)
    starts = np.arange(0, outputs, cols)
    result: npt.NDArray[np.float64] = np.add.reduceat(squares, starts, axis=0)
    return result


class _Span:
    """Channel blocks whose vectors share weight tiles."""

    def __init__(self, lanes: IntArray, taps: int) -> None:
        self._taps = taps
        self._banks: dict[int, list[int]] = {}
        for block in lanes:
            for bank, channel in enumerate(block):
                if channel >= 0:
                    self._banks.setdefault(int(channel), []).append(bank)
        self.dense = len(_ranks(self._banks, [(c, t) for c in self._banks for t in range(taps)]))

    def order(self, energy: npt.NDArray[np.float64]) -> list[tuple[int, int, int, float]]:
        """Rank of the tile that takes each vector, its channel, tap and energy, largest first."""
        vectors = [(c, t) for c in self._banks for t in range(self._taps)]
        vectors.sort(key=lambda vector: -energy[vector])
        return [
            (rank, *vector, float(energy[vector]))
            for rank, tile in enumerate(_ranks(self._banks, vectors))
            for vector in tile
        ]


def _ranks(
    banks: dict[int, list[int]], vectors: list[tuple[int, int]]
) -> list[list[tuple[int, int]]]:
    """Vectors of each weight tile: in turn, each goes to the bank of its own that has fewest."""
    load: dict[int, int] = {}
    tiles: list[list[tuple[int, int]]] = []
    for channel, tap in vectors:
        bank = min(banks[channel], key=lambda b: load.get(b, 0))
        rank = load.get(bank, 0)
        load[bank] = rank + 1
        if rank == len(tiles):
            tiles.append([])
        tiles[rank].append((channel, tap))
    return tiles


def _allocate(order: list[list[list[tuple[int, int, int, float]]]], wanted: int) -> list[list[int]]:
    """Tiles of each span of each column tile: those with the largest energy, `wanted` in all."""
    gains: list[tuple[float, int, int]] = []
    for j, parts in enumerate(order):
        for s, part in enumerate(parts):
            sums = np.zeros(1 + max(rank for rank, *_ in part))
            for rank, _, _, energy in part:
                sums[rank] += energy
            gains += [(float(gain), j, s) for gain in sums]
    counts = [[0] * len(parts) for parts in order]
    if wanted < len(order):
        raise TilewrightError(
            f"Pruning leaves {wanted} weight tiles for {len(order)} column tiles, and each needs at "
            "least one; prune less, or not this layer"
        )
    # The best tile of each column tile first, so that none is left without.
    best = [max(gain for gain in gains if gain[1] == j) for j in range(len(order))]
    rest = sorted(gains, reverse=True)
    for gain in best:
        rest.remove(gain)
    for _, j, s in [*best, *rest][:wanted]:
        counts[j][s] += 1
    return counts
