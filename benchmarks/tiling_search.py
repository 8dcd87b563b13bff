"""Is the compiler's tiling near the best of all? Every layer of networks.py on the 12x12 machine.

The compiler compares some thousand tilings of a layer by a quick estimate. Here far more are
considered: every number of equal parts of the map's height and width as fill, every multiple of it
as macro tile, every number of column tiles that may share an accumulator half, every group of
channel blocks, resident or streamed, every packing. For each a *floor* is computed, which no
schedule of that tiling can beat: its weight tiles in the array, its bytes on the bus, its words into
the banks. Those whose floor lies above the chosen tiling's cycles cannot be better; of the others
the most promising by estimate are compiled and measured with the cycle model, and then those with
the lowest floors until the chosen tiling is proven to be near the best. The chosen tiling's cycles
over the best measured, and over the least that any tiling not measured could take, bound how far it
is from the best of all.

Where reads and writes take turns, the cycle model lets them overlap a little; no tiling is counted
as faster than its program's own roofline.

Layers are compiled alone, so that nothing hides their first load and last store.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from measuring import RESULTS, Stopwatch, missing, save
from utilization import LATENCY, MACHINES

from tilewright.compiler.bounds import layer_traffic
from tilewright.compiler.cost import Demand, column_counts, demand, estimate, sum_tiles
from tilewright.compiler.cuts import Cut, cut_axis
from tilewright.compiler.cycles import predict
from tilewright.compiler.isa import INSTRUCTION_BYTES, PARAM_BYTES
from tilewright.compiler.lower import compile_network
from tilewright.compiler.matrices import area_runs
from tilewright.compiler.packing import packings
from tilewright.compiler.program import Program
from tilewright.compiler.target import Target
from tilewright.compiler.tiling import Plan, acc_margin, unit
from tilewright.compiler.work import Area, LayerWork, layer_work
from tilewright.quant.fixed import FixedGraph

__all__ = ["Candidate", "candidates", "search"]

MACHINE = MACHINES["12x12"]
MEASURED = 12
"""Tilings measured of each layer, the best by estimate; then more if the floor of the rest ..."""
NEAR = 1.1
"""... is further than this from the chosen tiling, ..."""
SECONDS = 30.0
"""... as many as this time of the cycle model allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A tiling, and the cycles that no schedule of it can beat."""

    plan: Plan
    floor: float


def parts(extent: int, step: int) -> list[int]:
    """Sizes of the largest of 1, 2, 3, ... equal parts of `extent`, in multiples of `step`."""
    units = -(-extent // step)
    return sorted({-(-units // count) * step for count in range(1, units + 1)}, reverse=True)


def candidates(work: LayerWork, area: Area, most: float) -> tuple[int, list[Candidate]]:
    """How many tilings there are, and those whose floor is below `most` cycles."""
    count, found = 0, []
    blocks = max(source.blocks(work.target) for source in area.sources)
    for packing in packings(work, area):
        runs = area_runs(work, area, packing)
        need = demand(work, area, runs, parts(blocks, 1))
        for rows, cols, plan in _cuts(work, area, need, column_counts(runs)):
            options = list(_options(work, area, need, rows, cols, plan))
            count += len(options)
            for resident in {option.resident for option in options}:
                floor = _floor(work, area, need, rows, cols, plan.columns, resident)
                if floor < most:
                    found += [
                        Candidate(
                            plan=_estimated(work.target, need, rows, cols, option), floor=floor
                        )
                        for option in options
                        if option.resident == resident
                    ]
    return count, found


def _cuts(
    work: LayerWork, area: Area, need: Demand, counts: tuple[int, ...]
) -> Iterator[tuple[Cut, Cut, Plan]]:
    """Both axes cut in every way that fits the accumulators and, with one block, the banks."""
    target = work.target
    axes = [_axis(work, area, need, number) for number in (0, 1)]
    margin = acc_margin(area, target)
    for (height, rows_of), (width, cols_of) in itertools.product(*(axis.items() for axis in axes)):
        size = rows_of[0][1].accumulators.max() * cols_of[0][1].accumulators.max() + margin
        for columns in counts:
            if columns * size > target.acc_depth:
                continue
            for (macro_height, rows), (macro_width, cols) in itertools.product(rows_of, cols_of):
                plan = Plan(
                    macro=(macro_height, macro_width),
                    fill=(height, width),
                    columns=columns,
                    packing=need.packing,
                    group=1,
                    resident=True,
                    slot_words=0,
                    slots=0,
                    cycles=0.0,
                    bound="",
                )
                yield rows, cols, plan


def _axis(
    work: LayerWork, area: Area, need: Demand, number: int
) -> dict[int, list[tuple[int, Cut]]]:
    """For each size of a fill along an axis the sizes of macro tiles, with the cut."""
    first, last = (area.rows, area.cols)[number]
    windows = (area.row_windows, area.col_windows)[number]
    step = unit(need.packing, work.target, number)
    sources = tuple(s.cols if number else s.rows for s in area.sources)
    align = work.target.pixel_align if number else 1
    result = {}
    for fill in parts(last - first + first % step, step):
        macros = [fill * times for times in parts(-(-(last - first) // fill), 1)]
        result[fill] = [
            (
                macro,
                cut_axis(windows, (first, last), macro, fill, sources, number, align, need.packing),
            )
            for macro in macros
        ]
    return result


def _options(
    work: LayerWork, area: Area, need: Demand, rows: Cut, cols: Cut, plan: Plan
) -> Iterator[Plan]:
    """`plan` with every group of blocks, resident and streamed, as far as the banks allow."""
    depth = work.target.act_depth
    words = [int(r.max() * c.max()) for r, c in zip(rows.words, cols.words, strict=True)]
    blocks = [source.blocks(work.target) for source in area.sources]
    for group in need.calcs:
        slot = max(w * min(group, b) for w, b in zip(words, blocks, strict=True))
        slots = depth // slot
        for resident in (True, False):
            if slots >= (need.live[group, plan.columns] if resident else 1):
                yield dataclasses.replace(
                    plan, group=group, resident=resident, slot_words=slot, slots=slots
                )


def _estimated(target: Target, need: Demand, rows: Cut, cols: Cut, plan: Plan) -> Plan:
    """`plan` with the compiler's own quick estimate."""
    tiles = sum_tiles(target, need, rows, cols)
    cycles, bound = estimate(
        target, need, tiles, plan.group, plan.columns, plan.resident, plan.slots
    )
    return dataclasses.replace(plan, cycles=cycles, bound=bound)


