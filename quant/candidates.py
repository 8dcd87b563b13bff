"""Candidate fractional lengths and the log of what became of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tilewright.quant.config import QuantConfig
from tilewright.quant.formats import QFormat

__all__ = ["FRAC_LIMIT", "Candidate", "Step", "choose", "initial_frac", "neighbourhood"]

FRAC_LIMIT = 48
"""Fractional lengths stay in -48..48: with them every scale is a normal float32."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A fractional length that was tried, and its summed absolute error."""

    frac: int
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One decision of the search.

    Attributes
    ----------
    tensor : graph input, layer, or "all" (static precision)
    kind : "weights", "features", "rounding" for what was done to the weights afterwards, or
        "equalized" for what was done to the float network before
    bits : bits of the tensor; 0 for "all", whose bits may differ, and for "equalized"
    initial : largest fractional length that does not overflow
    candidates : what was tried; empty where the format follows from another's
    frac : what was chosen; of weights with one an output channel the smallest
    note : why, where it is not the smallest error
    channels : what was chosen for each output channel; empty where there is one for all
    """

    tensor: str
    kind: str
    bits: int
    initial: int
    candidates: tuple[Candidate, ...]
    frac: int
    note: str = ""
    channels: tuple[int, ...] = ()

    def __str__(self) -> str:
        tried = ", ".join(f"{c.frac}: {c.error:.4g}" for c in self.candidates)
        tried = f" of {{{tried}}}" if tried else ""
        note = f" ({self.note})" if self.note else ""
        if self.kind == "equalized":
            return f"{self.tensor} equalized: {self.note}"
        chosen = str(self.frac)
        if self.channels:
            chosen = f"{min(self.channels)}..{max(self.channels)} (one a channel)"
        return f"{self.tensor} {self.kind}, {self.bits} bits: frac {chosen}{tried}{note}"


def initial_frac(low: float, high: float, bits: int, *, signed: bool = True) -> int:
    """Largest fractional length at which neither `low` nor `high` overflows `bits` bits.

    Limited to -48..48. A tensor of zeros gets bits - 1, the range [-1, 1) or [0, 2).
    """
    largest = max(abs(low), abs(high))
    if largest == 0.0:
        return bits - 1
    frac = min(bits - math.frexp(largest)[1] + 1, FRAC_LIMIT)
    while frac > -FRAC_LIMIT and not _fits(low, high, QFormat(bits, frac, signed)):
        frac -= 1
    return max(frac, -FRAC_LIMIT)


def _fits(low: float, high: float, form: QFormat) -> bool:
    return (
        math.floor(math.ldexp(low, form.frac) + 0.5) >= form.min
        and math.floor(math.ldexp(high, form.frac) + 0.5) <= form.max
    )


def neighbourhood(initial: int, config: QuantConfig) -> tuple[int, ...]:
    """Candidates around `initial`, in increasing order."""
    first = max(initial + config.lowest, -FRAC_LIMIT)
    last = min(initial + config.highest, FRAC_LIMIT)
    return tuple(range(first, last + 1))


def choose(fracs: Sequence[int], errors: Sequence[float]) -> tuple[int, tuple[Candidate, ...]]:
    """The candidate of least error (of equals the smallest, which has most headroom), and all."""
    candidates = tuple(Candidate(f, float(e)) for f, e in zip(fracs, errors, strict=True))
    return min(candidates, key=lambda c: (c.error, c.frac)).frac, candidates
