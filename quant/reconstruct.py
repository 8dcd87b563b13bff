"""Learned rounding and bias correction: weights that reproduce the layer's float results.

Given what the layer reads in the *fixed* network (everything upstream quantized) and what it gives in
the float one, its integer weights are chosen to minimise the squared error of its results instead of
each weight's own. That is the aim of AdaRound (Nagel et al., "Up or Down? Adaptive Rounding for
Post-Training Quantization", ICML 2020); it is a quadratic function of the weights, and is minimised
here by cyclic coordinate descent from the nearest integers: each weight in turn takes the integer
that is best with all others as they are, so that no step makes the error larger. No labels, no
gradients, no random numbers but the seeded sample of pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt
import torch

from tilewright.quant.accumulator import floor_
from tilewright.quant.fixed import IntArray
from tilewright.quant.formats import QFormat
from tilewright.quant.samples import Samples

__all__ = ["Reconstruction", "closest", "corrected_bias", "reconstruct"]

_SWEEPS = 3
_BLOCK = 1 << 25
"""Weights improved at once: of a fully connected layer some output channels after the others."""
_COLUMNS = 32
"""Weights of a channel that are improved one by one before the others are told."""
_DAMPINGS = (0.01, 0.1, 1.0, 10.0)
"""Added to the diagonal of the second moments, relative to its mean, against too few images: the first
where an image gives many samples, else the one that does best on samples held out."""
_FOLDS = 4
_SHARES = (0.0, 0.8)
"""Of the moments that come from a classifier's weights: the one that does best on samples held out."""
_OWN = 1 / 32
"""Weight of an error along a class's own weights, relative to all directions' together."""
_ENOUGH = 4
"""Samples for each weight of a channel from which on the target itself is fitted to the data."""

DoubleArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Reconstruction:
    """Weights that were found for a layer.

    Attributes
    ----------
    weight : integers [O, I/groups, kh, kw]
    weight_frac : their fractional lengths, int64 [O]
    bias : real bias [O]
    kept : squared error of the results, relative to that of the nearest integers
    """

    weight: IntArray
    weight_frac: IntArray
    bias: DoubleArray
    kept: float


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    """Minimise |factor (u - target)|² + damping |u - target|² for every output channel.

    Tensors are by group: factor [G, m, d], target [G, O/G, d], damping [G, 1].
    """

    factor: torch.Tensor
    target: torch.Tensor
    damping: torch.Tensor
    mean: torch.Tensor
    """Mean window, float64 [G, d]."""
    goal: torch.Tensor
    """Mean wanted result, float64 [O]."""
    kept: torch.Tensor
    """1 where the weight is not exactly 0, [G, O/G, d]: what was pruned stays pruned."""
    own: torch.Tensor | None = None
    """A direction along which the error of each output channel counts besides, [G, O/G, d]."""

    def part(self, rows: slice) -> _Problem:
        """The problem of some output channels; of all of them where there are several groups."""
        if len(self.target) > 1:
            return self
        own = None if self.own is None else self.own[:, rows]
        target, kept = self.target[:, rows], self.kept[:, rows]
        return replace(self, target=target, goal=self.goal[rows], kept=kept, own=own)


def corrected_bias(weight: DoubleArray, samples: Samples) -> DoubleArray:
    """Bias [O] with which the mean result is the wanted one ("bias correction").

    `weight` are the real values of the quantized weights, [O, I/groups, kh, kw].
    """
    mean = samples.windows.mean(dim=1, dtype=torch.float64)
    goal = samples.wanted.mean(dim=0, dtype=torch.float64)
    return _bias(torch.from_numpy(weight), mean, goal)


def _bias(weight: torch.Tensor, mean: torch.Tensor, goal: torch.Tensor) -> DoubleArray:
    sums = torch.einsum("god,gd->go", weight.reshape(len(mean), -1, mean.shape[1]), mean)
    result: DoubleArray = (goal - sums.flatten()).numpy()
    return result


