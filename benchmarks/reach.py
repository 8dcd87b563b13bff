"""What whole networks reach on the array, beside the goals, the bounds and what is known elsewhere.

The numbers come from results/utilization.json, scale_sim.json and tiling_search.json.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measuring import RESULTS
from tables import origin, table

__all__ = ["GOALS", "page"]

ROOFLINE, TILINGS = 1.03, 1.10
"""Most cycles over the roofline's, and over the best tiling's, on the 12x12 machine."""

Record = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a network must reach on the 16x16 machine: at least `least` of `key` in `layer`."""

    network: str
    layer: str
    key: str
    least: float
    elsewhere: str

    @property
    def what(self) -> str:
        """The work, in words."""
        return f"{self.network}, {'first layer' if self.layer == FIRST else 'all layers'}"


FIRST = "first"
ARRAY, MEMORY = "utilization", "bandwidth_utilization"
GOALS = (
    Goal(
        network="vgg16-conv",
        layer="total",
        key=ARRAY,
        least=0.98,
        elsewhere="54 % Qiu 2016 (same network), 54 % a commercial DPU, 91 % the best single-array "
        "FPGA design, 97 % a layer-pipelined one",
    ),
    Goal(network="vgg16-conv", layer=FIRST, key=ARRAY, least=0.80, elsewhere="–"),
    Goal(
        network="vgg16-fc",
        layer="total",
        key=MEMORY,
        least=0.97,
        elsewhere="28 % (Qiu 2016: 1.16 of 4.2 GB/s)",
    ),
    Goal(
        network="resnet18",
        layer="total",
        key=ARRAY,
        least=0.95,
        elsewhere="59 % (DPU, ResNet-50)",
    ),
    Goal(
        network="efficientnet-lite0",
        layer="total",
        key=ARRAY,
        least=0.50,
        elsewhere="14 % (DPU)",
    ),
)


def page() -> list[str]:
    """The tables, as far as there are results."""
    path = RESULTS / "utilization.json"
    if not path.is_file():
        return []
    records: list[Record] = json.loads(path.read_text("utf-8"))
    lines = ["## Whole networks in RTL: what the array and the memory are used for", ""]
    lines += _intro(records)
    lines += ["", *_goals(records), "", *_second(records), "", *_layers(records), ""]
    for part in sorted((RESULTS / "utilization").glob("*.json")):
        content = json.loads(part.read_text("utf-8"))
        lines.append(
            f"- {part.stem}: simulated in {content['seconds']:.0f} s, "
            f"{content['cycles_per_cpu_second']:,} cycles a CPU second. " + origin(content)[0]
        )
    return lines


def _intro(records: list[Record]) -> list[str]:
    totals = [record for record in records if record["layer"] == "total"]
    wrong, values = (sum(r[key] for r in totals) for key in ("mismatches", "values"))
    return [
        (
            "One image through the whole network, every layer's output compared with the integer "
            f"reference: **{wrong:,} of {values:,} values differ**. Weights, feature maps and "
            f"instructions come from a memory with {totals[0]['latency']} cycles of latency. "
            "Utilization is useful multiply-accumulates over array cells times cycles (bias, pooling "
            "and drains included in the cycles). VGG-16 and ResNet-18 have seeded random weights, "
            "EfficientNet-Lite0 its ImageNet weights."
        )
    ]


def _goals(records: list[Record]) -> list[str]:
    rows = []
    for goal in GOALS:
        found = _record(records, goal.network, goal.layer, 16)
        if found is None:
            continue
        array = goal.key == ARRAY
        bounds = [found["bound_mapping"], found["bound_roofline"]]
        rows.append(
            (
                goal.what,
                "array" if array else "memory",
                f"≥ {goal.least:.0%}",
                f"**{found[goal.key]:.2%}**",
                _reached(found[goal.key] >= goal.least),
                *(f"{bound:.2%}" if array else "–" for bound in bounds),
                f"{found[ARRAY] / min(bounds):.3f}",
                *(_scale_sim(goal, dataflow) for dataflow in ("ws", "os")),
                goal.elsewhere,
                f"{found['cycles']:,}",
                f"{found['mismatches']:,}",
            )
        )
    head = (
        *("work", "use of", "asked", "measured", "reached", "mapping's bound", "roofline's bound"),
        *("measured ÷ lower bound", "SCALE-Sim, weight-stationary"),
        *("SCALE-Sim, output-stationary", "best known elsewhere", "cycles", "wrong"),
    )
    return [
        "### 16×16, int8, 8 bytes a cycle (reads and writes each)",
        "",
        *table(head, rows),
        "",
        "SCALE-Sim's numbers are for an ideal memory that never stalls and leave pooling out.",
    ]


