"""Data phase: the error of each candidate format of a feature map, from exact accumulators.

"Going Deeper with Embedded FPGA Platform for CNN" (FPGA 2016), section 5.2: with the fixed network
running beside the float one, frac = argmin sum |x_float - x_fixed(bits, frac)|. With the objective
"squared" the differences are squared: a few saturated values, which the paper's sum hardly notices,
then weigh as much as they do in what the next layers compute from them. Scores of classes are measured
by their softmax instead: how far the probabilities move, in nats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from tilewright.graph.functions import Function
from tilewright.graph.ir import ActivationKind, Graph, Layer, Output
from tilewright.quant import numerics
from tilewright.quant.accumulator import floor_
from tilewright.quant.candidates import Candidate, Step
from tilewright.quant.config import QuantConfig
from tilewright.quant.constants import clip_range, fix_slope
from tilewright.quant.fixed import FixedLayer, Leaky
from tilewright.quant.formats import QFormat

__all__ = ["Measure", "absolute", "can_be_negative", "class_scores", "divergence", "feature_step"]
__all__ += ["noted", "requantizing_errors", "squared"]

FloatArray = npt.NDArray[np.float32]
Measure = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Sum of the errors of what is stored [pixels, channels], which may be overwritten, against what is wanted."""

_SATURATED = 0.01
"""Share of saturated values from which on the log speaks of them."""
_BLOCK = 1 << 15
"""Values requantized at once: their temporaries stay in the cache."""


def absolute(stored: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Sum of |wanted - stored value|, the paper's."""
    return stored.sub_(wanted).abs_().sum(dtype=torch.float64)


def squared(stored: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Sum of (wanted - stored value)^2."""
    return stored.sub_(wanted).square_().sum(dtype=torch.float64)


def divergence(stored: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Sum over the pixels of the Kullback-Leibler divergence of their softmax over the channels."""
    logs, goals = (torch.log_softmax(x.double(), 1) for x in (stored, wanted))
    return torch.sum(goals.exp() * (goals - logs))


def class_scores(graph: Graph, config: QuantConfig) -> frozenset[str]:
    """Outputs that are scores of classes, which no layer reads: those `config` says, or with a softmax."""
    read = {name for layer in graph.layers for name in layer.all_inputs}
    return frozenset(
        output.tensor
        for output in graph.outputs
        if output.tensor not in read
        and graph.shapes[output.tensor][0] > 1
        and (_ends_in_softmax(graph, output) if config.classes is None else config.classes)
    )


def _ends_in_softmax(graph: Graph, output: Output) -> bool:
    softmax = ("Softmax(axes=1", "LogSoftmax(axes=1")
    one_pixel = graph.shapes[output.tensor][1:] == (1, 1)
    return one_pixel and any(operation.startswith(softmax) for operation in output.host_ops)


def requantizing_errors(
    layer: FixedLayer,
    acc: torch.Tensor,
    wanted: torch.Tensor,
    fracs: Sequence[int],
    measure: Measure = absolute,
) -> npt.NDArray[np.float64]:
    """What `measure` says of the stored values of each candidate: float64 [len(fracs)].

    Every candidate requantizes the same accumulators, with the activation's levels in its own
    format. Powers of two scale exactly, hence floats give what `numerics.postprocess` does.

    Parameters
    ----------
    layer : the layer; of its output format `frac` is not used
    acc : exact accumulators before the bias [N, O, H, W]
    wanted : float32 output of the float network, of the same shape
    fracs : candidates
    measure : of the error
    """
    errors = np.zeros(len(fracs))
    dtype = torch.float64 if layer.leaky or layer.function else acc.dtype
    bias = torch.from_numpy(layer.bias).to(acc.dtype)
    unit = torch.from_numpy(np.ldexp(1.0, -layer.acc_frac)).to(acc.dtype)
    # Pixel by pixel, as convolutions leave them in memory (elsewhere this copies).
    pixels, goals = (t.permute(0, 2, 3, 1).flatten(0, 2) for t in (acc, wanted))
    rows = max(1, _BLOCK // acc.shape[1])
    for part, goal in zip(pixels.split(rows), goals.split(rows), strict=True):
        real = ((part + bias) * unit).to(dtype)
        for index, frac in enumerate(fracs):
            stored = _store(layer, real, replace(layer.output, frac=frac))
            errors[index] += measure(stored, goal)
    return errors


def _store(layer: FixedLayer, real: torch.Tensor, form: QFormat) -> torch.Tensor:
    """Real values that are stored for the unrounded values `real`."""
    lo, hi = clip_range(layer.layer.activation, form)
    if layer.function is not None:
        real = _apply(layer.function, real)
    q = floor_((real * 2.0**form.frac).add_(0.5))
    if layer.leaky is not None:
        q = _leak(q, layer.leaky)
    return q.clamp_(lo, hi).mul_(2.0**-form.frac)


def _leak(q: torch.Tensor, leaky: Leaky) -> torch.Tensor:
    limit = 1 << (numerics.LEAKY_BITS - 1)
    q = q.clamp_(-limit, limit - 1)
    slope = leaky.multiplier * 2.0**-leaky.shift
    return torch.where(q < 0, floor_((q * slope).add_(0.5)), q)


def noted(step: Step, wanted: list[FloatArray], saturated: int) -> Step:
    """`step` with a note if the layer is dead on the calibration images, or saturates often."""
    notes = [step.note] if step.note else []
    low, high = min(float(w.min()) for w in wanted), max(float(w.max()) for w in wanted)
    if low == high:
        notes.append(f"{low:g} everywhere on the calibration images")
    share = saturated / sum(w.size for w in wanted)
    if share > _SATURATED:
        notes.append(f"{share:.1%} of the values saturate")
    return replace(step, note="; ".join(notes))


def can_be_negative(layer: Layer, formats: Mapping[str, QFormat]) -> bool:
    """Whether the layer's results can be negative, whatever its weights are.

    `formats` are those of the tensors that it reads.
    """
    activation = layer.activation
    if activation.kind is ActivationKind.CLIP:
        return activation.lo < 0.0
    if activation.kind is ActivationKind.LEAKY and activation.slope != 1.0:
        return fix_slope(activation) is not None
    if activation.kind is ActivationKind.FUNCTION:
        return True
    return layer.conv is not None or any(formats[n].signed for n in layer.inputs)


def feature_step(
    name: str, bits: int, initial: int, frac: int, candidates: tuple[Candidate, ...], note: str = ""
) -> Step:
    """The decision about a feature map."""
    return Step(
        tensor=name,
        kind="features",
        bits=bits,
        initial=initial,
        candidates=candidates,
        frac=frac,
        note=note,
    )


def _apply(function: Function, real: torch.Tensor) -> torch.Tensor:
    half, table = 1 << (function.bits - 1), torch.from_numpy(function.table)
    q = floor_((real * 2.0**function.frac).add_(0.5)).clamp_(-half, half - 1)
    return table[q.to(torch.int64) + half].to(real.dtype).mul_(2.0**-function.frac)
