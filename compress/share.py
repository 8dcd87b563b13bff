"""Shared weights: "Deep Compression" (Han et al. 2016), section 3.

The weights of a layer that pruning has left become the entries of a small codebook: k-means with
linear initialisation, then the entries are trained, each with the sum of its weights' gradients.
Entries lie on the grid of the fixed-point weights at every step, so that quantizing the network to
`bits` bits changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.utils import parametrize

from tilewright.compress.layers import weight_layers
from tilewright.compress.steps import MAX_ENTRIES
from tilewright.errors import TilewrightError

__all__ = ["Codebook", "cluster", "fix_shared", "share_weights"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Codebook:
    """Shared values of a layer, integers times 2**-frac."""

    values: npt.NDArray[np.int64]
    frac: int


def cluster(values: FloatArray, entries: int, steps: int = 100) -> FloatArray:
    """Centres of k-means on numbers, begun evenly between the least and the largest one.

    In one dimension clusters are intervals, so that Lloyd's steps need only sums over sorted values.
    """
    values = np.sort(values.astype(np.float64))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    centres = np.linspace(values[0], values[-1], entries)
    for _ in range(steps):
        borders = np.searchsorted(values, (centres[1:] + centres[:-1]) / 2)
        edges = np.concatenate([[0], borders, [len(values)]])
        counts = np.diff(edges)
        moved = np.where(counts > 0, np.diff(sums[edges]) / np.maximum(counts, 1), centres)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


class _Shared(nn.Module):
    """Parametrization of a weight: codebook entries by index, 0 where the index is -1."""

    def __init__(self, codes: torch.Tensor, centres: torch.Tensor, bits: int, frac: int) -> None:
        super().__init__()
        self.register_buffer("codes", codes)
        self.centres = nn.Parameter(centres)
        self.bits, self.frac = bits, frac

    def grid(self) -> torch.Tensor:
        """The entries as integers."""
        limit = 1 << (self.bits - 1)
        return (self.centres * 2.0**self.frac).round().clamp(-limit, limit - 1)

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        rounded = self.grid() * 2.0**-self.frac
        # The difference is an exact zero that carries the gradients.
        entries = rounded.detach() + (self.centres - self.centres.detach())
        padded = torch.cat([entries, entries.new_zeros(1)])
        return padded[self.codes]  # index -1 is the zero at the end


def share_weights(
    model: nn.Module, entries: Mapping[str, int] | int, *, bits: int = 8
) -> dict[str, Codebook]:
    """Replace the weights that are not zero by at most so many shared values a layer.

    Afterwards only the shared values (and biases) are trained. `fix_shared` ends that.

    Parameters
    ----------
    model : changed in place; zeros stay zeros
    entries : of each layer's codebook
    bits : of the fixed-point weights

    Raises
    ------
    TilewrightError
        If a codebook is empty or larger than the hardware's, or a layer has no weights left.
    """
    for name, layer in weight_layers(model).items():
        count = entries if isinstance(entries, int) else entries[name]
        most = min(MAX_ENTRIES, (1 << bits) - 1)
        if not 1 <= count <= most:
            raise TilewrightError(
                f"Layer {name!r}: a codebook of {count} entries is not possible; the hardware's "
                f"has 1..{most} with weights of {bits} bits"
            )
        weight = layer.weight.detach().double().numpy()
        kept = weight[weight != 0]
        if not kept.size:
            raise TilewrightError(
                f"Layer {name!r}: all of its weights are zero, so there is nothing to share; prune "
                "it less or leave it out"
            )
        centres = cluster(kept, min(count, len(np.unique(kept))))
        frac = bits - 1 - math.frexp(float(np.abs(centres).max()))[1]
        codes = np.searchsorted((centres[1:] + centres[:-1]) / 2, weight)
        codes = np.where(weight == 0, -1, codes)
        shared = _Shared(torch.from_numpy(codes), torch.from_numpy(centres).float(), bits, frac)
        parametrize.register_parametrization(layer, "weight", shared, unsafe=True)
        original = layer.parametrizations.weight.original
        original.requires_grad_(False)
    return _codebooks(model)


def _codebooks(model: nn.Module) -> dict[str, Codebook]:
    found = {}
    for name, layer in weight_layers(model).items():
        if parametrize.is_parametrized(layer, "weight"):
            shared = layer.parametrizations.weight[0]
            values = shared.grid().detach().numpy().astype(np.int64)
            found[name] = Codebook(values=values, frac=shared.frac)
    return found


def fix_shared(model: nn.Module) -> dict[str, Codebook]:
    """Make shared values ordinary weights; returns the codebooks."""
    found = _codebooks(model)
    for name in found:
        parametrize.remove_parametrizations(weight_layers(model)[name], "weight")
    return found