def _floor(
    work: LayerWork,
    area: Area,
    need: Demand,
    rows: Cut,
    cols: Cut,
    columns: int,
    resident: bool,
) -> float:
    """Cycles that a tiling takes at least, whatever the schedule."""
    target = work.target
    bus, pixel = target.bus_bytes, target.pixel_bytes
    accumulators = np.outer(rows.accumulators, cols.accumulators)
    fills = accumulators.size
    tiles = np.maximum(accumulators / need.packing.pixels, target.min_tile_period)
    compute = float(tiles.sum()) * need.tiles
    blocks = need.resident if resident else need.streamed[columns]
    repeat = np.outer(rows.macro_fills, cols.macro_fills)
    read = words = 0.0
    for s, count in enumerate(blocks):
        times = np.ones_like(repeat) if resident else repeat
        # A map of few channels may have narrower pixels in memory.
        channels = min(area.sources[s].shape[0] * target.lane_bytes, pixel)
        beats = np.outer(rows.real[s], np.ceil(cols.real[s] * channels / bus))
        read += float((beats * times).sum()) * count
        words += float((np.outer(rows.words[s], cols.words[s]) * times).sum()) * count
    outputs = np.outer(rows.outputs, np.ceil(cols.outputs * pixel / bus))
    segments = need.segments / need.packing.rows
    written = float(outputs.sum()) * segments
    instructions = fills * (need.columns + segments) * INSTRUCTION_BYTES / bus
    params = fills * segments * target.cols * PARAM_BYTES / bus
    memory = read + need.beats * fills + written + params + instructions
    start = min(float(r.flat[0] * c.flat[0]) for r, c in zip(rows.real, cols.real, strict=True))
    drain = float(outputs.flat[-1])
    array = LATENCY + start + compute + drain
    return float(max(array, memory, words))


def cycles_of(program: Program) -> int:
    """Cycles of a program by the cycle model, and at least its roofline's."""
    roofline = sum(one.cycles(shared=MACHINE.shared) for one in layer_traffic(program))
    return max(predict(program, MACHINE.timing).cycles, roofline)


