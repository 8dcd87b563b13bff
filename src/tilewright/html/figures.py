"""What the figures share: their size, an axis of layers, and bars along it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from tilewright.html.parts import label

__all__ = ["BOUNDS", "bars", "layer_figure", "plain_figure"]

BOUNDS = {"compute": ("#3b82c4", "circle"), "memory": ("#d9822b", "diamond")}
"""Colour and symbol of a layer by what bounds it."""
_TITLE_LETTERS = 40


def plain_figure(traces: Sequence[Any], height: int = 480, **layout: Any) -> go.Figure:
    """A figure of traces with the page's margins."""
    figure = go.Figure(list(traces))
    figure.update_layout(height=height, margin={"t": 30, "b": 50, "l": 60, "r": 20}, **layout)
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})
    return figure


def layer_figure(traces: Sequence[Any], names: Sequence[str], **layout: Any) -> go.Figure:
    """A figure with a line for each layer from top to bottom; traces give their y as 0, 1, ..."""
    figure = plain_figure(traces, height=150 + 26 * len(names), **layout)
    figure.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=[label(_short(name)) for name in names],
        range=[len(names) - 0.4, -0.6],
        automargin=True,
    )
    return figure


def _short(name: str) -> str:
    """A long name's end, which tells layers apart; the table has all of it."""
    return name if len(name) <= _TITLE_LETTERS else "…" + name[1 - _TITLE_LETTERS :]


def bars(title: str, names: Sequence[str], values: Sequence[float | None], unit: str) -> go.Bar:
    """A horizontal bar for each layer."""
    texts = [
        f"{label(name)}<br>{title}: {'–' if value is None else format(value, ',.6g')} {unit}"
        for name, value in zip(names, values, strict=True)
    ]
    return go.Bar(
        name=title,
        x=list(values),
        y=list(range(len(names))),
        orientation="h",
        hovertext=texts,
        hovertemplate="%{hovertext}<extra></extra>",
    )