def _scale_sim(goal: Goal, dataflow: str) -> str:
    path = RESULTS / "scale_sim.json"
    if goal.key != ARRAY or not path.is_file():
        return "–"
    records = [r for r in _load(path)["records"] if r["dataflow"] == dataflow]
    found = _record(records, goal.network, goal.layer, 16)
    return "–" if found is None else f"{found['utilization']:.1%}"


def _second(records: list[Record]) -> list[str]:
    rows = []
    for network in dict.fromkeys(record["network"] for record in records):
        found = _record(records, network, "total", 12)
        if found is None:
            continue
        ratio = found["cycles"] / found["roofline_cycles"]
        all_layers, worst = _tilings(network)
        rows.append(
            (
                network,
                f"{found['cycles']:,}",
                f"{found[ARRAY]:.2%}",
                f"{found['bound_mapping']:.2%}",
                f"{found['bound_roofline']:.2%}",
                f"{found[MEMORY]:.2%}",
                f"**{ratio:.4f}**",
                _reached(ratio <= ROOFLINE),
                all_layers,
                worst,
                f"{found['mismatches']:,}",
            )
        )
    head = (
        *("network", "cycles", "array", "mapping's bound", "roofline's bound", "memory busy"),
        *(f"cycles ÷ roofline's (≤ {ROOFLINE:g})", "reached"),
        *(f"÷ best tilings (≤ {TILINGS:g})", "layer furthest from its best", "wrong"),
    )
    return [
        "### 12×12, int8, 2 bytes a cycle, reads and writes in turns (a 16-bit SDRAM)",
        "",
        *table(head, rows),
        "",
        (
            "The tilings: cycles of all layers with the chosen tilings over those with the best found, "
            "each layer alone; in brackets, over the least that is not excluded (see tiling_search.py)."
        ),
    ]


def _tilings(network: str) -> tuple[str, str]:
    """The network's chosen over best tilings, and the worst layer's."""
    path = RESULTS / "tiling_search.json"
    if not path.is_file():
        return "–", "–"
    layers = [one for one in _load(path)["layers"] if one["network"] == network]

    def total(key: Callable[[Record], float]) -> float:
        return sum(key(one) * len(one["layers"]) for one in layers)

    chosen, best = total(lambda x: x["chosen_cycles"]), total(lambda x: x["best_cycles"])
    least = total(lambda x: min(x["best_cycles"], x["floor_of_the_rest"]))
    worst = max(layers, key=lambda one: one["chosen_over_best"])
    return (
        f"{chosen / best:.3f} ({chosen / least:.3f})",
        f"{worst['layers'][0]}: {worst['chosen_over_best']:.3f} ({worst['chosen_over_floor']:.3f})",
    )


def _layers(records: list[Record]) -> list[str]:
    lines = [
        "### Every layer: utilization, the mapping's bound, the roofline's bound",
        "",
        (
            "A layer's cycles are those between the stamps of two layers. The next layer's first weights "
            "and pixels load before its time, so that a single layer can pass its bound a little."
        ),
    ]
    for network in dict.fromkeys(record["network"] for record in records):
        lines += ["", f"<details><summary>{network}</summary>", "", *_network(records, network)]
        lines += ["", "</details>"]
    return lines


def _network(records: list[Record], network: str) -> list[str]:
    own = [record for record in records if record["network"] == network]
    sizes = list(dict.fromkeys(record["rows"] for record in own))
    head = ["layer", "M MAC"]
    for size in sizes:
        for what in ("cycles", "array", "mapping", "roofline", "bus"):
            head.append(f"{size}×{size} {what}")
    lines: list[str] = table(head, _rows(own, sizes))
    return lines


def _rows(own: list[Record], sizes: list[int]) -> Iterator[list[str]]:
    for layer in dict.fromkeys(record["layer"] for record in own):
        found = [next(r for r in own if (r["layer"], r["rows"]) == (layer, s)) for s in sizes]
        row = [layer, f"{found[0]['macs'] / 1e6:,.1f}"]
        for one in found:
            row.append(f"{one['cycles']:,}")
            for key in (ARRAY, "bound_mapping", "bound_roofline", MEMORY):
                row.append(f"{one[key]:.1%}")
        yield row


def _record(records: list[Record], network: str, layer: str, rows: int) -> Record | None:
    own = [r for r in records if (r["network"], r["rows"]) == (network, rows)]
    if layer == FIRST:
        return own[0] if own else None
    return next((record for record in own if record["layer"] == layer), None)


def _reached(yes: bool) -> str:
    return "yes" if yes else "**no**"


def _load(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))
