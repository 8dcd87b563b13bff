"""The report: float, fixed and RTL side by side, layer by layer, as tables and as JSON."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from tilewright.quant.profile import TensorProfile

__all__ = [
    "Accuracy",
    "Hardware",
    "LayerReport",
    "NetworkReport",
    "Precision",
    "RtlReport",
    "print_report",
    "report_dict",
]


Share = float
"""A number in 0..1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerReport:
    """One layer in float, fixed point and RTL; what was not measured is None.

    Attributes
    ----------
    shape : (C, H, W) of the output
    weight_bits : None for layers without weights
    weight_frac : smallest and largest fractional length over the output channels
    bits, frac : format of the output
    sqnr_db : 10 log10(Σ float² / Σ (float − fixed)²) over the images compared
    max_error : largest |float − fixed|
    saturated : values that the output's range cut off, over the images compared
    cycles_measured : of one image, counted by the RTL
    cycles_predicted : of the compiler's cycle model
    utilization : useful multiply-accumulates / (array cells · measured cycles)
    bound_mapping : the most that it could be with this mapping of the layer to weight tiles
    bound_roofline : what it would be if only compute and bus beats of the schedule took time
    bound : "compute" or "memory"
    read_beats, written_beats : that the layer's instructions move over the bus
    mismatches : values in which RTL and integer reference differ, over all images simulated
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    bits: int
    frac: int
    weight_bits: int | None = None
    weight_frac: tuple[int, int] | None = None
    sqnr_db: float | None = None
    max_error: float | None = None
    saturated: int | None = None
    macs: int = 0
    cycles_measured: int | None = None
    cycles_predicted: int | None = None
    utilization: float | None = None
    bound_mapping: float | None = None
    bound_roofline: float | None = None
    bound: str | None = None
    read_beats: int | None = None
    written_beats: int | None = None
    mismatches: int | None = None

    @property
    def deviation(self) -> float | None:
        """Predicted over measured cycles, minus 1."""
        if not self.cycles_measured or self.cycles_predicted is None:
            return None
        return self.cycles_predicted / self.cycles_measured - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """Static against dynamic precision at one bit width.

    SQNR is that of the network's first output; accuracy is None without labels; `static_frac` is
    the fractional length of all weights, and of all feature maps.
    """

    bits: int
    dynamic_sqnr_db: float
    dynamic_saturated: int
    static_frac: tuple[int, int]
    static_sqnr_db: float
    static_saturated: int
    dynamic_accuracy: float | None = None
    static_accuracy: float | None = None
    layers: tuple[tuple[str, int, int], ...] = ()
    """For each layer: name, saturated values with dynamic and with static precision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Share of the labelled images whose largest output is the label; None if not measured."""

    images: int
    float: Share
    fixed: Share
    static: Share | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RtlReport:
    """The simulation: how many images ran, and how many values differ from the reference."""

    images: int
    mismatches: int
    values: int
    cycles: int
    predicted: int | None
    frames_per_second: float
    correct: int | None = None
    first_mismatch: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What of the target limits a layer: the array's cells, the bus, the clock."""

    rows: int
    cols: int
    bus_bytes: int
    clock_mhz: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkReport:
    """Everything known about one network on one target.

    `edges` are pairs of the names of an input or layer, and of a layer that reads it; `ranges` say
    where each layer's values lie, if that was asked for.
    """

    name: str
    target: str
    layers: tuple[LayerReport, ...]
    accuracy: Accuracy | None = None
    rtl: RtlReport | None = None
    precision: tuple[Precision, ...] = ()
    hardware: Hardware | None = None
    edges: tuple[tuple[str, str], ...] = ()
    ranges: tuple[TensorProfile, ...] = ()


def report_dict(report: NetworkReport) -> dict[str, Any]:
    """The report as plain values for JSON, derived quantities included."""
    result = dataclasses.asdict(report)
    for entry, layer in zip(result["layers"], report.layers, strict=True):
        entry["deviation"] = layer.deviation
    return result


def print_report(report: NetworkReport, console: Console) -> None:
    """Print the report's tables."""
    console.print(_layer_table(report))
    if report.precision:
        console.print(_precision_table(report))
        if any(row.layers for row in report.precision):
            console.print(_saturation_table(report))
    for line in _summary(report):
        console.print(line)


