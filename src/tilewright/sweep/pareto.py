"""Objectives, constraints, and the points that no other beats in everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilewright.errors import TilewrightError, nearest

__all__ = ["OBJECTIVES", "Objective", "costs", "front", "parse_objectives", "rank"]

Values = Mapping[str, Any]
"""What is known of a point; None where it is not."""


@dataclass(frozen=True, slots=True)
class Objective:
    """A number of a point that is to be large or small."""

    name: str
    title: str
    maximize: bool = False
    form: str = ",.0f"
    factor: float = 1.0

    def text(self, value: float | None) -> str:
        """The value as tables show it."""
        return "–" if value is None else format(value * self.factor, self.form)


OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (
        Objective("accuracy", "accuracy %", maximize=True, form=".2f", factor=100),
        Objective("sqnr_db", "SQNR dB", maximize=True, form=".1f"),
        Objective("cycles", "cycles"),
        Objective("fps", "images / s", maximize=True, form=",.1f"),
        Objective("luts", "LUTs"),
        Objective("ffs", "FFs"),
        Objective("dsps", "DSPs"),
        Objective("brams", "BRAMs"),
        Objective("memory_bytes", "memory bytes"),
    )
}
"""By name."""


def parse_objectives(text: str) -> tuple[Objective, ...]:
    """Objectives from their names with commas between.

    Raises
    ------
    TilewrightError
        If one is unknown, or given twice.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in OBJECTIVES:
            raise TilewrightError(
                f"Option --objective: {name!r} is unknown; {nearest(name, OBJECTIVES)}"
            )
    if len(set(names)) < len(names):
        raise TilewrightError(f"Option --objective: one of {text} is given twice; give each once")
    return tuple(OBJECTIVES[name] for name in names)


def costs(points: Sequence[Values], objectives: Sequence[Objective]) -> np.ndarray[Any, Any]:
    """What each point costs in each objective, less being better: float64 [points, objectives]."""
    signs = [-1.0 if objective.maximize else 1.0 for objective in objectives]
    rows = [
        [sign * point[o.name] for sign, o in zip(signs, objectives, strict=True)]
        for point in points
    ]
    return np.array(rows, np.float64).reshape(len(points), len(objectives))


def front(points: Sequence[Values], objectives: Sequence[Objective]) -> list[int]:
    """Numbers of the points that no other beats: in no objective worse, in one better.

    Of points that are equal in every objective the first is kept.
    """
    table = costs(points, objectives)
    kept = []
    for number, row in enumerate(table):
        noworse = (table <= row).all(axis=1)
        better = noworse & (table < row).any(axis=1)
        equal = noworse & ~better
        if not better.any() and not equal[:number].any():
            kept.append(number)
    return kept


def rank(points: Sequence[Values], objectives: Sequence[Objective]) -> list[int]:
    """Numbers of the points, the most balanced first: by their costs, each scaled to 0..1, squared."""
    table = costs(points, objectives)
    extent = np.maximum(np.ptp(table, axis=0), 1e-30) if len(table) else 1.0
    scaled = (table - table.min(axis=0, initial=np.inf)) / extent
    return [int(i) for i in np.argsort(np.square(scaled).sum(axis=1), kind="stable")]
