"""The report as tables on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tilewright.reports import LayerReport, NetworkReport

__all__ = ["print_report"]


def print_report(report: NetworkReport, console: Console) -> None:
    """Print the report's tables."""
    console.print(_layer_table(report))
    if report.precision:
        console.print(_precision_table(report))
        if any(row.layers for row in report.precision):
            console.print(_saturation_table(report))
    if report.resources:
        console.print(_resource_table(report))
    for line in _summary(report):
        console.print(line)


def _layer_table(report: NetworkReport) -> Table:
    table = Table(title=f"{report.name} on target {report.target}: float / fixed / RTL")
    table.add_column("layer", overflow="fold", min_width=8)
    for name in ("kind", "shape", "weights", "output"):
        table.add_column(name, no_wrap=True)
    for name in (
        *("SQNR\ndB", "max\nerror", "satu-\nrated", "RTL\ndiff", "cycles", "pre-\ndicted"),
        *("dev\n%", "array\n%", "mapping\n%", "roofline\n%"),
    ):
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


def _resource_table(report: NetworkReport) -> Table:
    table = Table(title=f"Hardware: {report.board or report.target}")
    for name in ("", "estimated", "measured", "available"):
        table.add_column(name, justify="right" if name else "left")
    for row in report.resources:
        numbers = (row.estimated, row.measured, row.available)
        table.add_row(row.name, *(_number(value, ",") for value in numbers))
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