def search(fixed: FixedGraph, layer: str) -> dict[str, Any]:
    """Chosen and best tiling of a layer with one area."""
    target = MACHINE.target
    work = layer_work(fixed, fixed.layer(layer), target)
    (area,) = work.areas
    chosen = cycles_of(compile_network(fixed, target, layer=layer))
    count, found = candidates(work, area, chosen)
    best, plan = chosen, None
    rest = {id(one): one for one in found}
    start = time.process_time()
    for one in _order(found):
        floor = min((other.floor for other in rest.values()), default=best)
        promising = len(found) - len(rest) < MEASURED
        if time.process_time() - start > SECONDS or not (promising or chosen > NEAR * floor):
            break
        if one.floor >= best or id(one) not in rest:
            continue
        program = compile_network(fixed, target, layer=layer, planner=lambda *_, p=one.plan: p)
        cycles = cycles_of(program)
        assert one.floor <= cycles, f"{layer}: {one} took {cycles} cycles only"
        del rest[id(one)]
        if cycles < best:
            best, plan = cycles, one.plan
    floor = min((one.floor for one in rest.values() if one.floor < best), default=best)
    return {
        "layer": layer,
        "chosen_cycles": chosen,
        "best_cycles": best,
        "best": None if plan is None else _described(plan),
        "tilings": count,
        "not_excluded": len(found),
        "measured": len(found) - len(rest),
        "floor_of_the_rest": round(floor),
        "chosen_over_best": round(chosen / best, 4),
        "chosen_over_floor": round(chosen / floor, 4),
    }


def _order(found: list[Candidate]) -> Iterator[Candidate]:
    """The most promising ones by estimate, then those with the lowest floors."""
    promising = sorted(found, key=lambda one: max(one.plan.cycles, one.floor))
    yield from promising[:MEASURED]
    yield from sorted(found, key=lambda one: one.floor)


def _described(plan: Plan) -> dict[str, Any]:
    content = dataclasses.asdict(plan)
    for estimated in ("cycles", "bound"):
        del content[estimated]
    return content


def _distinct(fixed: FixedGraph) -> dict[object, list[str]]:
    """Layers with one area, those that are cut in the same way together."""
    found: dict[object, list[str]] = {}
    for layer in fixed.layers:
        work = layer_work(fixed, layer, MACHINE.target)
        if len(work.areas) == 1:
            (area,) = work.areas
            sources = tuple((s.shape, s.rows, s.cols, s.dense) for s in area.sources)
            windows = area.row_windows, area.col_windows
            key = (
                sources,
                windows,
                work.used_lanes,
                area_runs(work, area, packings(work, area)[0]),
            )
            found.setdefault(key, []).append(layer.name)
    return found


def main() -> int:
    """Search the tilings of every distinct layer."""
    parser = argparse.ArgumentParser(description="Chosen tilings against the best of all")
    parser.add_argument(
        "--network", action="append", help="only this one; the others' results stay"
    )
    options = parser.parse_args()
    reason = missing("torch", "foolbox", "PIL", "efficientnet_lite_pytorch")
    if reason:
        print(f"tiling_search skipped: {reason}")
        return 0
    from networks import NETWORKS, build

    watch, records = Stopwatch(), _known(options.network)
    for name in options.network or list(NETWORKS):
        with watch.step(name):
            fixed = build(name).fixed
            for layers in _distinct(fixed).values():
                record = {"network": name, "layers": layers, **search(fixed, layers[0])}
                records.append(record)
                print(
                    f"{name:19s}{layers[0]:26s}x{len(layers)} chosen {record['chosen_cycles']:11,d}"
                    f" best {record['best_cycles']:11,d} ({record['chosen_over_best']:.3f}, at most "
                    f"{record['chosen_over_floor']:.3f}) tilings {record['tilings']:,}, not excluded "
                    f"{record['not_excluded']:,}, measured {record['measured']}",
                    flush=True,
                )
        target = MACHINE.target
        machine = {"rows": target.rows, "cols": target.cols, "bus_bytes": target.bus_bytes}
        content = {**machine, "latency": LATENCY, "steps": watch.steps, "layers": records}
        save("tiling_search", content, ("numpy",))
    return 0


def _known(networks: list[str] | None) -> list[dict[str, Any]]:
    """Records of earlier searches of other networks than these; none if all are searched."""
    path = RESULTS / "tiling_search.json"
    if networks is None or not path.is_file():
        return []
    layers = json.loads(path.read_text("utf-8"))["layers"]
    return [record for record in layers if record["network"] not in networks]


if __name__ == "__main__":
    sys.exit(main())
