"""The network as a graph: who reads whom, with formats and what bounds each layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from tilewright.html.figures import BOUNDS, plain_figure
from tilewright.html.parts import Section, Table, format_name, label

__all__ = ["network_section"]

Layers = Mapping[str, Mapping[str, Any]]
Edges = Sequence[Sequence[str]]

_LOOKS = {
    **{bound: (f"{bound}-bound", *look) for bound, look in BOUNDS.items()},
    "": ("layer", *BOUNDS["compute"]),
    "input": ("input", "#888888", "square"),
}
_SHORT = 26
_ROW = 44
_BEND = 0.35


def network_section(layers: Sequence[Mapping[str, Any]], edges: Edges) -> Section | None:
    """Layers from top to bottom with arrows to their readers; None without any.

    Parameters
    ----------
    layers : with name, bits, frac and, if known, bound and cycles
    edges : names of an input or layer, and of a layer that reads it, in the order of the layers
    """
    if not edges:
        return None
    found = {layer["name"]: layer for layer in layers}
    sources: dict[str, list[str]] = {name: [] for name in found}
    for source, reader in edges:
        sources[reader].append(source)
    rows = tuple(
        (name, ", ".join(sources[name]), str(x["bits"]), f"{x['frac']:+d}", x.get("bound") or "–")
        for name, x in found.items()
    )
    bounds = any(layer.get("bound") for layer in layers)
    meaning = (
        " A circle is a layer that the array bounds (compute), a diamond one that the bus bounds "
        "(memory)."
    )
    return Section(
        key="network",
        title="Network",
        text="Every layer with the bits and the fractional length of its output, below all that it "
        f"reads.{meaning * bounds}",
        table=Table(columns=("layer", "reads", "bits", "frac", "bound"), rows=rows),
        figure=_figure(found, edges),
    )


def _places(edges: Edges) -> dict[str, tuple[float, int]]:
    """Column, centred on 0, and row of each tensor: a row below all that it reads."""
    rows: dict[str, int] = {}
    for source, reader in edges:
        rows.setdefault(source, 0)
        rows[reader] = max(rows.get(reader, 0), rows[source] + 1)
    members: dict[int, list[str]] = {}
    for name, row in rows.items():
        members.setdefault(row, []).append(name)
    return {
        name: (column - (len(names) - 1) / 2, row)
        for row, names in members.items()
        for column, name in enumerate(names)
    }


def _figure(found: Layers, edges: Edges) -> go.Figure:
    places = _places(edges)
    nodes = [_nodes(kind, found, places) for kind in _LOOKS]
    depth = max(row for _, row in places.values()) + 1
    width = max(abs(column) for column, _ in places.values())
    figure = plain_figure(
        [*_arrows(edges, places), *(trace for trace in nodes if trace.x)],
        height=120 + _ROW * depth,
        hovermode="closest",
    )
    figure.update_xaxes(visible=False, range=[-width - 0.8, width + 1.4])
    figure.update_yaxes(visible=False, range=[depth - 0.4, -0.6])
    return figure


def _arrows(edges: Edges, places: Mapping[str, tuple[float, int]]) -> list[go.Scatter]:
    """An arrow for each pair; one that would cross the nodes in between goes around them."""
    straight: tuple[list[float | None], list[float | None]] = ([], [])
    bent: tuple[list[float | None], list[float | None]] = ([], [])
    for source, reader in edges:
        (x, y), (to_x, to_y) = places[source], places[reader]
        if to_y - y > 1:
            bent[0].extend([x, min(x, to_x) - _BEND, to_x, None])
            bent[1].extend([y, (y + to_y) / 2, to_y, None])
        else:
            straight[0].extend([x, to_x, None])
            straight[1].extend([y, to_y, None])
    return [
        go.Scatter(
            x=xs,
            y=ys,
            mode="lines+markers",
            line={"color": "#999999", "width": 1, "shape": shape},
            marker={
                "color": "#999999",
                "symbol": "arrow",
                "angleref": "previous",
                "standoff": 8,
                "size": _arrow_heads(ys),
            },
            hoverinfo="skip",
            showlegend=False,
        )
        for (xs, ys), shape in ((straight, "linear"), (bent, "spline"))
        if xs
    ]


def _arrow_heads(ys: Sequence[float | None]) -> list[int]:
    """Sizes of the markers along lines: only the last point before a gap has one."""
    following = [*ys[1:], None]
    return [
        9 if y is not None and after is None else 0 for y, after in zip(ys, following, strict=True)
    ]


def _nodes(kind: str, found: Layers, places: Mapping[str, tuple[float, int]]) -> go.Scatter:
    names = [name for name in places if _kind(name, found) == kind]
    title, color, symbol = _LOOKS[kind]
    return go.Scatter(
        name=title,
        x=[places[name][0] for name in names],
        y=[places[name][1] for name in names],
        mode="markers+text",
        marker={"color": color, "size": 14, "symbol": symbol},
        text=[_caption(name, found) for name in names],
        textposition="middle right",
        hovertext=[_hover(name, found) for name in names],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _kind(name: str, found: Layers) -> str:
    return (found[name].get("bound") or "") if name in found else "input"


def _caption(name: str, found: Layers) -> str:
    short = label(name if len(name) <= _SHORT else "…" + name[1 - _SHORT :])
    if name not in found:
        return short
    return f"{short}  {found[name]['bits']} b, {found[name]['frac']:+d}"


def _hover(name: str, found: Layers) -> str:
    if name not in found:
        return label(name)
    layer = found[name]
    kind = f", {layer['kind']}" if layer.get("kind") else ""
    text = f"{label(name)}{kind}<br>{format_name(layer['bits'], layer['frac'])}"
    cycles = layer.get("cycles_measured") or layer.get("cycles_predicted")
    return f"{text}<br>{cycles:,} cycles" if cycles else text
