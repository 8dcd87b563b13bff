"""A compressed network: what each step cost and left, and the bytes of each layer's weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from tilewright.html.figures import bars, layer_figure, plain_figure
from tilewright.html.parts import Section, Table, label, number

__all__ = ["bytes_section", "stages_section"]

Rows = Sequence[Mapping[str, Any]]


def stages_section(stages: Rows) -> Section:
    """Accuracy over the parameters left, step by step; the first stage is the float network."""
    first = stages[0]
    rows = tuple(
        (
            stage["step"],
            number(stage["accuracy"], ".2f", 100),
            number(stage["accuracy"] - first["accuracy"], "+.2f", 100),
            number(stage["parameters"]),
            number(first["parameters"] / max(stage["parameters"], 1), ".2f"),
        )
        for stage in stages
    )
    figure = plain_figure(
        [
            go.Scatter(
                x=[stage["parameters"] for stage in stages],
                y=[100 * stage["accuracy"] for stage in stages],
                mode="lines+markers+text",
                marker={"size": 10},
                text=[label(stage["step"]) for stage in stages],
                textposition="top center",
                hovertemplate="%{text}<br>%{x:,} parameters, %{y:.2f} %<extra></extra>",
            )
        ],
        height=400,
        xaxis={"title": "parameters left", "autorange": "reversed"},
        yaxis={"title": "accuracy %"},
    )
    return Section(
        key="stages",
        title="Steps",
        text="What each step led to, retraining included: accuracy on the test images, or on the "
        "training images where there are no others, in float; and the parameters that are left.",
        table=Table(
            columns=("step", "right %", "points", "parameters left", "times fewer"), rows=rows
        ),
        figure=figure,
    )


def bytes_section(layers: Rows) -> Section:
    """Bytes of each layer's weight streams, plain and coded."""
    rows = tuple(
        (
            row["layer"],
            number(row["weight_bits"]),
            number(row["kept"], ".1f", 100),
            number(row["plain_bytes"]),
            number(row["stream_bytes"]),
            number(_ratio(row), ".2f"),
        )
        for row in layers
    )
    names = [row["layer"] for row in layers]
    traces = [
        bars("plain", names, [row["plain_bytes"] for row in layers], "bytes"),
        bars("coded", names, [row["stream_bytes"] for row in layers], "bytes"),
    ]
    return Section(
        key="bytes",
        title="Weight streams",
        text="Bytes of each layer's weights as the accelerator reads them, and coded: table, "
        "zero runs, codebook and, if asked for, Huffman codes. A layer without coded bytes has more "
        "different weights than a codebook holds, and stays as it is.",
        table=Table(
            columns=("layer", "bits", "weights left %", "plain", "coded", "times smaller"),
            rows=rows,
        ),
        figure=layer_figure(traces, names, barmode="group", xaxis={"title": "bytes"}),
    )


def _ratio(row: Mapping[str, Any]) -> float | None:
    return row["plain_bytes"] / row["stream_bytes"] if row["stream_bytes"] else None
