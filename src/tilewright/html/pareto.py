"""A sweep's points: each pair of objectives as a picture, the front, and what was measured of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import plotly.graph_objects as go

from tilewright.html.figures import plain_figure
from tilewright.html.parts import Copy, Section, Table, label, number

__all__ = ["confirmed_section", "front_section", "pareto_sections"]

Points = Sequence[Mapping[str, Any]]

_TITLES = {
    "accuracy": "accuracy %", "sqnr_db": "SQNR dB", "cycles": "cycles", "fps": "images / s",
    "luts": "LUTs", "ffs": "flip-flops", "dsps": "multiplier blocks", "brams": "block RAMs",
    "memory_bytes": "memory bytes", "fmax_mhz": "MHz reached", "clock_mhz": "MHz",
}  # fmt: skip
_FORMS = {
    "accuracy": ".2f",
    "sqnr_db": ".1f",
    "fps": ",.1f",
    "fmax_mhz": ".1f",
    "clock_mhz": ",.6g",
}
"""How numbers are written that are no counts."""
_LOGARITHMIC = ("cycles", "fps", "memory_bytes")


def _value(point: Mapping[str, Any], name: str) -> float | None:
    value: float | None = point[name]
    return value * 100 if name == "accuracy" and value is not None else value


def _text(point: Mapping[str, Any], name: str) -> str:
    return number(_value(point, name), _FORMS.get(name, ",.0f"))


def pareto_sections(
    points: Points, front: Sequence[int], objectives: Sequence[str]
) -> list[Section]:
    """A section for each pair of objectives; with one objective, over cycles."""
    pairs = list(combinations(objectives, 2))
    if not pairs:
        other = "cycles" if objectives[0] != "cycles" else "luts"
        pairs = [(objectives[0], other)] if points[0][other] is not None else []
    sections = [_pair(points, front, second, first) for first, second in pairs]
    # The commands of points off the front for those who use no mouse: once, with the first picture.
    others = tuple(
        Copy(p["name"], p["command"])
        for i, p in enumerate(points)
        if p["command"] and i not in set(front)
    )
    return [replace(section, copies=others) for section in sections[:1]] + sections[1:]


def _pair(points: Points, front: Sequence[int], across: str, up: str) -> Section:
    best = set(front)
    inside = [i for i, p in enumerate(points) if i not in best and not p["violations"]]
    outside = [i for i, p in enumerate(points) if p["violations"]]
    kinds = (
        ("others", inside, "circle-open", "#5b8def"),
        ("outside the constraints", outside, "x-thin-open", "#8a8a8a"),
        ("on the front", list(front), "diamond", "#ef553b"),
    )
    traces = [
        go.Scatter(
            name=name,
            x=[_value(points[i], across) for i in numbers],
            y=[_value(points[i], up) for i in numbers],
            mode="markers",
            marker={"size": 11 if symbol == "diamond" else 7, "symbol": symbol, "color": color},
            hovertext=[_hover(points[i]) for i in numbers],
            hovertemplate="%{hovertext}<extra></extra>",
            customdata=[points[i]["command"] for i in numbers],
        )
        for name, numbers, symbol, color in kinds
        if numbers
    ]
    xaxis, yaxis = (
        {"title": _TITLES[name], "type": "log" if name in _LOGARITHMIC else "linear"}
        for name in (across, up)
    )
    shown = list(dict.fromkeys((up, across)))
    return Section(
        key=f"pareto-{up}-{across}",
        title=f"{_TITLES[up]} over {_TITLES[across]}",
        text="Every point that was tried. No point beats one of the front in all objectives. A click on a "
        "point copies the command that tries it alone and measures it; under the first picture's numbers "
        "and the front they stand as text.",
        table=Table(
            columns=("point", *(_TITLES[name] for name in shown), "on the front"),
            rows=tuple(
                (p["name"], *(_text(p, name) for name in shown), "yes" if i in best else "–")
                for i, p in enumerate(points)
            ),
        ),
        figure=plain_figure(traces, xaxis=xaxis, yaxis=yaxis),
    )


def _hover(point: Mapping[str, Any]) -> str:
    lines = [label(point["name"])]
    lines += [
        f"{title}: {_text(point, name)}"
        for name, title in _TITLES.items()
        if point[name] is not None and name != "clock_mhz"
    ]
    missed = [f"misses {label(name)} by {share:.1%}" for name, share in point["violations"].items()]
    return "<br>".join([*lines, *missed])


def front_section(points: Points, front: Sequence[int]) -> Section:
    """The front as a table, with each point's command to copy."""
    known = [n for n in _TITLES if any(points[i][n] is not None for i in front)]
    return Section(
        key="front",
        title="Pareto front",
        text="Points that no other beats in all objectives, with the command that tries each alone and "
        "measures it.",
        table=Table(
            columns=("point", *(_TITLES[name] for name in known)),
            rows=tuple(
                (points[i]["name"], *(_text(points[i], name) for name in known)) for i in front
            ),
        ),
        copies=tuple(
            Copy(points[i]["name"], points[i]["command"]) for i in front if points[i]["command"]
        ),
    )


def confirmed_section(points: Points) -> Section | None:
    """What was measured beside what was estimated; None if nothing was measured."""
    rows = []
    for point in points:
        for name, was in point["estimated"].items():
            if name not in _TITLES or was is None or point["measured"].get(name) is None:
                continue
            found = point["measured"][name]
            wrong = "–" if not found else f"{(was / found - 1) * 100:+.2f}"
            rows.append(
                (point["name"], _TITLES[name], number(was, ",.6g"), number(found, ",.6g"), wrong)
            )
    if not rows:
        return None
    return Section(
        key="measured",
        title="Estimated and measured",
        text="Cycles of the RTL's simulation, resources of Yosys, and the clock of nextpnr beside the "
        "estimates that they replaced.",
        table=Table(
            columns=("point", "what", "estimated", "measured", "error %"), rows=tuple(rows)
        ),
    )
