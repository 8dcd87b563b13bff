"""Adapting a layer's constants to what its quantized inputs really are: bias and rounding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from tilewright.quant.accumulator import accumulator_bounds
from tilewright.quant.candidates import FRAC_LIMIT, Step
from tilewright.quant.config import QuantConfig
from tilewright.quant.fit import FINE_ENOUGH, Build
from tilewright.quant.fixed import FixedLayer, IntArray
from tilewright.quant.formats import QFormat
from tilewright.quant.reconstruct import corrected_bias, reconstruct
from tilewright.quant.samples import Samples, draw

__all__ = ["adapt"]


def adapt(
    fixed: FixedLayer,
    build: Build,
    formats: Mapping[str, QFormat],
    config: QuantConfig,
    floats: Sequence[Sequence[npt.NDArray[np.float32]]],
    integers: Sequence[Sequence[torch.Tensor]],
    *,
    classifier: bool = False,
) -> tuple[FixedLayer, Step]:
    """`fixed` with the rounding and the bias that `config` asks for, and what was done.

    Parameters
    ----------
    fixed : a convolution with its weights' fractional lengths, rounded to the nearest
    build : gives the fixed layer for `weight_frac`, `weight` and `bias`
    formats : format of every tensor that the layer reads
    config : its `rounding`, `bias_correction`, `per_channel` and `acc_bits` count
    floats, integers : chunks of each input in the float and in the fixed network
    classifier : whether it is the network's last layer, and other layers' weights have more bits
    """
    scales = [2.0 ** -formats[name].frac for name in fixed.layer.all_inputs]
    samples = draw(fixed.layer, floats, integers, scales)
    limit = 1 << (config.acc_bits - 1)
    if config.rounding == "learned":
        adapted, note = _learned(fixed, build, formats, config, samples, classifier)
        if max(accumulator_bounds(adapted, formats)) < limit:
            return adapted, _step(adapted, note)
    assert fixed.weight is not None
    exponent = -fixed.weight_frac.reshape(-1, 1, 1, 1)
    bias = corrected_bias(np.ldexp(fixed.weight.astype(np.float64), exponent), samples)
    adapted = build(weight_frac=fixed.weight_frac, weight=fixed.weight, bias=bias)
    if max(accumulator_bounds(adapted, formats)) >= limit:
        return fixed, _step(fixed, "left as it was, its accumulators have no room for more")
    return adapted, _step(adapted, "bias corrected")


def _learned(
    fixed: FixedLayer,
    build: Build,
    formats: Mapping[str, QFormat],
    config: QuantConfig,
    samples: Samples,
    classifier: bool,
) -> tuple[FixedLayer, str]:
    conv = fixed.layer.conv
    assert conv is not None and fixed.weight is not None
    # Other fractional lengths would change how products and residual are aligned: see `fit`.
    offsets = (0,) if fixed.layer.residual is not None else (0, -1, 1)
    found = reconstruct(
        conv.weight,
        QFormat(fixed.weight_bits, 0),
        fixed.weight_frac,
        samples,
        offsets=offsets,
        finest=_finest(fixed, formats, config),
        per_channel=config.per_channel,
        scarce=fixed.layer.kind == "fc",
        classifier=classifier,
    )
    adapted = build(weight_frac=found.weight_frac, weight=found.weight, bias=found.bias)
    moved = np.count_nonzero(found.weight != fixed.weight)
    share = f"{moved / fixed.weight.size:.0%} of the weights moved"
    return adapted, f"{share}, squared error of the results {found.kept:.3f} of before"


def _finest(fixed: FixedLayer, formats: Mapping[str, QFormat], config: QuantConfig) -> IntArray:
    """Largest fractional length for each channel: one more where its accumulators allow it."""
    bounds = accumulator_bounds(fixed, formats)
    limit = min(1 << (config.acc_bits - 1), max(FINE_ENOUGH, *bounds))
    room = np.array([2 * bound < limit for bound in bounds], np.int64)
    finest: IntArray = np.minimum(fixed.weight_frac + room, FRAC_LIMIT)
    return finest


def _step(fixed: FixedLayer, note: str) -> Step:
    fracs = tuple(fixed.weight_frac.tolist())
    own = fracs if len(set(fracs)) > 1 else ()
    return Step(
        tensor=fixed.name,
        kind="rounding",
        bits=fixed.weight_bits,
        initial=min(fracs),
        candidates=(),
        frac=min(fracs),
        note=note,
        channels=own,
    )
