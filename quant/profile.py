"""Where each tensor's values lie, and what its format can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilewright.quant.data import check_data, normalize
from tilewright.quant.fixed import FixedGraph
from tilewright.quant.floats import walk_float
from tilewright.quant.metrics import compare

__all__ = ["SHARES", "TensorProfile", "profile"]

SHARES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
"""Shares of the values that lie below the quantiles of a profile."""
_IMAGES = 16
_VALUES = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorProfile:
    """Values of one layer's output in the float network, and its format.

    Attributes
    ----------
    name, kind : of the layer
    bits, frac : its output's format
    weight_bits, weight_frac : of its weights, the least and the greatest frac; None without weights
    quantiles : values below which the `SHARES` of all lie; the first is the least, the last the
        greatest of those looked at
    low, high : the least and the greatest value of the format
    sqnr_db : signal-to-quantization-noise ratio of the fixed network's output
    saturated : share of its values that the format's range cut off
    """

    name: str
    kind: str
    bits: int
    frac: int
    weight_bits: int | None
    weight_frac: tuple[int, int] | None
    quantiles: tuple[float, ...]
    low: float
    high: float
    sqnr_db: float
    saturated: float


def profile(
    fixed: FixedGraph, inputs: Mapping[str, npt.NDArray[np.generic]]
) -> list[TensorProfile]:
    """Profile of every layer, on up to 16 of the images.

    Parameters
    ----------
    fixed : the quantized network
    inputs : raw values [N, C, H, W] of every graph input

    Raises
    ------
    TilewrightError
        If the inputs do not fit the network.
    """
    check_data(fixed.graph, inputs, what="Images")
    few = {name: values[:_IMAGES] for name, values in inputs.items()}
    errors = {error.name: error for error in compare(fixed.graph, fixed, few)}
    seen = {spec.name: normalize(spec, few[spec.name]) for spec in fixed.graph.inputs}
    result = []
    for layer, values in walk_float(fixed.graph, seen):
        found, error = fixed.layer(layer.name), errors[layer.name]
        form = found.output
        flat = values.ravel()
        sample = flat[:: -(-flat.size // _VALUES)]
        low, high = (float(v) for v in form.dequantize([form.min, form.max]))
        weighted = found.weight is not None
        fracs = (int(found.weight_frac.min()), int(found.weight_frac.max()))
        result.append(
            TensorProfile(
                name=layer.name,
                kind=layer.kind,
                bits=form.bits,
                frac=form.frac,
                weight_bits=found.weight_bits if weighted else None,
                weight_frac=fracs if weighted else None,
                quantiles=tuple(float(v) for v in np.quantile(sample, SHARES)),
                low=low,
                high=high,
                sqnr_db=error.sqnr_db,
                saturated=error.saturated / error.values,
            )
        )
    return result
