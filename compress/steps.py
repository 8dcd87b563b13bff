"""What is to be done to a network, in the order in which the user writes it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from tilewright.errors import TilewrightError, nearest

__all__ = ["KINDS", "MAX_ENTRIES", "TERNARY", "Step", "parse_steps"]

MAX_ENTRIES = 255
"""Entries of the largest codebook that a compressed stream holds."""

TERNARY = ("ttq", "ttq-equal", "twn", "shift")
"""Two trained scales a layer; one for both signs, trained; one that follows from the weights; a power
of two for each output channel, which the array runs exactly in 2-bit weights."""

KINDS = {
    "low-rank": "factorize until convolutions take this share of the cycles, as in 2x",
    "prune": "zero this share of all weights, one by one, as in 0.9",
    "vectors": "zero this share of the convolutions' weight tiles, bank-balanced, as in 0.75",
    "ternary": f"weights of three values: {', '.join(TERNARY)}",
    "share": f"a codebook of so many weights a layer, 1..{MAX_ENTRIES}",
    "huffman": "code the weight stream by frequency",
}
"""Methods and what their value means."""

_LEVELS = {"low-rank": 0, "prune": 1, "vectors": 1, "ternary": 2, "share": 3, "huffman": 4}
"""A method undoes those of a higher level."""


@dataclass(frozen=True, slots=True)
class Step:
    """One method and its value (0 where there is none)."""

    kind: str
    value: float
    option: str = ""

    def __str__(self) -> str:
        value = self.option or (f"{self.value:g}" if self.value else "")
        return f"{self.kind} {value}".strip()


def parse_steps(texts: Sequence[str]) -> tuple[Step, ...]:
    """Steps from texts such as "prune 0.9", "low-rank 2x" and "huffman".

    Raises
    ------
    TilewrightError
        If a method is unknown or given twice, a value is out of its range, or one undoes another.
    """
    steps = tuple(_step(text) for text in texts)
    for first, second in itertools.pairwise(steps):
        if first.kind == second.kind:
            raise TilewrightError(f"Compression: {first.kind} is given twice; give it once")
        if _LEVELS[second.kind] < _LEVELS[first.kind]:
            raise TilewrightError(
                f"Compression: {second.kind} after {first.kind} would undo it; the order is "
                f"{', '.join(_LEVELS)}, with prune and vectors as you like"
            )
    kinds = {step.kind for step in steps}
    if "ternary" in kinds and kinds & {"prune", "vectors"}:
        raise TilewrightError(
            "Compression: ternary weights find zeros of their own; leave out prune and vectors"
        )
    return steps


def _step(text: str) -> Step:
    kind, _, value = text.strip().partition(" ")
    value = value.strip()
    if kind not in KINDS:
        raise TilewrightError(f"Compression has no method {kind!r}; {nearest(kind, KINDS)}")
    if kind == "huffman":
        if value:
            raise TilewrightError(f"Compression: huffman takes no value, not {value!r}")
        return Step(kind, 0.0)
    if kind == "ternary":
        if (value or "ttq") not in TERNARY:
            raise TilewrightError(f"Compression: ternary is {', '.join(TERNARY)}, not {value!r}")
        return Step(kind, 0.0, value or "ttq")
    try:
        number = float(value.removesuffix("x") if kind == "low-rank" else value)
    except ValueError:
        raise TilewrightError(
            f"Compression: {kind} needs a number ({KINDS[kind]}), not {value!r}"
        ) from None
    good = {
        "prune": 0.0 < number < 1.0,
        "vectors": 0.0 < number < 1.0,
        "low-rank": 1.0 < number <= 100.0,
        "share": number.is_integer() and 1 <= number <= MAX_ENTRIES,
    }
    if not good[kind]:
        raise TilewrightError(f"Compression: {kind} {value} is out of range: {KINDS[kind]}")
    return Step(kind, number)
