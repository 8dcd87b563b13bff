"""Results of commands, made up, that pages are written of; names in them try to leave their places."""

from __future__ import annotations

import dataclasses
from typing import Any

from tilewright.compiler.cycles import Event
from tilewright.compiler.timeline import make_timeline
from tilewright.quant.profile import TensorProfile
from tilewright.reports import (
    Hardware,
    LayerReport,
    NetworkReport,
    Resource,
    RtlReport,
    report_dict,
)
from tilewright.sim.results import Mismatch

__all__ = ["EVIL", "REPORT", "RESULTS", "compressed", "simulated"]

EVIL = "</script><a href='http://x.invalid'>a & b</a>"

PROFILES = tuple(
    TensorProfile(
        name=name, kind="conv", bits=8, frac=3, weight_bits=8, weight_frac=(5, 7),
        quantiles=(-20.0, -9.0, -1.0, 0.5, 1.0, 9.0, 15.0), low=-16.0, high=15.875, sqnr_db=30.0,
        saturated=0.001,
    )
    for name in (EVIL, "fc")
)  # fmt: skip

CONV = LayerReport(
    name=EVIL, kind="conv", shape=(8, 4, 4), bits=8, frac=3, weight_bits=8, weight_frac=(5, 7),
    sqnr_db=30.0, max_error=0.5, saturated=7, macs=9000, cycles_measured=2000, cycles_predicted=1990,
    utilization=0.5, bound_mapping=0.9, bound_roofline=0.75, bound="compute", read_beats=500,
    written_beats=30, mismatches=0,
)  # fmt: skip
FC = dataclasses.replace(CONV, name="fc", sqnr_db=float("inf"), bound="memory", macs=100)

EVENTS = [
    Event("load", 0, 10, 30, 5),
    Event("calc", 0, 40, 90, 0),
    Event("calc", 1, 90, 95, 5),
]

REPORT = NetworkReport(
    name=f"net {EVIL}",
    target="default",
    layers=(CONV, FC),
    rtl=RtlReport(
        images=1, mismatches=0, values=50, cycles=4000, predicted=3980, frames_per_second=9.0
    ),
    hardware=Hardware(rows=16, cols=16, bus_bytes=8, clock_mhz=100.0),
    edges=(("x", EVIL), (EVIL, "fc"), ("x", "fc")),
    ranges=PROFILES,
    timeline=make_timeline(EVENTS, (EVIL, "fc"), 4000),
    board="ulx3s-85f",
    resources=(
        Resource(name="LUTs", estimated=50, measured=60, available=100),
        Resource(name="bytes of memory", estimated=7, measured=None, available=None),
    ),
)


def quantized() -> dict[str, Any]:
    """What `quantize` prints."""
    layers = [dataclasses.asdict(found) for found in PROFILES]
    lost = {"images": 50, "correct": 44, "float_correct": 45, "loss": 0.02, "sqnr_db": 20.0}
    losses = [{"name": found.name, **lost} for found in PROFILES]
    edges = [["x", EVIL], [EVIL, "fc"]]
    return {"name": f"net {EVIL}", "edges": edges, "layers": layers, "losses": losses}


def simulated() -> dict[str, Any]:
    """What `simulate` prints; a value of the second image differs."""
    wrong = Mismatch(tensor=EVIL, count=1, total=128, coordinates=(0, 1, 2), expected=5, actual=-7)
    return {
        "mismatches": [[], [dataclasses.asdict(wrong)]],
        "counters": {"CYCLES": 4000},
        "report": report_dict(REPORT),
    }


def compressed() -> dict[str, Any]:
    """What `compress` prints; the second layer cannot be coded."""
    layer = {"layer": EVIL, "kept": 0.25, "weight_bits": 8, "plain_bytes": 900, "stream_bytes": 300}
    stage = {"step": "float", "accuracy": 0.9, "parameters": 1000, "notes": {}}
    return {
        "name": f"net {EVIL}",
        "edges": [["x", EVIL], [EVIL, "fc"]],
        "formats": {name: {"bits": 8, "frac": 3} for name in ("x", EVIL, "fc")},
        "stages": [stage, {**stage, "step": "prune 0.75", "accuracy": 0.88, "parameters": 250}],
        "layers": [layer, {**layer, "layer": "fc", "stream_bytes": None}],
        "plain_bytes": 1800,
        "stream_bytes": 1200,
    }


RESULTS = {
    "compress": compressed,
    "quantize": quantized,
    "report": lambda: report_dict(REPORT),
    "simulate": simulated,
}
