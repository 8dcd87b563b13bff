"""Resources of accelerators by Yosys, and the model fitted to them.

Designs of different arrays, widths, buffers and buses are synthesized for each family, whole and
flattened; what was synthesized before is found in the user's cache by its Verilog. The model of
tilewright.sweep.resources is fitted to some of them, and compared with the others.

    python benchmarks/resources.py
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from measuring import save

from tilewright.boards.registry import BOARDS
from tilewright.compiler.target import Target
from tilewright.errors import TilewrightError
from tilewright.outputs import to_json
from tilewright.simulation import cache_folder
from tilewright.sweep.features import TERMS, features
from tilewright.sweep.resources import predict
from tilewright.sweep.synthesis import (
    RESOURCES,
    SYNTHESIS,
    Counts,
    synthesize,
    synthesize_rest,
    total,
)

Array = npt.NDArray[np.float64]

MODEL = Path(__file__).parents[1] / "src" / "tilewright" / "sweep" / "model.json"
FITTED, TESTED = 16, 8
"""Designs that the model is fitted to, and others that it is compared with, besides those of LARGE."""
SEED = 7
CHOICES: dict[str, tuple[Any, ...]] = {
    "array": (
        (2, 2),
        (4, 4),
        (4, 4),
        (6, 6),
        (8, 8),
        (2, 6),
        (4, 2),
        (4, 8),
        (8, 4),
        (6, 4),
        (8, 6),
    ),
    "act_depth": (256, 512, 1024, 2048, 4096),
    "acc_depth": (32, 64, 128, 256, 512),
    "act_bits": (4, 5, 6, 8),
    "weight_bits": (4, 5, 6, 8),
    "bus_bytes": (2, 4, 8),
    "burst_beats": (16, 32),
    "fifo_bursts": (2, 4),
    "pack_pixels": (1, 8),
    "multiplier_stages": (3, 4, 5),
    "weights_per_multiplier": (1, 2),
    "edge_registers": (0, 1, 1, 2),
    "leaky": (False, False, True),
}
LARGE = ((8, 16), (16, 8), (10, 10), (12, 12), (12, 16), (16, 16))
"""Arrays of one more design that the model is fitted to, and one more that it is compared with, each."""


def designs(family: str, fitted: int, tested: int) -> tuple[list[Target], list[Target]]:
    """Targets drawn from CHOICES, to fit the model to and to compare: always the same, in the same order."""
    drawn = list(itertools.islice(_draw(family, CHOICES), fitted + tested))
    large = [
        list(itertools.islice(_draw(family, CHOICES | {"array": (array,)}, SEED + number), 2))
        for number, array in enumerate(LARGE)
    ]
    firsts, seconds = ([pair[i] for pair in large] for i in (0, 1))
    return drawn[:fitted] + firsts, drawn[fitted:] + seconds


def _draw(family: str, choices: Mapping[str, Sequence[Any]], seed: int = SEED) -> Iterator[Target]:
    source = random.Random(seed)
    while True:
        fields = {name: source.choice(values) for name, values in choices.items()}
        fields["rows"], fields["cols"] = fields.pop("array")
        try:
            yield Target(name="drawn", multiplier=family, **fields)
        except TilewrightError:
            continue  # parameters that exclude each other


def measure(targets: Sequence[Target], family: str) -> list[tuple[Target, Counts]]:
    """Synthesize designs."""
    found = []
    for number, target in enumerate(targets, 1):
        start = time.monotonic()
        counts = synthesize(target, family, cache_folder())
        found.append((target, counts))
        print(f"{number}/{len(targets)} {target.rows}x{target.cols}: {total(counts)}, "
              f"{time.monotonic() - start:.0f} s", flush=True)  # fmt: skip
    return found


def fit(found: Sequence[tuple[Target, Counts]]) -> dict[str, dict[str, dict[str, float]]]:
    """Coefficients of each unit: least squares of the errors relative to the whole design's count."""
    known = [features(target) for target, _ in found]
    wholes = [total(counts) for _, counts in found]
    units: dict[str, dict[str, dict[str, float]]] = {}
    for unit, terms in TERMS.items():
        units[unit] = {}
        for what, names in terms.items():
            weights = np.array([1 / max(whole[what], 1) for whole in wholes])
            table = np.array([[one[name] for name in names] for one in known])
            counted = np.array([counts[unit][what] for _, counts in found], np.float64)
            solved = not_negative(table * weights[:, None], counted * weights)
            units[unit][what] = {
                name: float(f"{value:.6g}")
                for name, value in zip(names, solved, strict=True)
                if value > 0
            }
    return units


