"""The resource model: LUTs, flip-flops, multiplier blocks and block RAMs of an accelerator.

Each unit's count is a sum of features of the target, with coefficients fitted to what Yosys made of
other targets (benchmarks/resources.py).
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from importlib import resources
from typing import Any

from tilewright.boards.board import Board
from tilewright.boards.parts import PARTS
from tilewright.boards.registry import BOARDS
from tilewright.compiler.target import Target
from tilewright.errors import TilewrightError
from tilewright.sweep.features import features
from tilewright.sweep.space import Hardware

__all__ = ["NAMES", "capacity", "clock_features", "estimate", "load_model", "predict"]

NAMES = {"luts": "lut", "ffs": "ff", "dsps": "dsp", "brams": "bram"}
"""What sweeps call what synthesis counts."""

Model = Mapping[str, Any]


@functools.cache
def load_model() -> Model:
    """The fitted model: for each family the coefficients of each unit, and the boards' own part."""
    text = (resources.files("tilewright.sweep") / "model.json").read_text("utf-8")
    found: Model = json.loads(text)
    return found


def predict(
    target: Target, units: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> dict[str, float]:
    """What a target takes of each resource, by the coefficients of each unit."""
    known = features(target)
    found = dict.fromkeys(NAMES.values(), 0.0)
    for terms in units.values():
        for what, coefficients in terms.items():
            found[what] += sum(value * known[name] for name, value in coefficients.items())
    return found


def estimate(hardware: Hardware) -> dict[str, int | float | None]:
    """Estimated resources and clock; None where no model was fitted.

    None was to other families, decoders, ternary cells and registered activations.

    On a board its memory and link are counted too.
    """
    target, model = hardware.target, load_model()
    family = model["families"].get(target.multiplier)
    if family is None or target.decoder_lanes or target.ternary or target.activations:
        return dict.fromkeys((*NAMES, "fmax_mhz"))
    found = predict(target, family["units"])
    rest = model["boards"].get(hardware.board, {})
    counts: dict[str, int | float | None] = {
        name: round(found[what] + rest.get(what, 0)) for name, what in NAMES.items()
    }
    known = clock_features(target.rows, target.cols, on_board=hardware.board is not None)
    period = sum(a * b for a, b in zip(_clock_model()["period_ns"], known, strict=True))
    return {**counts, "fmax_mhz": round(1000 / period, 1)}


@functools.cache
def _clock_model() -> Model:
    text = (resources.files("tilewright.sweep") / "clock.json").read_text("utf-8")
    found: Model = json.loads(text)
    return found


def clock_features(rows: int, cols: int, *, on_board: bool) -> tuple[float, ...]:
    """What the period grows with: a constant, the doublings of the array's cells, and a board's rest."""
    return 1.0, math.log2(rows * cols), float(on_board)


def capacity(board: Board) -> dict[str, int]:
    """What a board has of each resource, and of memory.

    Raises
    ------
    TilewrightError
        If its part's resources are not known.
    """
    if board.part not in PARTS:
        known = ", ".join(b.name for b in BOARDS.values() if b.part in PARTS)
        raise TilewrightError(
            f"Option --fits: no resource model was fitted to the {board.part} of {board.name!r}; "
            f"known are the parts of {known}"
        )
    cells = PARTS[board.part]
    return {
        **{name: cells[what] for name, what in NAMES.items()},
        "memory_bytes": board.memory.size,
    }
