"""Programs whose words are packed in a given way, whatever the compiler would choose."""

from __future__ import annotations

from tilewright.compiler.geometry import Packing
from tilewright.compiler.lower import compile_network
from tilewright.compiler.packing import packings
from tilewright.compiler.program import Program
from tilewright.compiler.target import Target
from tilewright.compiler.tiling import Plan, best_plan
from tilewright.compiler.work import Area, LayerWork, layer_work
from tilewright.quant.fixed import FixedGraph

__all__ = ["compile_packed", "ways"]


def ways(fixed: FixedGraph, target: Target) -> tuple[Packing, ...]:
    """The packings of a network's only layer."""
    work = layer_work(fixed, fixed.layers[0], target)
    return packings(work, work.areas[0])


def compile_packed(fixed: FixedGraph, target: Target, packing: Packing) -> Program | None:
    """The program of a one-layer network with one packing, or None if no tile of it fits."""
    work = layer_work(fixed, fixed.layers[0], target)
    if best_plan(work, work.areas[0], packing) is None:
        return None

    def planner(work: LayerWork, area: Area) -> Plan:
        plan = best_plan(work, area, packing)
        assert plan is not None
        return plan

    return compile_network(fixed, target, planner=planner)
