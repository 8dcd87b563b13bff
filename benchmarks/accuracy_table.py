"""The table of results/accuracy.json: networks side by side, a line for each method and width."""

from __future__ import annotations

from typing import Any

from tables import table

__all__ = ["lines"]


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
