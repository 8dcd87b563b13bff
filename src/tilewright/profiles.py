"""The tables of `tilewright quantize`: value ranges over formats, and the loss layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tilewright.quant.candidates import Step
from tilewright.quant.layerwise import LayerLoss
from tilewright.quant.profile import TensorProfile

__all__ = ["box_plot", "print_losses", "print_profiles"]

WIDTH = 33
"""Characters of a box plot; odd, so that there is a middle for 0."""


def box_plot(found: TensorProfile, width: int = WIDTH) -> str:
    """The values' quantiles as text on a linear axis with 0 in its middle.

    ├ and ┤ stand at the least and the greatest value, ─ between them, █ from the 25 % to the 75 %
    quantile, ┃ at the median; ░ is where the format can represent values and none lie.
    """
    least, _, lower, middle, upper, _, most = found.quantiles
    extent = max(abs(found.low), abs(found.high), abs(least), abs(most))

    def place(value: float) -> int:
        return round((value / extent + 1.0) / 2.0 * (width - 1))

    cells = [" "] * width
    for first, last, sign in (
        (found.low, found.high, "░"),
        (least, most, "─"),
        (lower, upper, "█"),
    ):
        for at in range(place(first), place(last) + 1):
            cells[at] = sign
    for value, sign in ((least, "├"), (most, "┤"), (middle, "┃")):
        cells[place(value)] = sign
    return "".join(cells)


def print_profiles(
    profiles: Sequence[TensorProfile], log: Sequence[Step], console: Console
) -> None:
    """Print the table; `log` gives the candidates tried for each output."""
    table = Table(title="value ranges (├─█┃█─┤) within what the formats can hold (░)")
    table.add_column("layer", overflow="fold")
    for name in ("kind", "weights", "output", "range"):
        table.add_column(name, no_wrap=True)
    table.add_column("−…0…+", no_wrap=True)
    for name in ("SQNR dB", "saturated"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("frac tried: error", overflow="fold")
    tried = {step.tensor: step for step in log if step.kind == "features"}
    for found in profiles:
        step = tried.get(found.name)
        candidates = () if step is None else step.candidates
        table.add_row(
            escape(found.name),
            found.kind,
            _weights(found),
            f"{found.bits}b Q{found.bits - found.frac}.{found.frac}",
            f"{found.quantiles[0]:.3g}..{found.quantiles[-1]:.3g}",
            box_plot(found),
            f"{found.sqnr_db:.1f}",
            f"{found.saturated:.2%}",
            ", ".join(f"{c.frac}: {c.error:.3g}" for c in candidates),
        )
    console.print(table)


def print_losses(losses: Sequence[LayerLoss], console: Console) -> None:
    """Print what is lost with all layers up to each one in fixed point and the rest in float."""
    images, right = losses[0].images, losses[0].float_correct
    table = Table(
        title=f"loss of accuracy layer by layer (float: {right / images:.2%} of {images})"
    )
    table.add_column("fixed up to", overflow="fold")
    for name in ("right", "points lost", "SQNR dB of the output"):
        table.add_column(name, justify="right", no_wrap=True)
    for found in losses:
        table.add_row(
            escape(found.name),
            f"{found.correct / images:.2%}",
            f"{100 * found.loss:+.2f}",
            f"{found.sqnr_db:.1f}",
        )
    console.print(table)


def _weights(found: TensorProfile) -> str:
    if found.weight_bits is None or found.weight_frac is None:
        return "–"
    low, high = found.weight_frac
    return f"{found.weight_bits}b {low:+d}" + (f"..{high:+d}" if high != low else "")
