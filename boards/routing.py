"""What nextpnr says of a design: its clock, its slowest path, what it uses and what there is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["RESOURCES", "Route", "read_route", "read_usage"]

RESOURCES: dict[str, dict[str, tuple[str, ...]]] = {
    "ecp5": {
        "lut": ("TRELLIS_COMB",),
        "ff": ("TRELLIS_FF",),
        "dsp": ("MULT18X18D",),
        "bram": ("DP16KD",),
    },
    "ice40": {
        "lut": ("ICESTORM_LC",),
        "dsp": ("ICESTORM_DSP",),
        "bram": ("ICESTORM_RAM",),
    },
    "gowin": {
        "lut": ("LUT4", "ALU", "RAM16SDP4"),
        "ff": ("DFF",),
        "dsp": ("MULT9X9", "MULT18X18"),
        "bram": ("BSRAM",),
    },
}
"""nextpnr's names of what the tables count; a logic cell of the iCE40 is a LUT and a flip-flop."""

_USAGE = re.compile(r"^Info:\s+(\w+):\s+(\d+)/\s*(\d+)\s+\d+%$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What nextpnr made of a netlist with one seed.

    Attributes
    ----------
    fmax_mhz : of the slowest clock, after routing
    met : every clock holds what is asked of it
    used, available : cells by nextpnr's names
    path : where the slowest path begins and ends, in words
    path_ns : how long it takes
    """

    seed: int
    fmax_mhz: float
    met: bool
    used: Mapping[str, int]
    available: Mapping[str, int]
    path: str
    path_ns: float

    def count(self, family: str, what: str) -> int | None:
        """Cells used that count as `what` ("lut", "ff", "dsp", "bram"); None if not counted."""
        names = RESOURCES[family].get(what)
        return None if names is None else sum(self.used.get(name, 0) for name in names)


def read_route(report: Path, seed: int, mhz: float) -> Route:
    """Read the file that nextpnr's --report wrote; the clock must reach `mhz`."""
    found = json.loads(report.read_text("utf-8"))
    fmax = min(clock["achieved"] for clock in found["fmax"].values())
    path, path_ns = _slowest(found["critical_paths"])
    cells = found["utilization"]
    return Route(
        seed=seed,
        fmax_mhz=round(fmax, 2),
        met=fmax >= mhz,
        used={name: cell["used"] for name, cell in cells.items() if cell["used"]},
        available={name: cell["available"] for name, cell in cells.items()},
        path=path,
        path_ns=path_ns,
    )


def _slowest(paths: list[dict[str, Any]]) -> tuple[str, float]:
    """The slowest path between registers of one clock."""
    inside = [path["path"] for path in paths if path["from"] == path["to"]]
    steps = max(inside, key=lambda path: sum(step["delay"] for step in path))
    ends = [steps[0]["from"]["cell"], steps[-1]["to"]["cell"]]
    first, last = (re.sub(r"_(?:TRELLIS_FF|SB_DFF|DFF)\w*$", "", cell) for cell in ends)
    total = sum(step["delay"] for step in steps)
    ways = sum(step["delay"] for step in steps if step["type"] == "routing")
    return f"from {first} to {last} ({ways:.1f} ns of it routing)", round(total, 2)


def read_usage(log: str) -> dict[str, tuple[int, int]]:
    """Cells used and available, by nextpnr's names, from its log."""
    return {name: (int(used), int(there)) for name, used, there in _USAGE.findall(log)}
