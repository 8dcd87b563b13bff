"""The sweep: which points to try, what is known of each, which meet the constraints, which are best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tilewright.boards.registry import get_board
from tilewright.errors import TilewrightError
from tilewright.sweep.evaluate import Evaluator
from tilewright.sweep.pareto import OBJECTIVES, front, rank
from tilewright.sweep.request import Constraints, Request
from tilewright.sweep.resources import capacity, estimate
from tilewright.sweep.space import Point
from tilewright.sweep.store import Store

__all__ = ["Design", "Found", "assess", "describe", "explore", "replace_estimates", "select"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A point and what is known of it.

    Attributes
    ----------
    values : its numbers by the names of `OBJECTIVES`, and `loss`, `clock_mhz`, `fmax_mhz` and each
        layer's bits, `layer_bits`; None where unknown
    error : why it cannot run; None if it can
    violations : constraints that it does not meet, and by which share each is exceeded
    measured : what was measured instead, and replaces values; None if nothing was
    estimated : what stood in their place
    """

    point: Point
    values: Mapping[str, Any]
    error: str | None = None
    violations: Mapping[str, float] = field(default_factory=dict)
    measured: Mapping[str, Any] | None = None
    estimated: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return describe(self.point)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The result of a sweep.

    Attributes
    ----------
    designs : all that are known
    front : numbers of the best among them that meet the constraints
    float_accuracy : of the float network; None without labels
    measured : results that were not known before
    """

    designs: tuple[Design, ...]
    front: tuple[int, ...]
    float_accuracy: float | None
    measured: int


def describe(point: Point) -> str:
    """A point in a line."""
    target = point.hardware.target
    board = "" if point.hardware.board is None else f" on {point.hardware.board}"
    return (
        f"{point.setting}, {target.rows}x{target.cols}, banks {target.act_depth}, accumulators "
        f"{target.acc_depth}, {target.clock_mhz:g} MHz{board}"
    )


def explore(request: Request, evaluator: Evaluator, store: Store) -> Found:
    """Try the points of the request, and choose among all that the study knows.

    Raises
    ------
    TilewrightError
        If no point can be built or run, an objective is unknown, or no point meets the constraints.
    """
    baseline = evaluator.float_accuracy()
    if request.search == "grid":
        wanted = list(dict.fromkeys(request.space.points()))
        store.remember(evaluator.study, wanted)
        evaluator.points(wanted)
    else:
        from tilewright.sweep.search import search

        wanted = search(request, evaluator, store, baseline)
    points = wanted if request.only else store.points(evaluator.study)
    results = evaluator.points(points)
    designs = [
        assess(point, result, baseline, request.constraints)
        for point, result in zip(points, results, strict=True)
    ]
    chosen = select(designs, request)
    if request.confirm:
        _confirm(designs, chosen, request, evaluator)
        chosen = select(designs, request)
    return Found(
        designs=tuple(designs),
        front=tuple(chosen),
        float_accuracy=baseline,
        measured=evaluator.measured,
    )


def _confirm(
    designs: list[Design], chosen: Sequence[int], request: Request, evaluator: Evaluator
) -> None:
    """Measure the most balanced of the chosen designs, and put that in the place of their estimates."""
    order = rank([designs[i].values for i in chosen], request.objectives)
    best = [chosen[i] for i in order[: request.confirm]]
    found = evaluator.confirmed([designs[i].point for i in best])
    for number, measured in zip(best, found, strict=True):
        designs[number] = replace_estimates(designs[number], measured, request.constraints)


def replace_estimates(
    design: Design, measured: Mapping[str, Any], constraints: Constraints
) -> Design:
    """A design with what was measured in the place of its estimates."""
    replaced = {name: design.values[name] for name in measured if name in design.values}
    values = {**design.values, **{name: measured[name] for name in replaced}}
    values["fps"] = values["clock_mhz"] * 1e6 / values["cycles"]
    return replace(
        design,
        values=values,
        violations=_violations(values, constraints),
        measured=measured,
        estimated=replaced,
    )


def assess(
    point: Point, result: Mapping[str, Any], baseline: float | None, constraints: Constraints
) -> Design:
    """What is known of a point, and which constraints it does not meet."""
    if "error" in result:
        return Design(point=point, values={}, error=result["error"])
    target = point.hardware.target
    resources = estimate(point.hardware)
    accuracy = result["accuracy"]
    values = {
        "accuracy": accuracy,
        "loss": None if accuracy is None or baseline is None else (baseline - accuracy) * 100,
        "sqnr_db": result["sqnr_db"],
        "layer_bits": result["weight_bits"],
        "cycles": result["cycles"],
        "fps": target.clock_mhz * 1e6 / result["cycles"],
        "memory_bytes": result["memory_bytes"],
        "clock_mhz": target.clock_mhz,
        **resources,
    }
    return Design(point=point, values=values, violations=_violations(values, constraints))


def _violations(values: Mapping[str, Any], constraints: Constraints) -> dict[str, float]:
    """Constraints that values do not meet, and by which share of the limit each is exceeded."""
    limits: list[tuple[str, float, float]] = []  # name, found, most
    if constraints.max_loss is not None and values["loss"] is not None:
        limits.append(("--max-loss", values["loss"], constraints.max_loss))
    if constraints.min_fps is not None:
        # At least so many a second are at most so many seconds for one.
        limits.append(("--min-fps", 1 / values["fps"], 1 / max(constraints.min_fps, 1e-9)))
    if constraints.fits is not None:
        for what, most in capacity(get_board(constraints.fits)).items():
            if values[what] is not None:
                limits.append((f"--fits ({what})", values[what], most))
        if values["fmax_mhz"] is not None:
            limits.append(("--fits (clock)", values["clock_mhz"], values["fmax_mhz"]))
    return {
        name: found / most - 1 if most > 0 else found
        for name, found, most in limits
        if found > most
    }


def select(designs: Sequence[Design], request: Request) -> list[int]:
    """Numbers of the best designs that meet the constraints.

    Raises
    ------
    TilewrightError
        If none can run, an objective is not known, or none meets the constraints: the nearest is named.
    """
    running = [i for i, design in enumerate(designs) if design.error is None]
    if not running:
        raise TilewrightError(f"No design of the sweep can run: {designs[0].error}")
    _check_known([designs[i] for i in running], request)
    meeting = [i for i in running if not designs[i].violations]
    if not meeting:
        raise TilewrightError(_nearest([designs[i] for i in running], request))
    chosen = front([designs[i].values for i in meeting], request.objectives)
    return [meeting[i] for i in chosen]


def _check_known(designs: Sequence[Design], request: Request) -> None:
    needed = [objective.name for objective in request.objectives]
    if request.constraints.max_loss is not None:
        needed.append("loss")
    if request.constraints.fits is not None:
        needed.append("luts")
    for name in needed:
        if all(design.values[name] is not None for design in designs):
            continue
        if name in ("accuracy", "loss"):
            raise TilewrightError(
                "Accuracy needs labelled images: give --test FILE (.npz with an array `labels`), "
                "or another --objective, sqnr_db for example"
            )
        raise TilewrightError(
            f"No resource model gives {name} here: it was fitted to designs of family ecp5 without "
            "decoder, ternary cells and own activations; take a board of that family, or a target with "
            'multiplier = "ecp5", or another objective'
        )


def _nearest(designs: Sequence[Design], request: Request) -> str:
    """The message that no design meets the constraints, with the one that comes nearest."""
    best = min(designs, key=lambda design: sum(design.violations.values()))
    missed = ", ".join(f"{name} by {share:.1%}" for name, share in best.violations.items())
    known = [name for name in ("accuracy", "fps", "luts") if best.values[name] is not None]
    numbers = ", ".join(
        f"{OBJECTIVES[name].text(best.values[name])} {OBJECTIVES[name].title}" for name in known
    )
    return (
        f"None of {len(designs)} designs meets the constraints; the nearest, {best} ({numbers}), "
        f"misses {missed}: relax that, or sweep more"
    )
