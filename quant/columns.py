"""Factors of a map's channels with which the weights that read it round well.

A last or a fully connected layer of few bits reads each channel by a column of its weights, and `tilewright.quant.rescale` may
divide that column by a factor a, and multiply the channel: the channel's makers have more bits, and lose
next to nothing. So the factors are chosen for the reader. The squared error of what it gives, over the
rounded weights Q (real values, [O, d]) and the factors,

    sum over outputs o of m_o |(W_o - Q_o a) X|²,

with m_o for what an error there does behind, is quadratic in each of them: Q is found by the coordinate descent of
`tilewright.quant.reconstruct`, then a by least squares within its bounds, and so on in turn, from several
starts. Both see no more of the images than their second moments, damped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilewright.graph.ir import Layer
from tilewright.quant.candidates import initial_frac
from tilewright.quant.formats import QFormat
from tilewright.quant.reconstruct import closest

__all__ = ["fit_columns"]

_STARTS = 24
_TURNS = 10
_STEPS = 30
"""Sweeps of the least squares within bounds."""
_ENOUGH = 0.995
"""A turn that leaves more than this of the error is the last one."""
_DAMPING = 0.3
"""Of the second moments, relative to their diagonal's mean: an image gives one sample."""
_WEIGHTS = 1 << 17
"""Weights looked at: of a reader of more, some output channels."""
_WORK = 1 << 28
"""Products of weights and moments, from which on there are fewer starts."""

_FINER = (0, 1, 2)
"""Fractional bits tried beyond the range that holds all of a channel's weights."""

DoubleArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def fit_columns(
    reader: Layer,
    bits: int,
    windows: DoubleArray,
    bounds: tuple[DoubleArray, DoubleArray],
    *,
    importance: DoubleArray,
    learned: bool,
) -> DoubleArray:
    """Factor of each input channel of a convolution without groups, float64 [I].

    Parameters
    ----------
    reader : its output channels get a fractional length each
    bits : of its weights
    windows : what it reads on calibration images [samples, I · kernel height · kernel width]
    bounds : the least and the largest that each factor may be [I], 1 within
    importance : of the squared error of each of the reader's outputs [O]
    learned : whether its weights will be rounded by learned rounding, or to the nearest
    """
    assert reader.conv is not None
    weight, (lowest, highest) = reader.conv.weight, bounds
    if not (lowest < highest).any():
        return lowest
    rows = max(1, _WEIGHTS // weight[0].size)
    rng = np.random.default_rng(0)
    if len(weight) > rows:
        chosen = np.sort(rng.choice(len(weight), rows, replace=False))
        weight, importance = weight[chosen], importance[chosen]
    moments = _moments(windows)
    problem = _Problem(
        weight=weight.reshape(len(weight), -1).astype(np.float64),
        importance=importance,
        channel=np.repeat(np.arange(weight.shape[1]), weight[0, 0].size),
        moments=moments,
        factor=np.linalg.cholesky(moments).T.astype(np.float64),
        bits=bits,
        sweeps=None if learned else 0,
    )
    best, least = np.ones(len(lowest)), np.inf
    work = problem.weight.size * len(moments)
    for number in range(max(2, min(_STARTS, _WORK // work))):
        common, own = rng.uniform(-0.5, 0.5), rng.uniform(-0.25, 0.25, len(lowest))
        factors = np.exp2(common + own) if number else np.ones(len(lowest))
        factors, error = _descend(problem, np.clip(factors, lowest, highest), lowest, highest)
        if error < least:
            best, least = factors, error
    return best


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    """What is given.

    Attributes
    ----------
    weight : real weights [O, d]
    importance : of each output's squared error [O]
    channel : input channel of each column, int64 [d]
    moments : second moments of what the columns read [d, d]
    factor : such that factorᵀ factor are the moments [d, d]
    bits : of a weight
    sweeps : of learned rounding, None for as many as it takes
    """

    weight: DoubleArray
    importance: DoubleArray
    channel: IntArray
    moments: DoubleArray
    factor: DoubleArray
    bits: int
    sweeps: int | None


def _moments(windows: DoubleArray) -> DoubleArray:
    """Damped second moments [d, d] of windows [samples, d]."""
    centred = windows - windows.mean(axis=0)
    moments: DoubleArray = centred.T @ centred / len(windows)
    damping = max(_DAMPING * float(moments.trace()) / len(moments), 1e-30)
    return moments + damping * np.eye(len(moments))


def _descend(
    problem: _Problem, factors: DoubleArray, lowest: DoubleArray, highest: DoubleArray
) -> tuple[DoubleArray, float]:
    """The best factors seen in turns from the given ones, and the error with them."""
    best, least = factors, np.inf
    for _ in range(_TURNS):
        rounded, error = _rounded(problem, factors)
        enough = error > _ENOUGH * least
        if error < least:
            best, least = factors, error
        if enough:
            break
        factors = _least_squares(problem, rounded, factors, lowest, highest)
    return best, least


def _rounded(problem: _Problem, factors: DoubleArray) -> tuple[DoubleArray, float]:
    """Real values of the rounded weights [O, d] for these factors, and the weighted error of all outputs."""
    scale = factors[problem.channel]
    divided = problem.weight / scale
    fracs = np.array([initial_frac(row.min(), row.max(), problem.bits) for row in divided])
    found, fracs, errors = closest(
        divided,
        problem.factor * scale,
        QFormat(problem.bits, 0),
        [fracs + more for more in _FINER],
        problem.sweeps,
    )
    return np.ldexp(found.astype(np.float64), -fracs[:, None]), float(errors @ problem.importance)


def _least_squares(
    problem: _Problem,
    rounded: DoubleArray,
    factors: DoubleArray,
    lowest: DoubleArray,
    highest: DoubleArray,
) -> DoubleArray:
    """Factors of least error with these rounded weights [O, d], within bounds, by coordinate descent."""
    starts = np.flatnonzero(np.diff(problem.channel, prepend=-1))
    weighted = rounded * problem.importance[:, None]
    curvature = problem.moments * (rounded.T @ weighted)
    curvature = np.add.reduceat(np.add.reduceat(curvature, starts, axis=0), starts, axis=1)
    slope = np.add.reduceat((weighted * (problem.weight @ problem.moments)).sum(axis=0), starts)
    result = factors.copy()
    free = np.flatnonzero((curvature.diagonal() > 0.0) & (lowest < highest))
    for _ in range(_STEPS):
        before = result.copy()
        for i in free:
            best = result[i] + (slope[i] - curvature[i] @ result) / curvature[i, i]
            result[i] = min(max(best, lowest[i]), highest[i])
        if np.allclose(before, result, rtol=1e-3):
            break
    return result
