"""Making a layer's accumulators fit: fractional lengths of its weights that are small enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from tilewright.errors import TilewrightError
from tilewright.quant.accumulator import accumulator_bounds
from tilewright.quant.candidates import FRAC_LIMIT, Step
from tilewright.quant.fixed import FixedLayer
from tilewright.quant.formats import QFormat

__all__ = ["FINE_ENOUGH", "Build", "fit_weights", "refusal", "too_fine"]

_RESIDUAL_SHIFT = 8
"""The hardware adds a residual by weights of 2**shift, split into as many tiles as that takes. With
b-bit weights and features, b + 8 bits limit them to 512, and the error to K/1024 of the residual's
step for a sum of K products at worst. Trained networks stay far below."""

FINE_ENOUGH = 1 << 24
"""A channel's own frac exceeds the layer's common one only while accumulators stay below this: finer
products change no result of 8 bits, and float32 holds such accumulators exactly."""

Build = Callable[..., FixedLayer]
"""`constants.fix_layer` but for weight_frac, weight and bias."""


def fit_weights(
    build: Build, formats: Mapping[str, QFormat], step: Step, *, acc_bits: int, movable: bool
) -> tuple[FixedLayer, Step]:
    """The layer with the fractional lengths of `step`, lowered where they do not fit.

    Parameters
    ----------
    build : gives the fixed layer for a `weight_frac` (one, or int64 [O])
    formats : format of every tensor that the layer reads
    step : what the weight phase chose
    acc_bits : width of the accumulators
    movable : whether the fractional lengths may be changed at all

    Returns
    -------
    The layer, and `step` with what it really got and a note why.

    Raises
    ------
    TilewrightError
        If no fractional length makes the accumulators fit.
    """
    fixed, frac, note = _fit_common(build, formats, step.frac, acc_bits, movable)
    chosen = replace(step, frac=frac, note=f"frac {step.frac} {note}" if note else step.note)
    if not step.channels:
        return fixed, chosen
    fixed = _fit_channels(build, formats, fixed, step, acc_bits)
    fracs = tuple(fixed.weight_frac.tolist())
    lowered = sum(a < b for a, b in zip(fracs, step.channels, strict=True))
    if lowered and not note:
        chosen = replace(chosen, note=f"{lowered} channels lowered to fit their accumulators")
    return fixed, replace(chosen, frac=min(fracs), channels=fracs)


def _fit_common(
    build: Build, formats: Mapping[str, QFormat], frac: int, acc_bits: int, movable: bool
) -> tuple[FixedLayer, int, str]:
    """The layer with one frac for all channels, the largest up to `frac` that fits, and why."""
    limit, note = 1 << (acc_bits - 1), ""
    while True:
        fixed = build(weight_frac=frac)
        bound = max(accumulator_bounds(fixed, formats))
        may = movable and frac > -FRAC_LIMIT
        if bound >= limit:
            note = f"overflows accumulators of {acc_bits} bits"
            if not may:
                raise refusal(fixed, bound, acc_bits)
        elif may and too_fine(fixed, formats).any():
            note = f"is too fine to add {fixed.layer.residual} to"
        else:
            return fixed, frac, note
        frac -= 1


def _fit_channels(
    build: Build, formats: Mapping[str, QFormat], common: FixedLayer, step: Step, acc_bits: int
) -> FixedLayer:
    """The layer with a frac for each channel, beginning with those of `step`.

    `common` is the layer with one that fits. Products of a layer with a residual stay as fine as
    the residual wherever they are with one frac, since coarser ones would cost weight tiles.
    """
    frac, limit = int(common.weight_frac[0]), 1 << (acc_bits - 1)
    fine = max(FINE_ENOUGH, max(accumulator_bounds(common, formats)) + 1)
    fracs = np.array(step.channels, np.int64)
    if common.layer.residual is not None:
        level = formats[common.layer.residual].frac - formats[common.layer.inputs[0]].frac
        fracs = np.maximum(fracs, min(frac, level))
    while True:
        fixed = build(weight_frac=fracs)
        bounds = accumulator_bounds(fixed, formats)
        over = np.array([b >= limit or b >= fine for b in bounds])
        over |= too_fine(fixed, formats)
        if not over.any():
            return fixed
        if (fracs[over] <= -FRAC_LIMIT).any():
            raise refusal(fixed, max(bounds), acc_bits)
        fracs = fracs - over


def too_fine(fixed: FixedLayer, formats: Mapping[str, QFormat]) -> np.ndarray:
    """Channels whose residual's step is more than `_RESIDUAL_SHIFT` bits above the products'."""
    if fixed.layer.residual is None:
        return np.zeros(len(fixed.acc_frac), bool)
    shift = fixed.acc_frac - formats[fixed.layer.residual].frac
    return shift > fixed.weight_bits + _RESIDUAL_SHIFT


def refusal(fixed: FixedLayer, bound: int, acc_bits: int) -> TilewrightError:
    """What to say of a layer whose accumulators reach `bound`."""
    return TilewrightError(
        f"Layer {fixed.name!r} needs accumulators of {bound.bit_length() + 1} bits, more than "
        f"acc_bits = {acc_bits}; use fewer weight or feature bits for it, or a larger acc_bits "
        "(48 at most)"
    )
