"""The schedule: what each unit does when, by the cycle model; the whole run, and layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from tilewright.html.figures import plain_figure
from tilewright.html.parts import Section, Table, label, number

__all__ = ["timeline_section"]

Spans = Sequence[Mapping[str, Any]]

_UNITS = ("load", "weights", "calc", "store")
_WHOLE = "whole run"
_COLUMNS = ("layer", "unit", "from cycle", "to", "at work", "stalled", "instructions")
_SHADES = ("#2b6ca8", "#6aaee0")
"""Of work, by turns, so that neighbouring layers can be told apart."""
_STALLED = "#d9822b"


def timeline_section(timeline: Mapping[str, Any] | None) -> Section | None:
    """A lane for each unit; None where the cycle model was not asked.

    Parameters
    ----------
    timeline : a `Timeline` as a dictionary
    """
    if timeline is None or not timeline["overview"]:
        return None
    overview, layers = timeline["overview"], timeline["layers"]
    total = sum(layer["instructions"] for layer in layers)
    joined = len(overview) < total
    how = (
        f" Of {total:,} instructions neighbours are joined into {len(overview):,} pieces." * joined
    )
    views = [(_WHOLE, _WHOLE)]
    for place, layer in enumerate(layers):
        shown, there = len(layer["spans"]), layer["instructions"]
        first = "first " if shown < there else ""
        views.append((str(place), f"{layer['layer']}: {first}{shown:,} of {there:,} instructions"))
    return Section(
        key="timeline",
        title="Timeline",
        text="What each unit does when, as the cycle model predicts it for one image. Within an "
        "instruction the unit is at work or stalled: it waits for weights, for memory, or for who "
        "takes what it gives (WEIGHTS mostly for the array, which costs nothing); the stalled part is "
        "drawn first. Layers have dark and light blue by turns. In the gaps a unit waits for another "
        f"one, or for an instruction.{how} A single layer shows its instructions one by one. Drag to "
        "zoom, double-click to return.",
        table=Table(columns=_COLUMNS, rows=_rows(overview)),
        figure=_figure(overview, layers),
        views=tuple(views),
    )


def _rows(spans: Spans) -> tuple[tuple[str, ...], ...]:
    """Sums of each layer and unit, in the order in which layers begin."""
    sums: dict[tuple[str, str], list[int]] = {}
    for span in sorted(spans, key=lambda span: span["begin"]):
        entry = sums.setdefault((span["layer"], span["unit"]), [span["begin"], 0, 0, 0, 0])
        entry[1] = max(entry[1], span["end"])
        for place, what in enumerate(("worked", "stalled", "instructions"), start=2):
            entry[place] += span[what]
    return tuple(
        (layer, unit.upper(), *(number(value) for value in values))
        for (layer, unit), values in sums.items()
    )


def _figure(overview: Spans, layers: Sequence[Mapping[str, Any]]) -> go.Figure:
    shades = {layer["layer"]: _SHADES[i % 2] for i, layer in enumerate(layers)}
    traces = _traces(_WHOLE, overview, shades)
    for place, layer in enumerate(layers):
        traces += _traces(str(place), layer["spans"], shades)
    figure = plain_figure(
        traces, height=330, barmode="overlay", bargap=0.15, xaxis={"title": "cycle"}
    )
    lanes = [unit.upper() for unit in reversed(_UNITS)]
    figure.update_yaxes(categoryorder="array", categoryarray=lanes, fixedrange=True)
    figure.update_layout(hovermode="closest", dragmode="zoom")
    return figure


def _traces(view: str, spans: Spans, shades: Mapping[str, str]) -> list[go.Bar]:
    """Work and stalls of a view; the page shows one view at a time."""
    found = []
    for what, title in (("worked", "at work"), ("stalled", "stalled")):
        chosen = [span for span in spans if span[what]]
        colors: Any = _STALLED
        if what == "worked":
            colors = [shades[span["layer"]] for span in chosen]
        found.append(
            go.Bar(
                name=title,
                meta=view,
                visible=view == _WHOLE,
                base=[s["begin"] + (s["stalled"] if what == "worked" else 0) for s in chosen],
                x=[span[what] for span in chosen],
                y=[span["unit"].upper() for span in chosen],
                orientation="h",
                marker={"color": colors, "line": {"width": 0}},
                customdata=[
                    [label(s["layer"]), s["begin"], s["end"], s["instructions"]] for s in chosen
                ],
                hovertemplate=f"%{{customdata[0]}}: %{{y}}<br>{title} %{{x:,}} of the cycles "
                "%{customdata[1]:,} to %{customdata[2]:,}<br>instructions: %{customdata[3]:,}"
                "<extra></extra>",
            )
        )
    return found
