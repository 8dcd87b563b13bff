"""Weight phase: the fractional lengths of each layer's weights.

"Going Deeper with Embedded FPGA Platform for CNN" (FPGA 2016), section 5.2: start from the range
that does not overflow and take frac = argmin sum |W - W(bits, frac)| in its neighbourhood. The paper
has one a layer; the requantizer's shift is a parameter of each column, so that every output channel
may have its own. A sum of squares cuts off fewer of the largest weights, on which a class's logit
hangs just when it decides.
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

__all__ = ["channel_errors", "channel_fracs", "rounding_errors", "weight_step"]

_BLOCK = 1 << 15

FloatArray = npt.NDArray[np.float32]


def rounding_errors(
    values: FloatArray,
    bits: int,
    fracs: Sequence[int],
    *,
    squared: bool = False,
    signed: bool = True,
) -> npt.NDArray[np.float64]:
    """Sum of |values - quantized values|, or of its square, for each candidate: [len(fracs)]."""
    errors = np.zeros(len(fracs))
    with torch.inference_mode():
        for part in as_tensor(values).flatten().split(_BLOCK):
            for index, frac in enumerate(fracs):
                difference = _difference(part, QFormat(bits, frac, signed))
                difference = difference.square_() if squared else difference
                errors[index] += difference.sum(dtype=torch.float64)
    return errors


def channel_errors(
    weight: FloatArray, bits: int, fracs: Sequence[int], *, squared: bool = False
) -> npt.NDArray[np.float64]:
    """Sum of |weights - quantized weights|, or of its square, of each output channel: [O, len(fracs)]."""
    errors = np.empty((len(weight), len(fracs)))
    flat = as_tensor(weight).flatten(1)
    rows = max(1, _BLOCK // flat.shape[1])
    with torch.inference_mode():
        for start in range(0, len(flat), rows):
            part = flat[start : start + rows]
            for index, frac in enumerate(fracs):
                difference = _difference(part, QFormat(bits, frac))
                difference = difference.square_() if squared else difference
                sums = difference.sum(dim=1, dtype=torch.float64)
                errors[start : start + rows, index] = sums.numpy()
    return errors


def _difference(values: torch.Tensor, form: QFormat) -> torch.Tensor:
    q = floor_((values * 2.0**form.frac).add_(0.5)).clamp_(form.min, form.max)
    return q.mul_(2.0**-form.frac).sub_(values).abs_()


def channel_fracs(weight: FloatArray, bits: int, config: QuantConfig, common: int) -> list[int]:
    """Fractional length of least error of each output channel of `weight` [O, I, kh, kw].

    Each is searched in the neighbourhood of the channel's own range, by `config.objective`. A channel
    of zeros gets `common`, the one that the layer as a whole would have.
    """
    lows, highs = weight.min(axis=(1, 2, 3)), weight.max(axis=(1, 2, 3))
    tried = [
        neighbourhood(initial_frac(float(low), float(high), bits), config)
        for low, high in zip(lows, highs, strict=True)
    ]
    first = min(own[0] for own in tried)
    every = range(first, max(own[-1] for own in tried) + 1)
    errors = channel_errors(weight, bits, every, squared=config.squared)
    fracs = []
    for own, row, dead in zip(tried, errors, (lows == 0.0) & (highs == 0.0), strict=True):
        best, _ = choose(own, row[own[0] - first : own[-1] + 1 - first].tolist())
        fracs.append(common if dead else best)
    return fracs


def weight_step(layer: Layer, config: QuantConfig, fracs: Sequence[int] | None = None) -> Step:
    """Choose the fractional lengths of the weights of `layer` (among `fracs`, if given).

    The candidates in the log are those of the whole layer; with `config.per_channel` every output
    channel then has its own choice.
    """
    assert layer.conv is not None
    weight, bits = layer.conv.weight, config.weights(layer)
    initial = initial_frac(float(weight.min()), float(weight.max()), bits)
    tried = neighbourhood(initial, config) if fracs is None else fracs
    errors = rounding_errors(weight, bits, tried, squared=config.squared)
    frac, candidates = choose(tried, errors.tolist())
    channels: tuple[int, ...] = ()
    if config.per_channel and fracs is None:
        channels = tuple(channel_fracs(weight, bits, config, frac))
    return Step(
        tensor=layer.name,
        kind="weights",
        bits=bits,
        initial=initial,
        candidates=candidates,
        frac=frac,
        channels=channels,
    )
