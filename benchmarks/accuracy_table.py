"""The tables of results/accuracy.json: what was asked, and all methods and widths, networks side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tables import table

__all__ = ["lines"]

_MOST = (
    ("8/8", "all", 8, 0.3),
    ("6/8", "all", 6, 1.0),
    ("6/8, fine-tuned", "all + fine-tuning", 6, 0.3),
    ("4/8, fine-tuned", "all + fine-tuning", 4, 1.5),
)
"""Most points that a method may lose at a width of weights."""
_DEPTHWISE = "efficientnet-lite0"
_DEPTHWISE_MOST = {"8/8": 0.8, "6/8": 3.0}
"""Of the depthwise network at ImageNet's size."""


def _goals(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown: points lost by each network, and in brackets the most that were allowed."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    found = {model: dict(_reached(model, rows)) for model in models}
    heads = list(dict.fromkeys(head for cells in found.values() for head in cells))
    return [
        "Points lost, and in brackets the most that were asked for; what is more is marked.",
        "",
        *table(
            ("network", *heads),
            ((model, *(found[model].get(head, "–") for head in heads)) for model in models),
        ),
        "",
    ]


def _reached(model: str, rows: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Heads of the table and a network's cells, as far as there are results."""
    lost = {
        (row["tool"], row["method"], row["weight_bits"]): 100
        * (row["float_accuracy"] - row["accuracy"])
        for row in rows
        if row["model"] == model and row["feature_bits"] == 8
    }
    own = {key[1:]: loss for key, loss in lost.items() if key[0] == "tilewright"}
    brevitas = [loss for key, loss in lost.items() if key[0] == "brevitas" and key[2] == 4]
    runtime = lost.get(("onnxruntime", "static int8 per channel", 8))
    eight, uniform = own.get(("all", 8)), own.get(("all", 5))
    for head, method, bits, most in _MOST:
        limit = _DEPTHWISE_MOST.get(head, most) if model == _DEPTHWISE else most
        yield from _cell(head, own.get((method, bits)), limit)
    yield from _cell("8/8, ONNX Runtime + 0.1", eight, None if runtime is None else runtime + 0.1)
    fully = own.get(("all, 4 bits in fully connected layers", 8))
    yield from _cell("4 bits in FC, 8/8 + 0.1", fully, None if eight is None else eight + 0.1)
    yield from _cell("4/8, best of Brevitas", own.get(("all", 4)), min(brevitas, default=None))
    mixed = own.get(("all, mixed, 5 bits on average", 5))
    less = None if uniform is None else uniform - 0.3 * abs(uniform)
    yield from _cell("mixed 5, uniform 5 - 30 %", mixed, less)


def _cell(head: str, lost: float | None, most: float | None) -> Iterator[tuple[str, str]]:
    """Head and cell, if both numbers are there."""
    if lost is not None and most is not None:
        text = f"{lost:.2f} ({most:.2f})"
        yield head, text if lost <= most + 1e-9 else f"**{text}**"


def lines(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown of the results, as accuracy.py writes them."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        key = (f"{row['tool']}: {row['method']}", f"{row['weight_bits']}/{row['feature_bits']}")
        loss = 100 * (row["float_accuracy"] - row["accuracy"])
        error = row.get("output_error")
        differ = "" if error is None else f" ({_percent(error)})"
        cells.setdefault(key, {})[row["model"]] = f"{loss:.2f}{differ}"
    heads = {row["model"]: _head(row) for row in rows}
    return [
        *_goals(rows),
        "Percentage points lost against float, on the same images for all tools; the head has the",
        "float network's accuracy and the number of images. Bits are those of weights / features. In",
        "brackets: squared error of the outputs over the test images, in percent of their energy.",
        "",
        *table(
            ("method", "bits", *(heads[model] for model in models)),
            ((*key, *(found.get(m, "–") for m in models)) for key, found in cells.items()),
        ),
    ]


def _head(row: dict[str, Any]) -> str:
    return f"{row['model']} ({row['float_accuracy']:.2%}, {row['images']:,})"


def _percent(share: float) -> str:
    return f"{100 * share:.2g}" if share < 1 else f"{100 * share:.0f}"
