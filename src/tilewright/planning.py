"""Mixed precision on the command line: the configured budget, cycles as costs, the front as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tilewright.compiler.target import Target
from tilewright.config import Config
from tilewright.data import Data
from tilewright.errors import TilewrightError
from tilewright.progress import Progress
from tilewright.quant.config import QuantConfig

if TYPE_CHECKING:
    from tilewright.graph.ir import Graph
    from tilewright.quant.mixed import Plan, Table

__all__ = ["cycle_costs", "plan_lines", "plan_weights"]

_BUDGETS = ("average_bits", "weight_bytes", "cycles", "loss")
_WIDTHS = (2, 3, 4, 5, 6, 7, 8)


def plan_weights(graph: Graph, data: Data, config: Config, progress: Progress) -> Plan | None:
    """Bits of each layer's weights under the configured budget; None if there is no budget.

    Raises
    ------
    TilewrightError
        If there are several budgets, or the one cannot be met: the nearest that can is named.
    """
    from tilewright.quant.mixed import Budget, plan_bits

    given = {name: getattr(config.quant, name) for name in _BUDGETS}
    given = {name: value for name, value in given.items() if value is not None}
    if not given:
        return None
    if len(given) > 1:
        raise TilewrightError(f"Give one budget, not {len(given)}: {', '.join(given)}")
    if config.quant.static:
        raise TilewrightError(
            f"Static precision has no budget; leave out static or {next(iter(given))}"
        )
    widths = [b for b in _WIDTHS if b <= config.target.weight_bits]
    if "cycles" in given:
        costs = cycle_costs(graph, data, config.target, widths)
        budget = Budget(cost=given["cycles"], costs=costs)
    else:
        budget = Budget(**given)
    options = config.quant.options(config.target)
    return plan_bits(
        graph,
        data.inputs,
        budget,
        options,
        candidates=widths,
        refine=config.quant.refine,
        progress=progress,
    )


def cycle_costs(graph: Graph, data: Data, target: Target, widths: Sequence[int]) -> Table:
    """Predicted cycles of each layer with weights at each width.

    All other layers' cycles are shared out evenly, so that the sum is an image's. Cycles follow the container that a weight takes in memory, 2, 4, 8 or 16 bits.
    """
    from tilewright.analysis import predict_cycles
    from tilewright.api import compile as compile_program
    from tilewright.api import quantize
    from tilewright.simulation import LATENCY

    table: dict[str, dict[int, float]] = {x.name: {} for x in graph.layers if x.conv is not None}
    containers = {b: min(c for c in target.weight_containers if c >= b) for b in widths}
    for container in sorted(set(containers.values())):
        bits = min(container, target.weight_bits)
        options = QuantConfig.paper(weight_bits=bits, acc_bits=target.acc_bits)
        fixed = quantize(graph, data.first(1), config=options).fixed
        program = compile_program(fixed, target, keep=False).program
        found = predict_cycles(program, LATENCY)
        cycles = {
            region.name: timed.cycles
            for region, timed in zip(program.regions, found.regions, strict=True)
        }
        others = sum(count for name, count in cycles.items() if name not in table)
        for name, costs in table.items():
            each = cycles[name] + others / len(table)
            costs |= {b: each for b in widths if containers[b] == container}
    return table


def plan_lines(plan: Plan | None) -> list[str]:
    """The front, a line a point, what plans lose on images held out, and what was chosen."""
    if plan is None:
        return []
    lines = [
        f"front: cost {point.cost:,.6g}, predicted loss {point.loss:.3g}, "
        f"bits {min(point.bits.values())}..{max(point.bits.values())}"
        for point in plan.front
    ]
    lines += [f"measured: {name} lose {loss:.3g}" for name, loss in plan.measured.items()]
    bits = ", ".join(f"{name} {b}" for name, b in plan.chosen.bits.items())
    chosen = f"chosen: cost {plan.chosen.cost:,.6g}, predicted loss {plan.chosen.loss:.3g}: {bits}"
    return [*lines, chosen]