def not_negative(table: Array, wanted: Array, rounds: int = 5000) -> Array:
    """Least squares with coefficients of at least 0, by coordinate descent."""
    scale = np.maximum(np.sqrt(np.square(table).sum(axis=0)), 1e-30)
    unit = table / scale
    gram, target = unit.T @ unit + 1e-6 * np.eye(len(scale)), unit.T @ wanted
    solved = np.zeros(len(scale))
    for _ in range(rounds):
        for i in range(len(scale)):
            solved[i] = max(solved[i] + (target[i] - gram[i] @ solved) / gram[i, i], 0.0)
    result: Array = solved / scale
    return result


def errors(
    units: Mapping[str, Any], found: Sequence[tuple[Target, Counts]]
) -> dict[str, dict[str, float]]:
    """Median and worst relative error of each resource over some designs."""
    result = {}
    for what in RESOURCES:
        wrong = [
            abs(predict(target, units)[what] / max(total(counts)[what], 1) - 1)
            for target, counts in found
        ]
        result[what] = {"median": round(float(np.median(wrong)), 4), "worst": round(max(wrong), 4)}
    return result


def boards(family: str) -> dict[str, dict[str, int]]:
    """What the boards of a family hold besides the accelerator."""
    found = {}
    for board in BOARDS.values():
        if board.family == family:
            found[board.name] = synthesize_rest(board, cache_folder())
            print(f"{board.name} besides its accelerator: {found[board.name]}", flush=True)
    return found


def main() -> int:
    """Measure, fit and compare."""
    parser = argparse.ArgumentParser(description="Resources of accelerators, and their model")
    parser.add_argument("--family", default="ecp5", choices=SYNTHESIS)
    parser.add_argument("--fitted", type=int, default=FITTED, help="designs (default %(default)s)")
    parser.add_argument("--tested", type=int, default=TESTED, help="designs (default %(default)s)")
    options = parser.parse_args()
    start = time.monotonic()
    fitted, tested = (
        measure(targets, options.family)
        for targets in designs(options.family, options.fitted, options.tested)
    )
    rest = boards(options.family)
    units = fit(fitted)
    record = {
        "family": options.family,
        "yosys": SYNTHESIS[options.family],
        "seconds": round(time.monotonic() - start, 1),
        "errors": {"fitted": errors(units, fitted), "tested": errors(units, tested)},
        "designs": [
            {"fitted": number < len(fitted), "parameters": _drawn(target),
             "counted": total(counts), "predicted": _rounded(predict(target, units)),
             "units": counts}
            for number, (target, counts) in enumerate(fitted + tested)
        ],
    }  # fmt: skip
    print(json.dumps(record["errors"], indent=2))
    save("resources", record, ("pyosys", "amaranth"))
    model = {
        "families": {options.family: {"units": units, "errors": record["errors"]}},
        "boards": rest,
    }
    MODEL.write_text(to_json(model), "utf-8")
    return 0


def _drawn(target: Target) -> dict[str, Any]:
    """The parameters that designs differ in."""
    names = ("rows", "cols", *CHOICES)
    return {name: getattr(target, name) for name in names if name != "array"}


def _rounded(counts: Mapping[str, float]) -> dict[str, int]:
    return {what: round(count) for what, count in counts.items()}


if __name__ == "__main__":
    sys.exit(main())