def closest(
    weight: DoubleArray,
    factor: DoubleArray,
    form: QFormat,
    tried: Sequence[IntArray],
    sweeps: int | None = None,
) -> tuple[IntArray, IntArray, DoubleArray]:
    """Integers of least |factor (integers - weight)|² for each row: [O, d], with fracs and errors [O].

    Parameters
    ----------
    weight : real weights [O, d]
    factor : of the second moments [m, d]
    form : gives the integers' bits
    tried : fractional lengths to choose each row's from, int64 [O] each
    sweeps : of coordinate descent; 0 leaves the nearest integers, None does as learned rounding does
    """
    target = torch.from_numpy(weight).float()[None]
    problem = _Problem(
        factor=torch.from_numpy(factor).float()[None],
        target=target,
        damping=torch.zeros(1, 1),
        mean=torch.zeros(1, weight.shape[1], dtype=torch.float64),
        goal=torch.zeros(len(weight), dtype=torch.float64),
        kept=(target != 0).float(),
    )
    return _best(problem, form, tried, _SWEEPS if sweeps is None else sweeps)


def reconstruct(
    weight: npt.NDArray[np.float32],
    form: QFormat,
    fracs: IntArray,
    samples: Samples,
    *,
    offsets: Sequence[int],
    finest: IntArray,
    per_channel: bool,
    scarce: bool = False,
    classifier: bool = False,
) -> Reconstruction:
    """Integer weights of least squared error of the layer's results on `samples`.

    Parameters
    ----------
    weight : the float weights [O, I/groups, kh, kw]
    form : gives the weights' bits
    fracs : fractional length of each output channel, int64 [O]
    offsets : changes of them that are tried, 0 first; only that with no more samples than weights of a
        channel, which say too little
    finest : largest fractional length that a channel may get, int64 [O]
    per_channel : whether each channel takes its own best offset, or all take one
    scarce : whether an image gives one sample, as to a fully connected layer
    classifier : whether, of a scarce layer with no more samples than weights of a channel, the weights
        may also say what is read; for a network's last layer, where it has fewer bits than others
    """
    size, damping, share = weight[0].size, _DAMPINGS[0], 0.0
    offsets = offsets if samples.windows.shape[1] > size else offsets[:1]
    if scarce:
        limit = finest if per_channel else fracs + max(offsets)
        tried = [np.minimum(fracs + offset, limit) for offset in offsets]
        shares = _SHARES if classifier and samples.windows.shape[1] <= size else _SHARES[:1]
        found = _held_out(weight, form, tried, samples, shares, per_channel=per_channel)
        (damping, share), fracs = found
        offsets = (0,)
    problem = _problem(weight, samples, damping, share)
    rows = len(weight) if samples.windows.shape[0] > 1 else max(1, _BLOCK // size)
    parts = [slice(start, start + rows) for start in range(0, len(weight), rows)]
    if not per_channel and len(offsets) > 1:
        totals = [
            sum(_descend(problem.part(p), form, fracs[p] + o)[1].sum() for p in parts)
            for o in offsets
        ]
        offsets = (offsets[int(np.argmin(totals))],)
    integers = np.empty((len(weight), size), np.int64)
    chosen, bias = fracs.copy(), np.empty(len(weight))
    before = after = 0.0
    for part in parts:
        own = problem.part(part)
        before += float(_descend(own, form, fracs[part], sweeps=0)[1].sum())
        limit = finest[part] if per_channel else fracs[part] + max(offsets)
        best = _best(own, form, [np.minimum(fracs[part] + offset, limit) for offset in offsets])
        integers[part], chosen[part] = best[0], best[1]
        after += float(best[2].sum())
        real = np.ldexp(best[0].astype(np.float64), -best[1][:, None])
        bias[part] = _bias(torch.from_numpy(real), own.mean, own.goal)
    kept = after / max(before, 1e-300)
    return Reconstruction(integers.reshape(weight.shape), chosen, bias, kept)


def _best(
    problem: _Problem, form: QFormat, tried: Sequence[IntArray], sweeps: int = _SWEEPS
) -> tuple[IntArray, IntArray, DoubleArray]:
    """Integers [O, d] of least error, their fractional lengths [O], and the errors [O]."""
    integers, error = _descend(problem, form, tried[0], sweeps)
    fracs = tried[0].copy()
    for other in tried[1:]:
        found, lower = _descend(problem, form, other, sweeps)
        better = lower < error
        integers[better], fracs[better], error[better] = found[better], other[better], lower[better]
    return integers, fracs, error


def _held_out(
    weight: npt.NDArray[np.float32],
    form: QFormat,
    tried: Sequence[IntArray],
    samples: Samples,
    shares: Sequence[float],
    *,
    per_channel: bool,
) -> tuple[tuple[float, float], IntArray]:
    """Damping and share of the weights' moments, and fractional lengths [O], that do best on samples held out.

    Weights are chosen on all but a quarter of the samples, for each quarter in turn: the first two with the
    first fractional lengths of `tried`, then with them those of each channel, or of all alike.
    """
    if samples.windows.shape[1] < 2 * _FOLDS:
        return (_DAMPINGS[0], shares[0]), tried[0]
    pairs = list(product(_DAMPINGS, shares))
    sums = [_error_held_out(weight, form, tried[0], samples, *pair).sum() for pair in pairs]
    best = pairs[int(np.argmin(sums))]
    errors = np.array([_error_held_out(weight, form, t, samples, *best) for t in tried])
    if not per_channel:
        errors[:] = errors.sum(axis=1, keepdims=True)
    chosen: IntArray = np.choose(errors.argmin(axis=0), tried)
    return best, chosen


def _error_held_out(
    weight: npt.NDArray[np.float32],
    form: QFormat,
    fracs: IntArray,
    samples: Samples,
    damping: float,
    share: float,
) -> DoubleArray:
    """Squared error of each channel's results [O] on the quarters that its weights were not chosen on."""
    count = samples.windows.shape[1]
    unit = torch.from_numpy(np.ldexp(1.0, -fracs)).float()[:, None]
    errors = np.zeros(len(weight))
    for fold in range(_FOLDS):
        held = torch.arange(count) % _FOLDS == fold
        problem = _problem(weight, samples.part(~held), damping, share)
        other = samples.part(held)
        integers, _ = _descend(problem, form, fracs)
        real = (torch.from_numpy(integers).float() * unit).reshape(problem.target.shape)
        sums = (other.windows - problem.mean.float()[:, None]) @ real.transpose(1, 2)
        wanted = other.wanted - problem.goal.float()
        difference = sums.transpose(0, 1).reshape(wanted.shape) - wanted
        errors += difference.square().sum(dim=0, dtype=torch.float64).numpy()
    return errors


def _problem(
    weight: npt.NDArray[np.float32], samples: Samples, relative: float, share: float = 0.0
) -> _Problem:
    """The quadratic problem: second moments of the centred windows, and the target weights.

    `relative` is the damping relative to the mean of the moments' diagonal, `share` that of the moments
    which comes from the weights; not 0 with one group and no more samples than weights of a channel only.
    """
    windows = samples.windows
    groups, pixels, size = windows.shape
    mean = windows.mean(dim=1, dtype=torch.float64)
    goal = samples.wanted.mean(dim=0, dtype=torch.float64)
    centred = windows - mean.float()[:, None]
    target = torch.from_numpy(np.array(weight)).reshape(groups, -1, size)
    kept = (target != 0).float()
    if pixels <= size:
        factor = centred / pixels**0.5
        damping = _positive(relative * factor.square().sum(dim=(1, 2)) / size)[:, None]
        problem = _Problem(factor, target, damping, mean, goal, kept)
        return _classified(problem, share) if share else problem
    moments = (centred.transpose(1, 2) @ centred / pixels).double()
    damping = _positive(relative * moments.diagonal(dim1=1, dim2=2).mean(dim=1))
    damped = moments + torch.diag_embed(damping[:, None].expand(groups, size))
    lower = torch.linalg.cholesky(damped)
    if pixels >= _ENOUGH * size:
        wanted = (samples.wanted - goal.float()).reshape(pixels, groups, -1)
        cross = (centred.transpose(1, 2) @ wanted.transpose(0, 1) / pixels).double()
        cross += damping[:, None, None] * target.transpose(1, 2)
        target = torch.cholesky_solve(cross, lower).transpose(1, 2).float().contiguous()
    none = torch.zeros(groups, 1)
    factor = lower.transpose(1, 2).float().contiguous()
    return _Problem(factor, target, none, mean, goal, kept)


def _classified(problem: _Problem, share: float) -> _Problem:
    """The problem of a classifier, of whose samples there are too few to say what else it will read.

    Training draws what a class gives its last layer towards the class's weights ("neural collapse": Papyan
    et al., PNAS 2020, arXiv 2008.08186). So `share` of the moments are those of the weights, less their
    mean; and an output's error along its own weights counts more: it is made where its class is seen, which is
    when it decides.
    """
    classes = problem.target[0] - problem.target[0].mean(dim=0)
    energy = problem.factor.square().sum()
    scale = (energy / classes.square().sum().clamp_min(1e-30)).sqrt()
    parts = ((1.0 - share) ** 0.5 * problem.factor[0], share**0.5 * scale * classes)
    sizes = classes.square().sum(dim=1, keepdim=True).sqrt().clamp_min(1e-30)
    own = (_OWN * energy).sqrt() * classes / sizes
    return replace(problem, factor=_shortest(torch.cat(parts))[None], own=own[None])


def _shortest(factor: torch.Tensor) -> torch.Tensor:
    """A factor [m, d] of the same moments, of no more than d rows."""
    rows, size = factor.shape
    return factor if rows <= size else torch.linalg.qr(factor, mode="r").R


def _positive(damping: torch.Tensor) -> torch.Tensor:
    """`damping`, or 1 for groups whose inputs never change: any weight is as good there."""
    return torch.where(damping > 0.0, damping, torch.ones_like(damping))


def _descend(
    problem: _Problem, form: QFormat, fracs: IntArray, sweeps: int = _SWEEPS
) -> tuple[IntArray, DoubleArray]:
    """Integers [O, d] found by coordinate descent from the nearest ones, and the error [O]."""
    factor = problem.factor
    groups, _, size = factor.shape
    unit = torch.from_numpy(np.ldexp(1.0, -fracs)).float().reshape(groups, -1)
    goal = problem.target / unit[:, :, None]
    q = floor_(goal + 0.5).clamp_(form.min, form.max) * problem.kept
    rest = q - goal
    own, along = problem.own, torch.zeros_like(goal[:, :, :1])
    carried = rest @ factor.transpose(1, 2)
    if own is not None:
        along += (rest * own).sum(dim=2, keepdim=True)
    for _ in range(sweeps):
        before = q.clone()
        for start in range(0, size, _COLUMNS):
            columns = np.s_[:, :, start : start + _COLUMNS]
            part = factor[columns]
            slopes = carried @ part + problem.damping[:, :, None] * rest[columns]
            turned = None if own is None else own[columns]
            if turned is not None:
                slopes += along * turned
            step = _descend_columns(
                q[columns], problem.kept[columns], slopes, turned, part, problem.damping, form
            )
            rest[columns] += step
            carried += step @ part.transpose(1, 2)
            if turned is not None:
                along += (step * turned).sum(dim=2, keepdim=True)
        if torch.equal(before, q):
            break
    error = carried.square().sum(dim=2) + problem.damping * rest.square().sum(dim=2)
    error += along.square().sum(dim=2)
    error = (error * unit.square()).flatten().double()
    return q.reshape(-1, size).to(torch.int64).numpy(), error.numpy()


def _descend_columns(
    q: torch.Tensor,
    kept: torch.Tensor,
    slopes: torch.Tensor,
    own: torch.Tensor | None,
    factor: torch.Tensor,
    damping: torch.Tensor,
    form: QFormat,
) -> torch.Tensor:
    """Improve some columns of the weights, `q` [G, O/G, b], in place; returns by how much.

    Only those that are `kept` change. `slopes` are half the error's derivatives there, `own` the outputs' own
    directions if they have any, `factor` [G, m, b] the problem's columns.
    """
    count = q.shape[2]
    moments = factor.transpose(1, 2) @ factor + torch.diag_embed(damping.expand(-1, count))
    # Columns first, so that each is contiguous.
    values, slopes, free = (t.permute(2, 0, 1).contiguous() for t in (q, slopes, kept))
    turned = None if own is None else own.permute(2, 0, 1).contiguous()
    rows = moments.permute(2, 1, 0)[..., None].contiguous()
    steps = torch.zeros_like(values)
    for i in range(count):
        row = rows[i] if turned is None else rows[i] + turned * turned[i]
        curvature = row[i].clamp_min(1e-30)
        new = floor_(values[i] - slopes[i] / curvature + 0.5).clamp_(form.min, form.max)
        steps[i] = (new - values[i]) * free[i]
        slopes += row * steps[i]
    result = steps.permute(1, 2, 0)
    q += result
    return result
