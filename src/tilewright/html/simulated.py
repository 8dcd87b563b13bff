"""What a simulation found: where the RTL differs from the reference, and its counters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tilewright.html.parts import Section, Table, number

__all__ = ["counters_section", "mismatch_section"]


def mismatch_section(images: Sequence[Sequence[Mapping[str, Any]]]) -> Section | None:
    """The tensors that differ, with the first place; None where all are equal."""
    rows = tuple(
        (
            f"image {image}, {found['tensor']}",
            number(found["count"]),
            number(found["total"]),
            ", ".join(map(str, found["coordinates"])),
            number(found["expected"]),
            number(found["actual"]),
        )
        for image, mismatches in enumerate(images)
        for found in mismatches
    )
    if not rows:
        return None
    return Section(
        key="mismatches",
        title="Where the RTL differs",
        text="Every tensor of every image in which a value is not that of the integer reference, with "
        "the first such value: channel, row, column.",
        table=Table(
            columns=("tensor", "differ", "of", "first at", "expected", "RTL"),
            rows=rows,
        ),
    )


def counters_section(counters: Mapping[str, int]) -> Section:
    """The accelerator's counters after the first image."""
    return Section(
        key="counters",
        title="Counters",
        text="The accelerator's registers after the first image (see the register map).",
        table=Table(
            columns=("register", "value"),
            rows=tuple((name, number(value)) for name, value in counters.items()),
        ),
    )
