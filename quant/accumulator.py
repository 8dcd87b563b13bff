"""The exact accumulators of a layer: their worst case, and their values by floating point.

Integers below 2**24 are exact in float32 and below 2**53 in float64. A layer whose accumulator
bound (`accumulator_bound`: no partial sum can be larger) lies below 2**24 is computed in float32,
every other one in float64, where the bound of 2**47 that post-processing sets is asserted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from tilewright.graph.ir import Conv, Op, Pool
from tilewright.quant.fixed import FixedLayer, IntArray
from tilewright.quant.formats import QFormat

__all__ = [
    "ACC_LIMIT",
    "Accumulator",
    "accumulator_bound",
    "accumulator_bounds",
    "as_tensor",
    "average_fraction",
    "average_multipliers",
    "floor_",
]

ACC_LIMIT = 1 << 47
"""Accumulators (with bias) stay below this magnitude: 48 bits, the widest that a target has."""

_FLOAT32_EXACT = 1 << 24
_BLOCK = 1 << 16


def average_fraction(pool: Pool, height: int, width: int) -> int:
    """Fractional bits f of an average's reciprocals: acc_frac = frac_x + f.

    log2(n) if every window has one divisor n that is a power of two (then the reciprocal is exact),
    else 8 + ceil(log2(largest divisor)).
    """
    divisors = _divisors(pool, height, width)
    largest = int(divisors.max())
    if int(divisors.min()) == largest and largest.bit_count() == 1:
        return largest.bit_length() - 1
    return 8 + (largest - 1).bit_length()


def average_multipliers(pool: Pool, height: int, width: int) -> IntArray:
    """Reciprocals M(n) = round_half_up(2**f / n) of an average, int64 [out height, out width]."""
    divisors = _divisors(pool, height, width)
    f = average_fraction(pool, height, width)
    return ((1 << (f + 1)) + divisors) // (2 * divisors)


def _divisors(pool: Pool, height: int, width: int) -> IntArray:
    """What each window's sum is divided by, int64 [out height, out width]."""
    rows = [counted for _, _, counted in pool.windows(0, height)]
    cols = [counted for _, _, counted in pool.windows(1, width)]
    divisors = np.multiply.outer(np.array(rows, np.int64), np.array(cols, np.int64))
    assert divisors.min() > 0, "an averaging window without pixels"
    return divisors


def accumulator_bound(layer: FixedLayer, formats: Mapping[str, QFormat]) -> int:
    """Largest of `accumulator_bounds`: no accumulator of `layer` exceeds it."""
    return max(accumulator_bounds(layer, formats))


def accumulator_bounds(layer: FixedLayer, formats: Mapping[str, QFormat]) -> list[int]:
    """Largest magnitude that the accumulators of each output channel can take, as exact integers.

    Every input value may be anything its format can hold. Counted are all partial sums, with and
    without the bias; hence no order of summation exceeds it, and some input reaches it. (Average
    pooling: of all window sizes up to the kernel's, whether or not the map has them.) Where the
    hardware subtracts half of its range from an unsigned map, it sums other numbers before the bias:
    those are counted too.

    Parameters
    ----------
    layer : the quantized layer
    formats : format of every tensor that the layer reads
    """
    weights = None if layer.weight is None else _weight_sums(layer.weight)
    read = {name: formats[name] for name in layer.layer.all_inputs}
    bounds = []
    for c, (low, high) in enumerate(_sum_ranges(layer, read, weights)):
        bias = int(layer.bias[c])
        bounds.append(max(0, high + max(bias, 0), -low - min(bias, 0)))
    if all(form.signed for form in read.values()):
        return bounds
    shifted = {name: replace(form, signed=True) for name, form in read.items()}
    sums = _sum_ranges(layer, shifted, weights)
    return [max(b, high, -low) for b, (low, high) in zip(bounds, sums, strict=True)]


