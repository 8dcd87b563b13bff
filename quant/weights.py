"""Weight phase: the fractional length of each layer's weights.

"Going Deeper with Embedded FPGA Platform for CNN" (FPGA 2016), section 5.2: start from the range
that does not overflow and take frac = argmin sum |W - W(bits, frac)| in its neighbourhood.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from tilewright.graph.ir import Layer
from tilewright.quant.accumulator import as_tensor, floor_
from tilewright.quant.candidates import Step, choose, initial_frac, neighbourhood
from tilewright.quant.config import QuantConfig
from tilewright.quant.formats import QFormat

__all__ = ["rounding_errors", "weight_step"]

_BLOCK = 1 << 15


def rounding_errors(
    values: npt.NDArray[np.float32], bits: int, fracs: Sequence[int]
) -> npt.NDArray[np.float64]:
    """Sum of |values - quantized values| for each candidate, float64 [len(fracs)]."""
    errors = np.zeros(len(fracs))
    with torch.inference_mode():
        for part in as_tensor(values).flatten().split(_BLOCK):
            for index, frac in enumerate(fracs):
                form = QFormat(bits, frac)
                q = floor_((part * 2.0**frac).add_(0.5)).clamp_(form.min, form.max)
                errors[index] += q.mul_(2.0**-frac).sub_(part).abs_().sum(dtype=torch.float64)
    return errors


def weight_step(layer: Layer, config: QuantConfig, fracs: Sequence[int] | None = None) -> Step:
    """Choose the fractional length of the weights of `layer` (among `fracs`, if given)."""
    assert layer.conv is not None
    weight, bits = layer.conv.weight, config.weights(layer)
    initial = initial_frac(float(weight.min()), float(weight.max()), bits)
    tried = neighbourhood(initial, config) if fracs is None else fracs
    frac, candidates = choose(tried, rounding_errors(weight, bits, tried).tolist())
    return Step(
        tensor=layer.name,
        kind="weights",
        bits=bits,
        initial=initial,
        candidates=candidates,
        frac=frac,
    )
