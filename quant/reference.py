"""The bit-exact integer reference: what the hardware must compute, value for value.

Accumulators come from `tilewright.quant.accumulator`, everything behind them is
`tilewright.quant.numerics.postprocess`, the same function that is traced into hardware.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from tilewright.errors import TilewrightError
from tilewright.graph.ir import ActivationKind
from tilewright.quant import numerics
from tilewright.quant.accumulator import Accumulator, accumulator_bound, as_tensor
from tilewright.quant.data import check_data, normalize
from tilewright.quant.fixed import FixedGraph, FixedLayer, IntArray
from tilewright.quant.formats import QFormat

__all__ = [
    "LayerRun",
    "accumulator_bound",
    "biased_shift",
    "dequantize_outputs",
    "postprocess",
    "quantize_inputs",
    "run_fixed",
    "run_layer",
    "walk_fixed",
]

_WIDE = 1 << 62
_BLOCK = 1 << 16
"""Values post-processed at once: their int64 temporaries stay in the cache."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerRun:
    """What one layer computed.

    Attributes
    ----------
    layer : the layer
    values : its output, int64 [N, C, H, W]
    saturated : how many values the output format's range cut off; values that the activation
        limits do not count
    """

    layer: FixedLayer
    values: IntArray
    saturated: int


def biased_shift(layer: FixedLayer) -> IntArray:
    """Requantizing shift of each output channel as the hardware stores it."""
    stored: IntArray = numerics.store_shift(layer.shift)
    return stored


def postprocess(layer: FixedLayer, acc: IntArray) -> tuple[IntArray, int]:
    """Stored values, and how many saturated, from accumulators int64 [N, O, H, W] before bias."""
    shape = (-1, 1, 1)
    bias, shift = layer.bias.reshape(shape), biased_shift(layer).reshape(shape)
    slope = (False, 0, 1)
    if layer.leaky is not None:
        slope = (True, layer.leaky.multiplier, layer.leaky.shift)
    functions = () if layer.function is None else (layer.function,)
    chosen = (len(functions), int(numerics.store_shift(layer.function_shift)))
    result = np.empty_like(acc)
    saturated = 0
    step = max(1, _BLOCK // (acc.shape[1] * acc.shape[3]))
    for image, out in zip(acc, result, strict=True):
        for start in range(0, image.shape[1], step):
            part = np.s_[:, start : start + step]
            limits = (-_WIDE, _WIDE)
            wide = numerics.postprocess(
                image[part], bias, shift, *limits, *slope, *chosen, functions=functions
            )
            out[part] = numerics.clip(wide, layer.lo, layer.hi)
            saturated += _count_saturated(layer, wide)
    return result, saturated


def _count_saturated(layer: FixedLayer, wide: IntArray) -> int:
    output, activation = layer.output, layer.layer.activation
    clipped = activation.kind is ActivationKind.CLIP
    level = float(np.ldexp(1.0, -output.frac))
    count = 0
    if not (clipped and activation.hi <= (output.max + 0.5) * level):
        count += int(np.count_nonzero(wide > output.max))
    if not (layer.lo > output.min or (clipped and activation.lo >= (output.min - 0.5) * level)):
        count += int(np.count_nonzero(wide < output.min))
    return count


def run_layer(
    layer: FixedLayer, xs: Sequence[IntArray], formats: Mapping[str, QFormat]
) -> LayerRun:
    """Run one layer on integers.

    Parameters
    ----------
    layer : the quantized layer
    xs : int64 [N, C, H, W] for every tensor of `layer.layer.all_inputs`, in that order
    formats : format of every tensor that the layer reads (`FixedGraph.formats` serves)
    """
    with torch.inference_mode():
        acc = Accumulator(layer, formats)([as_tensor(x) for x in xs])
        values, saturated = postprocess(layer, acc.to(torch.int64).numpy())
    return LayerRun(layer, values, saturated)


def walk_fixed(fixed: FixedGraph, inputs: Mapping[str, IntArray]) -> Iterator[LayerRun]:
    """Run `fixed` layer by layer, forgetting every tensor after its last reader.

    Raises
    ------
    TilewrightError
        If an input is missing, has a wrong shape or holds values outside its format.
    """
    check_data(fixed.graph, inputs, what="Integer inputs")
    for name, array in inputs.items():
        form = fixed.formats[name]
        if array.min() < form.min or array.max() > form.max:
            raise TilewrightError(
                f"Integer inputs: input {name!r} holds values in {array.min()}..{array.max()}; "
                f"its format allows {form.min}..{form.max}, as quantize_inputs gives them"
            )
    alive = {name: array.astype(np.int64) for name, array in inputs.items()}
    last = {name: i for i, layer in enumerate(fixed.layers) for name in layer.layer.all_inputs}
    for index, layer in enumerate(fixed.layers):
        run = run_layer(layer, [alive[n] for n in layer.layer.all_inputs], fixed.formats)
        alive[layer.name] = run.values
        for name in [n for n in alive if last.get(n, -1) <= index]:
            del alive[name]
        yield run


def run_fixed(
    fixed: FixedGraph, inputs: Mapping[str, IntArray], *, keep: Collection[str] | None = None
) -> dict[str, IntArray]:
    """Run a quantized network on integers.

    Parameters
    ----------
    fixed : the network
    inputs : int64 [N, C, H, W] of every graph input (see `quantize_inputs`)
    keep : layers whose outputs to return; all by default

    Returns
    -------
    dict
        Output of each kept layer by name, int64 [N, C, H, W].

    Raises
    ------
    TilewrightError
        If an input is missing, has a wrong shape or holds values outside its format.
    """
    return {
        run.layer.name: run.values
        for run in walk_fixed(fixed, inputs)
        if keep is None or run.layer.name in keep
    }


def quantize_inputs(
    fixed: FixedGraph, raw: Mapping[str, npt.NDArray[np.generic]]
) -> dict[str, IntArray]:
    """Integers of every graph input from the user's values: (raw - mean) * scale, quantized.

    Raises
    ------
    TilewrightError
        If an input is missing, unknown, empty, of a wrong shape or holds NaN or infinity.
    """
    check_data(fixed.graph, raw, what="Inputs")
    return {
        spec.name: fixed.formats[spec.name].quantize(normalize(spec, raw[spec.name]))
        for spec in fixed.graph.inputs
    }


def dequantize_outputs(
    fixed: FixedGraph, values: Mapping[str, IntArray]
) -> dict[str, npt.NDArray[np.float64]]:
    """Real values [N, C, H, W] of every graph output, by output name, from layers' integers."""
    return {
        output.name: fixed.formats[output.tensor].dequantize(values[output.tensor])
        for output in fixed.graph.outputs
    }