def _layer_table(report: NetworkReport) -> Table:
    table = Table(title=f"{report.name} on target {report.target}: float / fixed / RTL")
    for name in ("layer", "kind", "shape", "weights", "output"):
        table.add_column(name, no_wrap=name != "layer", overflow="fold")
    for name in ("SQNR dB", "max error", "saturated", "RTL diff", "cycles", "predicted", "dev %"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("array %", "mapping %", "roofline %"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("bound", no_wrap=True)
    for layer in report.layers:
        table.add_row(
            escape(layer.name),
            layer.kind,
            "×".join(map(str, layer.shape)),
            _weights(layer),
            f"{layer.bits}b {layer.frac:+d}",
            _number(layer.sqnr_db, ".1f"),
            _number(layer.max_error, ".3g"),
            _number(layer.saturated, "d"),
            _mismatches(layer.mismatches),
            _number(layer.cycles_measured, ",d"),
            _number(layer.cycles_predicted, ",d"),
            _number(layer.deviation, "+.2f", 100),
            _number(layer.utilization, ".1f", 100),
            _number(layer.bound_mapping, ".1f", 100),
            _number(layer.bound_roofline, ".1f", 100),
            layer.bound or "–",
        )
    return table


def _weights(layer: LayerReport) -> str:
    if layer.weight_bits is None or layer.weight_frac is None:
        return "–"
    low, high = layer.weight_frac
    return f"{layer.weight_bits}b {low:+d}" + (f"..{high:+d}" if high != low else "")


def _mismatches(count: int | None) -> str:
    if count is None:
        return "–"
    return f"[bold red]{count:,}[/]" if count else "[green]0[/]"


def _number(value: float | None, form: str, factor: float = 1) -> str:
    if value is None:
        return "–"
    return format(value if factor == 1 else value * factor, form)


def _precision_table(report: NetworkReport) -> Table:
    table = Table(title=f"{report.name}: dynamic against static precision")
    table.add_column("bits", justify="right")
    for kind in ("dynamic", "static"):
        for what in ("accuracy %", "SQNR dB", "saturated"):
            table.add_column(f"{kind}\n{what}", justify="right")
    table.add_column("static\nfracs", justify="right")
    for row in report.precision:
        table.add_row(
            str(row.bits),
            _number(row.dynamic_accuracy, ".2f", 100),
            _number(row.dynamic_sqnr_db, ".1f"),
            f"{row.dynamic_saturated:,}",
            _number(row.static_accuracy, ".2f", 100),
            _number(row.static_sqnr_db, ".1f"),
            f"{row.static_saturated:,}",
            f"{row.static_frac[0]}, {row.static_frac[1]}",
        )
    return table


def _saturation_table(report: NetworkReport) -> Table:
    table = Table(title=f"{report.name}: saturated values per layer, dynamic / static")
    table.add_column("layer", overflow="fold")
    for row in report.precision:
        table.add_column(f"{row.bits} bit", justify="right")
    for cells in zip(*(row.layers for row in report.precision), strict=True):
        table.add_row(
            escape(cells[0][0]), *(f"{dynamic:,} / {static:,}" for _, dynamic, static in cells)
        )
    return table


def _summary(report: NetworkReport) -> list[str]:
    lines = []
    if report.accuracy is not None:
        share = report.accuracy
        static = "" if share.static is None else f", static {share.static:.2%}"
        lines.append(
            f"Accuracy on {share.images:,} images: float {share.float:.2%}, "
            f"fixed {share.fixed:.2%}{static}"
        )
    if report.rtl is not None:
        rtl = report.rtl
        correct = "" if rtl.correct is None else f", {rtl.correct} answers right"
        verdict = "[green]equal to the integer reference[/]"
        if rtl.mismatches:
            verdict = f"[bold red]{rtl.mismatches:,} differ[/]: {escape(rtl.first_mismatch or '')}"
        lines.append(
            f"RTL on {rtl.images} images{correct}: {rtl.values:,} values compared, {verdict}"
        )
        predicted = "" if rtl.predicted is None else f" ({rtl.predicted:,} predicted)"
        lines.append(
            f"{rtl.cycles:,} cycles an image{predicted}, "
            f"{rtl.frames_per_second:,.0f} images a second"
        )
    return lines
