"""The layers as a table, their errors, and their cycles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tilewright.html.figures import bars, layer_figure
from tilewright.html.parts import Section, Table, format_name, number

__all__ = ["cycles_section", "error_section", "layers_section", "loss_section"]

Layers = Sequence[Mapping[str, Any]]


def layers_section(layers: Layers) -> Section:
    """Formats and bounds of every layer, as far as they are known."""
    columns = ("layer", "kind", "weights", "output", "bits", "frac", "format", "bound")
    rows = tuple(
        (
            layer["name"],
            layer["kind"],
            _weights(layer),
            "×".join(map(str, layer.get("shape", ()))) or "–",
            number(layer["bits"]),
            number(layer["frac"], "+d"),
            format_name(layer["bits"], layer["frac"]),
            layer.get("bound") or "–",
        )
        for layer in layers
    )
    return Section(
        key="layers",
        title="Layers",
        text="Formats: a value is an integer of that many bits times 2 to the power of −frac. Weights "
        "have a frac for each output channel: the least and the greatest are given.",
        table=Table(columns=columns, rows=rows).known(),
    )


def _weights(layer: Mapping[str, Any]) -> str:
    if layer["weight_bits"] is None:
        return "–"
    low, high = layer["weight_frac"]
    return f"{layer['weight_bits']} bits, frac {low:+d}" + (f"..{high:+d}" if low != high else "")


def error_section(layers: Layers) -> Section:
    """SQNR of every layer; for a report also the largest error, and where RTL differs."""
    wrong = any(layer.get("mismatches") is not None for layer in layers)
    columns = ("layer", "SQNR dB", "largest error", "RTL values that differ")
    rows = tuple(
        (
            layer["name"],
            number(layer["sqnr_db"], ".2f"),
            number(layer.get("max_error"), ".5g"),
            number(layer.get("mismatches")),
        )
        for layer in layers
    )
    names = [layer["name"] for layer in layers]
    found = " The RTL was simulated: the table counts the values in which it differs." * wrong
    return Section(
        key="errors",
        title="Errors",
        text="Signal-to-quantization-noise ratio of each layer's output, the fixed network against "
        f"the float one; more is better, and without any error there is no bar.{found}",
        table=Table(columns=columns, rows=rows).known(),
        figure=layer_figure(
            [bars("SQNR", names, [layer["sqnr_db"] for layer in layers], "dB")],
            names,
            xaxis={"title": "SQNR in dB"},
        ),
    )


def loss_section(losses: Layers) -> Section | None:
    """Accuracy lost with the first layers in fixed point; None where there were no labels."""
    if not losses:
        return None
    rows = tuple(
        (
            found["name"],
            number(found["correct"] / found["images"], ".2f", 100),
            number(found["loss"], "+.2f", 100),
            number(found["sqnr_db"], ".2f"),
        )
        for found in losses
    )
    names = [found["name"] for found in losses]
    lost = bars("points lost", names, [100 * found["loss"] for found in losses], "points")
    return Section(
        key="losses",
        title="Loss of accuracy layer by layer",
        text="All layers up to the one named are in fixed point, those after it in float, on "
        f"{losses[0]['images']:,} labelled images.",
        table=Table(
            columns=("fixed up to", "right %", "points lost", "SQNR dB of the output"), rows=rows
        ),
        figure=layer_figure([lost], names),
    )


def cycles_section(layers: Layers) -> Section:
    """Cycles of every layer, predicted and, where simulated, measured."""
    columns = ("layer", "predicted", "measured", "deviation %")
    rows = tuple(
        (
            layer["name"],
            number(layer["cycles_predicted"]),
            number(layer["cycles_measured"]),
            number(layer["deviation"], "+.2f", 100),
        )
        for layer in layers
    )
    names = [layer["name"] for layer in layers]
    measured = any(layer["cycles_measured"] is not None for layer in layers)
    kinds = ["predicted", "measured"] if measured else ["predicted"]
    traces = [
        bars(kind, names, [layer[f"cycles_{kind}"] for layer in layers], "cycles") for kind in kinds
    ]
    beside = ", and what the RTL took in simulation" if measured else ""
    return Section(
        key="cycles",
        title="Cycles",
        text=f"Cycles of one image, by layer, as the cycle model predicts them{beside}.",
        table=Table(columns=columns, rows=rows).known(),
        figure=layer_figure(traces, names, xaxis={"title": "cycles"}, barmode="group"),
    )
