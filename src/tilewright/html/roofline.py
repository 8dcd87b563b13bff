"""The roofline: what bus and array allow, and where each layer stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from tilewright.html.figures import BOUNDS, plain_figure
from tilewright.html.parts import Section, Table, label, number

__all__ = ["roofline_section"]

_COLUMNS = (
    *("layer", "MACs", "beats read", "beats written", "MACs / byte", "MACs / cycle"),
    *("roof", "cycles", "bound"),
)


def roofline_section(
    layers: Sequence[Mapping[str, Any]], hardware: Mapping[str, Any]
) -> Section | None:
    """The section; None where no layer multiplies.

    Parameters
    ----------
    layers : `LayerReport`s as dictionaries, with cycles measured or predicted
    hardware : `Hardware` as a dictionary
    """
    points = [_point(layer, hardware) for layer in layers if layer["macs"]]
    if not points:
        return None
    rows = tuple(
        (
            p["name"],
            number(p["macs"]),
            number(p["read_beats"]),
            number(p["written_beats"]),
            number(p["intensity"], ".2f"),
            number(p["rate"], ".2f"),
            number(p["roof"], ".2f"),
            number(p["cycles"]),
            p["bound"],
        )
        for p in points
    )
    peak = hardware["rows"] * hardware["cols"]
    return Section(
        key="roofline",
        title="Roofline",
        text=f"The array does at most {peak:,} multiply-accumulates (MACs) a cycle, the bus moves "
        f"{hardware['bus_bytes']} bytes a cycle each way. Bytes are those that the layer's "
        "instructions move, in the direction in which they move more. A point below the line "
        "loses to the mapping, to latency or to dependences; above it, some of its weights came while the "
        "layer before it ran. Layers without MACs are left out.",
        table=Table(columns=_COLUMNS, rows=rows),
        figure=_figure(points, hardware),
    )


def _point(layer: Mapping[str, Any], hardware: Mapping[str, Any]) -> dict[str, Any]:
    cycles = layer["cycles_measured"] or layer["cycles_predicted"]
    bus = hardware["bus_bytes"]
    intensity = layer["macs"] / (bus * max(layer["read_beats"], layer["written_beats"]))
    return {
        **layer,
        "cycles": cycles,
        "intensity": intensity,
        "rate": layer["macs"] / cycles,
        "roof": min(hardware["rows"] * hardware["cols"], intensity * bus),
    }


def _figure(points: Sequence[Mapping[str, Any]], hardware: Mapping[str, Any]) -> go.Figure:
    peak, bus = hardware["rows"] * hardware["cols"], hardware["bus_bytes"]
    ridge = peak / bus
    least = min([ridge, *(p["intensity"] for p in points)]) / 2
    most = max([ridge, *(p["intensity"] for p in points)]) * 2
    roof = go.Scatter(
        name="roof",
        x=[least, ridge, most],
        y=[least * bus, peak, peak],
        mode="lines",
        line={"color": "#888888"},
        hoverinfo="skip",
    )
    kinds = [
        go.Scatter(
            name=f"{bound}-bound layers",
            x=[p["intensity"] for p in points if p["bound"] == bound],
            y=[p["rate"] for p in points if p["bound"] == bound],
            mode="markers",
            marker={"size": 10, "symbol": symbol, "color": color},
            hovertext=[_hover(p) for p in points if p["bound"] == bound],
            hovertemplate="%{hovertext}<extra></extra>",
        )
        for bound, (color, symbol) in BOUNDS.items()
    ]
    return plain_figure(
        [roof, *kinds],
        xaxis={"type": "log", "title": "MACs / byte"},
        yaxis={"type": "log", "title": "MACs / cycle"},
    )


def _hover(point: Mapping[str, Any]) -> str:
    return (
        f"{label(point['name'])}<br>{point['rate']:,.2f} of {point['roof']:,.2f} MACs / cycle"
        f"<br>{point['intensity']:,.2f} MACs / byte<br>{point['cycles']:,} cycles"
    )
