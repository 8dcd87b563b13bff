"""The combined table of results/compression.json: every method against the dense 8-bit network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from measuring import RESULTS
from tables import table

__all__ = ["lines", "main"]

Row = Mapping[str, Any]
_HEAD = (
    "",
    "accuracy",
    "parameters",
    "weight bytes",
    "",
    "RTL cycles",
    "",
    "DRAM bytes",
    "",
    "lanes",
    "values that differ",
)


def lines(rows: Sequence[Row]) -> list[str]:
    """A table for each network and target, the dense network first."""
    found: list[str] = []
    for name, target in dict.fromkeys((row["network"], row["target"]) for row in rows):
        group = [row for row in rows if (row["network"], row["target"]) == (name, target)]
        group.sort(key=lambda row: row["method"] != "dense")
        base = group[0] if group[0]["method"] == "dense" else None
        about = f"{name} on `{target}`, {_percent(group[0]['float_accuracy'])} in float:"
        found += [about, "", *table(_HEAD, (_cells(row, base) for row in group)), ""]
    return found[:-1]


def _cells(row: Row, dense: Row | None) -> tuple[str, ...]:
    return (
        row["method"],
        _percent(row["accuracy"]),
        f"{row['parameters']:,}",
        f"{row['stream_bytes']:,}",
        f"{row['ratio']:.2f}×",
        f"{row['rtl_cycles']:,}",
        f"{row['dense_cycles'] / row['rtl_cycles']:.2f}×",
        f"{row['dram_bytes']:,}",
        "" if dense is None else f"{dense['dram_bytes'] / row['dram_bytes']:.2f}×",
        str(row.get("decoder_lanes") or "–"),
        str(row["mismatches"]),
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def main() -> int:
    """Print the tables."""
    rows = json.loads((RESULTS / "compression.json").read_text("utf-8"))
    print("\n".join(lines(rows)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