def _weight_sums(weight: IntArray) -> tuple[list[int], list[int]]:
    """Sums of the positive and of the negative weights of each output channel."""
    # Some rows at a time: temporaries of the size of a fully connected layer would cost seconds.
    rows = max(1, _BLOCK * len(weight) // weight.size)
    positive: list[int] = []
    negative: list[int] = []
    for start in range(0, len(weight), rows):
        part = weight[start : start + rows].reshape(-1, weight[0].size)
        positive += np.maximum(part, 0).sum(axis=1).tolist()
        negative += np.minimum(part, 0).sum(axis=1).tolist()
    return positive, negative


def _sum_ranges(
    layer: FixedLayer,
    formats: Mapping[str, QFormat],
    weights: tuple[list[int], list[int]] | None,
) -> list[tuple[int, int]]:
    """Least and greatest sum per output channel, before the bias."""
    ranges = _input_ranges(layer, formats, weights)
    residual = layer.layer.residual
    if residual is None:
        return ranges
    form = formats[residual]
    shifts = [int(f) - form.frac for f in layer.acc_frac]
    return [
        (low + (form.min << s), high + (form.max << s))
        for (low, high), s in zip(ranges, shifts, strict=True)
    ]


def _input_ranges(
    layer: FixedLayer,
    formats: Mapping[str, QFormat],
    weights: tuple[list[int], list[int]] | None,
) -> list[tuple[int, int]]:
    """Least and greatest sum per output channel, before bias and residual."""
    sources = [formats[name] for name in layer.layer.inputs]
    acc_frac = [int(f) for f in layer.acc_frac]
    if weights is not None:
        x = sources[0]
        shifts = [a - int(w) - x.frac for a, w in zip(acc_frac, layer.weight_frac, strict=True)]
        return [
            ((p * x.min + n * x.max) << s, (p * x.max + n * x.min) << s)
            for p, n, s in zip(*weights, shifts, strict=True)
        ]
    if layer.layer.op is Op.AVG_POOL:
        assert layer.layer.pool is not None
        f = acc_frac[0] - sources[0].frac
        area = layer.layer.pool.kernel[0] * layer.layer.pool.kernel[1]
        gain = max(n * (((1 << (f + 1)) + n) // (2 * n)) for n in range(1, area + 1))
        return [(sources[0].min * gain, sources[0].max * gain)] * len(acc_frac)
    scaled = [(s.min << (a - s.frac), s.max << (a - s.frac)) for s in sources for a in acc_frac[:1]]
    if layer.layer.op is Op.ADD:
        return [(sum(low for low, _ in scaled), sum(high for _, high in scaled))] * len(acc_frac)
    return [(min(low for low, _ in scaled), max(high for _, high in scaled))] * len(acc_frac)


def as_tensor(values: npt.NDArray[np.generic]) -> torch.Tensor:
    """Tensor of an array that may be read-only or strided in a way that torch refuses."""
    steps = [stride % values.itemsize == 0 and stride >= 0 for stride in values.strides]
    if not (values.flags.writeable and all(steps)):
        values = values.copy()
    return torch.from_numpy(values)


def floor_(values: torch.Tensor) -> torch.Tensor:
    """Round floats down, in place.

    By NumPy: torch's floor goes through MKL, which wakes its threads for every block and, on a
    machine that is busy with other things, waits for the slowest of them (20 times as long).
    """
    array = values.numpy()
    np.floor(array, out=array)
    return values


class Accumulator:
    """Computes the exact accumulators of one layer, any number of times.

    Parameters
    ----------
    layer : the quantized layer; its output format is not used
    formats : format of every tensor that the layer reads
    """

    def __init__(self, layer: FixedLayer, formats: Mapping[str, QFormat]) -> None:
        self.layer = layer
        self.bound = accumulator_bound(layer, formats)
        assert self.bound < ACC_LIMIT, f"{layer.name}: accumulators reach {self.bound}"
        exact32 = self.bound < _FLOAT32_EXACT and torch.get_float32_matmul_precision() == "highest"
        self.dtype = torch.float32 if exact32 else torch.float64
        self._fracs = [formats[name].frac for name in layer.layer.all_inputs]
        self._weight = None if layer.weight is None else as_tensor(layer.weight).to(self.dtype)

    def __call__(self, xs: Sequence[torch.Tensor]) -> torch.Tensor:
        """Accumulators before the bias, after pooling: integers in a tensor of `self.dtype`.

        `xs` are integer-valued tensors [N, C, H, W] in the order of `layer.all_inputs`.
        """
        layer = self.layer.layer
        maps = [x.to(self.dtype) for x in xs]
        if layer.conv is not None:
            assert self._weight is not None
            acc = self._align(_convolve(maps[0], self._weight, layer.conv), self._product_frac())
            if layer.residual is not None:
                acc = acc + self._align(maps[1], self._fracs[1])
            return acc if layer.max_pool is None else _maximum(acc, layer.max_pool)
        if layer.op is Op.AVG_POOL:
            assert layer.pool is not None
            multipliers = average_multipliers(layer.pool, *maps[0].shape[2:])
            return _window_sums(maps[0], layer.pool) * torch.from_numpy(multipliers).to(self.dtype)
        if layer.op is Op.CONCAT:
            fracs = np.repeat(self._fracs, [m.shape[1] for m in maps])
            return self._align(torch.cat(maps, dim=1), fracs)
        total = self._align(maps[0], self._fracs[0])
        for other, frac in zip(maps[1:], self._fracs[1:], strict=True):
            total = total + self._align(other, frac)
        return total if layer.pool is None else _maximum(total, layer.pool)

    def _product_frac(self) -> IntArray:
        return self.layer.weight_frac + self._fracs[0]

    def _align(self, values: torch.Tensor, frac: IntArray | int) -> torch.Tensor:
        """`values` of fractional length `frac` at the accumulator's."""
        shift = self.layer.acc_frac - frac
        assert (shift >= 0).all(), f"{self.layer.name}: acc_frac below that of its terms"
        if not shift.any():
            return values
        factor = torch.from_numpy(np.ldexp(1.0, shift)).to(self.dtype)
        return values * factor.reshape(1, -1, 1, 1)


def _convolve(x: torch.Tensor, weight: torch.Tensor, conv: Conv) -> torch.Tensor:
    top, bottom, left, right = conv.pads
    if not any(conv.pads) and conv.groups == 1 and weight.shape[1:] == x.shape[1:]:
        return (x.flatten(1) @ weight.flatten(1).T)[:, :, None, None]
    if (top, left) != (bottom, right):
        x, top, left = F.pad(x, (left, right, top, bottom)), 0, 0
    # Measured: the float32 kernels take a third of the time on this layout, depthwise ones of
    # float64 four times as long. Results keep it, so that a network is laid out anew only once.
    single = x.dtype == torch.float32
    x = x.contiguous(memory_format=torch.channels_last if single else torch.contiguous_format)
    # NNPACK would transform small kernels (Winograd), which is not exact on integers.
    with torch.backends.nnpack.flags(enabled=False):
        return F.conv2d(x, weight, None, conv.stride, (top, left), conv.dilation, conv.groups)


def _padded(x: torch.Tensor, pool: Pool, value: float) -> torch.Tensor:
    top, bottom, left, right = pool.pads
    below, beside = pool.extra
    if not any((*pool.pads, *pool.extra)):
        return x
    return F.pad(x, (left, right + beside, top, bottom + below), value=value)


def _maximum(x: torch.Tensor, pool: Pool) -> torch.Tensor:
    pooled = F.max_pool2d(_padded(x, pool, float("-inf")), pool.kernel, pool.stride)
    assert bool(torch.isfinite(pooled).all()), "a maximum over padding only"
    return pooled


def _window_sums(x: torch.Tensor, pool: Pool) -> torch.Tensor:
    """Sums of `x` [N, C, H, W] over the real pixels of each window."""
    return F.avg_pool2d(_padded(x, pool, 0.0), pool.kernel, pool.stride, divisor_override=1)
