"""What a sweep is asked for, checked: the space, the objectives, the constraints, how it is searched."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tilewright.boards.registry import get_board
from tilewright.compress.steps import parse_steps
from tilewright.config import Config
from tilewright.errors import TilewrightError
from tilewright.quant.formats import MAX_BITS, MIN_BITS
from tilewright.sweep.pareto import Objective, parse_objectives
from tilewright.sweep.resources import capacity
from tilewright.sweep.space import AUTO, Setting, Space

__all__ = ["Constraints", "Request", "parse_request"]

SEARCHES = ("grid", "nsga2", "tpe")
_DEFAULT_POINTS = 100
_FIELDS = {"act_depth": "act_depth", "acc_depth": "acc_depth", "bus_bytes": "bus_bytes",
           "weights_per_multiplier": "weights_per_multiplier", "clock": "clock_mhz"}  # fmt: skip
"""Fields of a target by the option that lists their values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """What a point must meet.

    Attributes
    ----------
    max_loss : percentage points of accuracy lost against the float network, at most
    min_fps : images a second, at least
    fits : board whose part and memory must have room for it, and whose clock it must reach
    """

    max_loss: float | None = None
    min_fps: float | None = None
    fits: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A sweep.

    Attributes
    ----------
    search : "grid" (all points), "nsga2" or "tpe" (Optuna)
    points : most points that a search tries
    seed : of the search
    confirm : how many of the best points are measured instead of estimated
    only : choose among the points asked for, not among all that the study holds
    """

    space: Space
    objectives: tuple[Objective, ...]
    constraints: Constraints
    search: str
    points: int
    seed: int
    confirm: int
    only: bool


def parse_request(options: argparse.Namespace, config: Config) -> Request:
    """What the command line asks for.

    Raises
    ------
    TilewrightError
        If an option is wrong, or options do not go together.
    """
    boards = _boards(options.board)
    if options.board and options.target:
        raise TilewrightError("Options --board and --target exclude each other: a board has one")
    if options.board and options.bus_bytes:
        raise TilewrightError("Option --bus-bytes is not for --board: a board has one bus")
    if options.fits is not None:
        capacity(get_board(options.fits))
    for option in ("points", "confirm"):
        found = getattr(options, option)
        if found is not None and found < 1:
            raise TilewrightError(f"Option --{option} must be positive, not {found}")
    for option in ("max_loss", "min_fps"):
        found = getattr(options, option)
        if found is not None and not found >= 0:
            flag = option.replace("_", "-")
            raise TilewrightError(f"Option --{flag} must not be negative, not {found:g}")
    if options.points is not None and options.search == "grid":
        raise TilewrightError("Option --points is for --search nsga2 or tpe: a grid has all points")
    return Request(
        space=Space(
            settings=_settings(options),
            boards=boards,
            base=config.target,
            arrays=_arrays(options.arrays, config, boards),
            fields=_fields(options),
            least_bits=_own_bits(config),
        ),
        objectives=parse_objectives(options.objectives),
        constraints=Constraints(
            max_loss=options.max_loss, min_fps=options.min_fps, fits=options.fits
        ),
        search=options.search,
        points=options.points or _DEFAULT_POINTS,
        seed=options.seed or 0,
        confirm=options.confirm or 0,
        only=options.only,
    )


def _boards(text: str | None) -> tuple[str | None, ...]:
    if text is None:
        return (None,)
    return tuple(get_board(name.strip()).name for name in text.split(","))


def _settings(options: argparse.Namespace) -> tuple[Setting, ...]:
    """Every combination of bits and compression, uniform ones first."""
    separate = options.sweep_weight_bits or options.sweep_feature_bits or options.sweep_average_bits
    if options.sweep_bits and separate:
        raise TilewrightError(
            "Option --bits gives weights and feature maps the same bits: leave out --weight-bits, "
            "--feature-bits and --average-bits, or it"
        )
    recipes = [()] if not options.recipes else [_recipe(text) for text in options.recipes]
    if options.sweep_bits or not separate:
        widths = _widths("--bits", options.sweep_bits or "8")
        bits = [Setting(weight_bits=b, feature_bits=b) for b in widths]
    else:
        features = _widths("--feature-bits", options.sweep_feature_bits or "8")
        averages = _numbers("--average-bits", options.sweep_average_bits or "", float)
        weights = options.sweep_weight_bits or ("" if averages else "8")
        bits = [
            Setting(weight_bits=w, feature_bits=x)
            for w, x in itertools.product(_widths("--weight-bits", weights), features)
        ]
        bits += [
            Setting(average_bits=mean, feature_bits=x)
            for mean, x in itertools.product(averages, features)
        ]
    return tuple(
        Setting(
            weight_bits=b.weight_bits,
            feature_bits=b.feature_bits,
            average_bits=b.average_bits,
            compress=recipe,
        )
        for recipe, b in itertools.product(recipes, bits)
    )


def _own_bits(config: Config) -> tuple[int, int]:
    """Most bits of weights and of feature maps that layers or kinds have of their own."""
    own = [*config.quant.layers.values(), *config.quant.kinds.values()]
    return (
        max([MIN_BITS, *(bits.weight_bits or 0 for bits in own)]),
        max([MIN_BITS, *(bits.feature_bits or 0 for bits in own)]),
    )


def _recipe(text: str) -> tuple[str, ...]:
    """Steps of compression with commas between; "none" for no compression."""
    if text.strip() == "none":
        return ()
    return tuple(str(step) for step in parse_steps([part.strip() for part in text.split(",")]))


def _widths(option: str, text: str) -> tuple[int, ...]:
    found = _numbers(option, text, int)
    for bits in found:
        if not MIN_BITS <= bits <= MAX_BITS:
            raise TilewrightError(f"Option {option}: {bits} must be in {MIN_BITS}..{MAX_BITS}")
    return found


def _numbers(option: str, text: str, kind: Callable[[str], Any]) -> tuple[Any, ...]:
    """Different numbers from text with commas between, in the order given; none from no text."""
    if not text:
        return ()
    try:
        return tuple(dict.fromkeys(kind(part) for part in text.split(",")))
    except ValueError:
        what = "whole numbers" if kind is int else "numbers"
        raise TilewrightError(
            f"Option {option} must be {what} with commas between, not {text!r}"
        ) from None


def _arrays(
    text: str | None, config: Config, boards: Sequence[str | None]
) -> tuple[tuple[int, int], ...]:
    """Arrays as 4x4,8x8; every board's own, or the target's, if none are given."""
    if text is None:
        targets = [config.target if b is None else get_board(b).target for b in boards]
        return tuple(dict.fromkeys((target.rows, target.cols) for target in targets))
    if text == "auto":
        return AUTO["arrays"]
    found = []
    for part in text.split(","):
        sizes = part.split("x")
        if len(sizes) != 2 or not all(size.strip().isdigit() for size in sizes):
            raise TilewrightError(
                f"Option --arrays must be auto, or ROWSxCOLS with commas between, not {part!r}"
            )
        found.append((int(sizes[0]), int(sizes[1])))
    return tuple(dict.fromkeys(found))


def _fields(options: argparse.Namespace) -> Mapping[str, tuple[Any, ...]]:
    result: dict[str, tuple[Any, ...]] = {}
    for option, field in _FIELDS.items():
        text = getattr(options, option)
        if text == "auto" and field in AUTO:
            result[field] = AUTO[field]
        elif text is not None:
            kind = float if field == "clock_mhz" else int
            result[field] = _numbers(f"--{option.replace('_', '-')}", text, kind)
    return result
