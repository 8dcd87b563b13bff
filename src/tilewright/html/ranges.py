"""Box plots of each layer's values over what its format can represent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from tilewright.html.figures import layer_figure
from tilewright.html.parts import Section, Table, format_name, label, number

__all__ = ["ranges_section"]

_COLUMNS = (
    *("layer", "format", "from", "to", "least", "5 %", "25 %", "median", "75 %", "95 %"),
    *("greatest", "cut off %"),
)


def ranges_section(profiles: Sequence[dict[str, Any]]) -> Section:
    """The section.

    Parameters
    ----------
    profiles : `TensorProfile`s as dictionaries
    """
    rows = tuple(
        (
            found["name"],
            format_name(found["bits"], found["frac"]),
            *(number(v, ".5g") for v in (found["low"], found["high"], *found["quantiles"])),
            number(found["saturated"], ".3f", 100),
        )
        for found in profiles
    )
    return Section(
        key="ranges",
        title="Value ranges",
        text="The float network's values of each layer's output, as shares of the largest magnitude "
        "that its format represents: the bar behind is the representable range, the box holds "
        "the middle half of the values with the median in it, whiskers reach to the least and "
        "the greatest, dots mark 5 % and 95 %. What lies outside the bar is cut off.",
        table=Table(columns=_COLUMNS, rows=rows),
        figure=_figure(profiles),
    )


def _figure(profiles: Sequence[dict[str, Any]]) -> go.Figure:
    names = [found["name"] for found in profiles]
    lines = list(range(len(names)))
    scales = [max(abs(found["low"]), abs(found["high"])) for found in profiles]

    def shares(index: int) -> list[float]:
        pairs = zip(profiles, scales, strict=True)
        return [found["quantiles"][index] / scale for found, scale in pairs]

    lows = [found["low"] / scale for found, scale in zip(profiles, scales, strict=True)]
    highs = [found["high"] / scale for found, scale in zip(profiles, scales, strict=True)]
    texts = [
        f"{label(f['name'])}<br>{format_name(f['bits'], f['frac'])}: {f['low']:.5g}..{f['high']:.5g}"
        f"<br>values {f['quantiles'][0]:.5g}..{f['quantiles'][-1]:.5g}, "
        f"median {f['quantiles'][3]:.5g}"
        for f in profiles
    ]
    representable = go.Bar(
        name="representable",
        y=lines,
        base=lows,
        x=[high - low for low, high in zip(lows, highs, strict=True)],
        orientation="h",
        marker={"color": "rgba(128,128,128,0.3)"},
        hovertext=texts,
        hovertemplate="%{hovertext}<extra></extra>",
    )
    values = go.Box(
        name="values",
        y=lines,
        lowerfence=shares(0),
        q1=shares(2),
        median=shares(3),
        q3=shares(4),
        upperfence=shares(6),
        orientation="h",
        marker={"color": "#1f77b4"},
        hoverinfo="skip",
    )
    dots = go.Scatter(
        name="5 % and 95 %",
        x=shares(1) + shares(5),
        y=lines * 2,
        mode="markers",
        marker={"size": 5, "color": "#d62728"},
        hoverinfo="skip",
    )
    return layer_figure(
        [representable, values, dots], names, xaxis={"title": "value / largest magnitude"}
    )
