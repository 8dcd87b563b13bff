"""What the hardware takes of the board: estimated, measured, available."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from tilewright.html.figures import plain_figure
from tilewright.html.parts import Section, Table, number

__all__ = ["hardware_section"]


def hardware_section(rows: Sequence[Mapping[str, Any]], board: str | None) -> Section | None:
    """Shares of what the board has as a picture, where there is a board; None for nothing known.

    Parameters
    ----------
    rows : `Resource`s as dictionaries
    board : its name
    """
    if not rows:
        return None
    table = tuple(
        (
            row["name"],
            number(row["estimated"], ","),
            number(row["measured"], ","),
            number(row["available"], ","),
            number(_share(row, "estimated"), ".1f"),
            number(_share(row, "measured"), ".1f"),
        )
        for row in rows
    )
    columns = ("what", "estimated", "measured", "available", "estimated %", "measured %")
    return Section(
        key="hardware",
        title="Hardware" if board is None else f"Hardware on {board}",
        text="What the accelerator, and on a board its memory controller and link, takes: estimated by "
        "the resource model, whose clock is a rough guess, and as counted when the board's array of this "
        "size was last built. Bytes are the program's, weights and feature maps included. Of the "
        "clock, available is what the target needs, so 100 % and more is enough.",
        table=Table(columns=columns, rows=table),
        figure=_figure(rows) if any(_share(r, "estimated") is not None for r in rows) else None,
    )


def _share(row: Mapping[str, Any], what: str) -> float | None:
    """Percent of what there is."""
    if row[what] is None or not row["available"]:
        return None
    return float(100 * row[what] / row["available"])


def _figure(rows: Sequence[Mapping[str, Any]]) -> go.Figure:
    shown = [row for row in rows if row["available"]]
    traces = [
        go.Bar(
            name=what,
            x=[_share(row, what) for row in shown],
            y=[row["name"] for row in shown],
            orientation="h",
            hovertemplate="%{y}: %{x:.1f} %<extra></extra>",
        )
        for what in ("estimated", "measured")
        if any(row[what] is not None for row in shown)
    ]
    figure = plain_figure(traces, height=120 + 50 * len(shown), barmode="group")
    figure.update_xaxes(title="% of what there is", rangemode="tozero")
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.add_vline(x=100, line={"dash": "dot", "color": "#888888"})
    return figure
