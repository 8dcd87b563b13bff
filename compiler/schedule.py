"""From tilings to instructions: which loads, weight streams, calculations and stores, in order.

The order is a valid sequential one, so the decoupled units cannot deadlock; dependencies are
recorded per instruction and become tokens later. Loads run ahead of their use as far as bank slots
and the unit queues allow, and a fill's stores follow the next fill's first calculation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tilewright.compiler.encode import CONTAINER_CODES
from tilewright.compiler.geometry import PLAIN, Packing, ranges
from tilewright.compiler.isa import Opcode
from tilewright.compiler.loads import Group, Rectangle, load_instructions, rectangle
from tilewright.compiler.machine import Machine
from tilewright.compiler.matrices import area_runs
from tilewright.compiler.stores import Fill, store_instructions
from tilewright.compiler.stream import Segment, segments_of
from tilewright.compiler.target import Target
from tilewright.compiler.tiling import (
    Plan,
    acc_margin,
    choose_plan,
    column_extent,
    row_extent,
    unit,
)
from tilewright.compiler.work import Area, LayerWork, Run, Source

__all__ = ["Planner", "Summary", "schedule_layer"]

Planner = Callable[[LayerWork, Area], Plan]
"""Chooses the tiling of an area of a layer."""

LOADS_AHEAD = 3
"""LOAD instructions that may wait in program order before a CALC: the unit queue holds four."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One CALC's worth of work: `run`'s blocks [first, last) for one fill."""

    fill: Fill
    run: Run
    first: int
    last: int
    group: Group
    start: bool
    segment: Segment | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What scheduling a layer amounted to."""

    fills: int
    slots: int
    bound: str


def schedule_layer(
    work: LayerWork, machine: Machine, only: int | None = None, planner: Planner = choose_plan
) -> Summary:
    """Emit a layer's instructions; `only` keeps one accumulator fill, `planner` chooses tilings.

    Raises
    ------
    TilewrightError
        If the layer cannot be tiled for the target.
    """
    fills = slots = 0
    bounds = []
    for area in work.areas:
        plan = planner(work, area)
        runs = area_runs(work, area, plan.packing, plan.group if plan.joint else 0)
        bounds.append((plan.cycles, plan.bound))
        steps = []
        for step in _steps(work, area, plan, runs, fills):
            if only is None or step.fill.number == only:
                steps.append(step)
            fills = max(fills, step.fill.number + 1)
        slots += _AreaSchedule(work, area, plan, machine).emit(steps)
    return Summary(fills=fills, slots=slots, bound=max(bounds)[1])


def _steps(
    work: LayerWork, area: Area, plan: Plan, runs: tuple[tuple[Run, ...], ...], number: int
) -> Iterator[Step]:
    units = unit(plan.packing, work.target, 0), unit(plan.packing, work.target, 1)
    macros = [
        (rows, cols)
        for rows in ranges(*area.rows, plan.macro[0], units[0])
        for cols in ranges(*area.cols, plan.macro[1], units[1])
    ]
    all_rects = [_rectangles(work, area, plan.packing, *macro) for macro in macros]
    # The offsets of joint tiles hold the distance between blocks: one for all macro tiles, so that
    # one weight stream serves them all.
    common = max(rects[0].words for rects in all_rects) if plan.joint else None
    for (macro_rows, macro_cols), rects in zip(macros, all_rects, strict=True):
        block_words = [rect.words for rect in rects]
        block_words[0] = common or block_words[0]
        groups: dict[object, Group] = {}
        for columns in ranges(0, len(runs), plan.columns):
            for rows in ranges(*macro_rows, plan.fill[0], units[0]):
                for cols in ranges(*macro_cols, plan.fill[1], units[1]):
                    fills = _fills(work.target, area, plan, number, columns, rows, cols)
                    number += len(fills)
                    yield from _batch_steps(
                        plan, fills, runs, rects, block_words, groups, work.target
                    )


def _fills(
    target: Target,
    area: Area,
    plan: Plan,
    number: int,
    columns: tuple[int, int],
    rows: tuple[int, int],
    cols: tuple[int, int],
) -> list[Fill]:
    """Fills of one accumulator half: the same outputs of column tiles [first, last)."""
    fills: list[Fill] = []
    margin = acc_margin(area, target)
    base = margin
    for column in range(*columns):
        fill = Fill(number + len(fills), number, column, rows, cols, base, area, plan.packing)
        fills.append(fill)
        base += fill.accumulators + margin
    return fills


def _rectangles(
    work: LayerWork, area: Area, packing: Packing, rows: tuple[int, int], cols: tuple[int, int]
) -> list[Rectangle]:
    region = area.row_windows.region(*rows), area.col_windows.region(*cols)
    return [rectangle(source, *region, work.target, packing) for source in area.sources]


def _batch_steps(
    plan: Plan,
    fills: list[Fill],
    runs: tuple[tuple[Run, ...], ...],
    rects: list[Rectangle],
    block_words: list[int],
    groups: dict[object, Group],
    target: Target,
) -> Iterator[Step]:
    """Steps of the fills of one accumulator half, which take turns so that they share loads.

    In each turn those that use the same blocks follow each other, so streaming needs one slot only.
    """
    segments = [segments_of(runs[fill.column], scaled=target.scaled) for fill in fills]
    queues = [list(_parts(column, plan.group, whole=len(fills) == 1)) for column in segments]
    for i in range(max(map(len, queues))):
        turn = [(f, *parts[i]) for f, parts in zip(fills, queues, strict=True) if i < len(parts)]
        used = [(run.source, first, last) for _, run, first, last, _ in turn]
        turn.sort(key=lambda part: used.index((part[1].source, *part[2:4])))
        for fill, run, first, last, head in turn:
            q = first // plan.group
            resident: object = (run.source, q)
            key = resident if plan.resident else (fill.batch, i, run.source, first, last)
            if key not in groups:
                low, high = first, last
                if plan.resident:
                    blocks = fill.area.sources[run.source].blocks(target)
                    low, high = q * plan.group, min((q + 1) * plan.group, blocks)
                s = run.source
                groups[key] = Group(s, low, high, rects[s], block_words[s])
            yield Step(
                fill=fill,
                run=run,
                first=first,
                last=last,
                group=groups[key],
                start=i == 0,
                segment=head,
            )


def _parts(
    column: list[Segment], size: int, whole: bool
) -> Iterator[tuple[Run, int, int, Segment | None]]:
    """A column tile's runs in groups of `size` blocks, each with the weights it has to stream.

    One WEIGHTS streams a whole segment, or each part its own if other columns come between.
    """
    for segment in column:
        for r, run in enumerate(segment):
            for first, last in _chunks(run, size):
                if not whole:
                    yield run, first, last, (replace(run, first=first, last=last),)
                else:
                    yield run, first, last, segment if r == 0 and first == run.first else None


def _chunks(run: Run, size: int) -> Iterator[tuple[int, int]]:
    for q in range(run.first // size, (run.last - 1) // size + 1):
        yield max(q * size, run.first), min((q + 1) * size, run.last)


class _AreaSchedule:
    """Emits the steps of one area."""

    def __init__(self, work: LayerWork, area: Area, plan: Plan, machine: Machine) -> None:
        self.work = work
        self.area = area
        self.plan = plan
        self.machine = machine
        self.owner: list[Group | None] = [None] * plan.slots
        self.place: dict[int, int] = {}
        self.loaded: dict[int, list[int]] = {}
        self.last_use: dict[int, int] = {}
        self.pending: list[Fill] = []
        self.pending_half = 0

    def emit(self, steps: list[Step]) -> int:
        """Emit everything; returns the multiply-accumulate slots used."""
        order: list[Group] = []
        for i, step in enumerate(steps):
            if id(step.group) not in self.last_use:
                order.append(step.group)
            self.last_use[id(step.group)] = i
        ahead = slots = 0
        filled: list[Fill] = []
        for i, step in enumerate(steps):
            while id(step.group) not in self.place:
                self._load(order[ahead], i - 1)
                ahead += 1
            batch = step.fill.batch
            opens = i == 0 or steps[i - 1].fill.batch != batch
            slots += self._calculate(step, opens)
            if opens:
                self._drain()
            if step.fill not in filled:
                filled.append(step.fill)
            if i + 1 == len(steps) or steps[i + 1].fill.batch != batch:
                self.pending, self.pending_half = filled, self.machine.half
                self.machine.half ^= 1
                filled = []
            while ahead < len(order) and self._room() and self._slot(i - 1) is not None:
                self._load(order[ahead], i - 1)
                ahead += 1
        self._drain()
        return slots

    def _drain(self) -> None:
        # A half cannot be read while sums are added to it: all wait for the batch's last CALC.
        last = max((fill.calcs[-1] for fill in self.pending), default=0)
        for fill in self.pending:
            fill.calcs.append(last)
            store_instructions(self.machine, self.work, fill, self.pending_half)
        self.pending = []

    def _room(self) -> bool:
        """Whether another load would not hold back the dispatch of the next CALC."""
        machine = self.machine
        machine.load_ends = [end for end in machine.load_ends if end > machine.calc_time]
        return len(machine.load_ends) < LOADS_AHEAD

    def _slot(self, done: int) -> int | None:
        """Slot whose content is dead after step `done`, the one longest unused, or None."""
        best, best_user = None, 0
        words = self.plan.slot_words
        for index, group in enumerate(self.owner):
            if group is not None and self.last_use[id(group)] > done:
                continue
            user = int(self.machine.bank_user[index * words : (index + 1) * words].max())
            if best is None or user < best_user:
                best, best_user = index, user
        return best

    def _load(self, group: Group, done: int) -> None:
        slot = self._slot(done)
        assert slot is not None, f"{self.work.name}: no bank slot is free"
        self.owner[slot] = group
        base = slot * self.plan.slot_words
        self.place[id(group)] = base
        source = self.area.sources[group.source]
        self.loaded[id(group)] = load_instructions(self.machine, source, group, base)

    def _calculate(self, step: Step, opens: bool) -> int:
        """Emit a step's WEIGHTS and CALC; returns the multiply-accumulate slots it takes.

        `opens`: it is the first one of its accumulator half.
        """
        machine, work, fill = self.machine, self.work, step.fill
        source, rect = self.area.sources[step.run.source], step.group.rect
        if step.segment is not None:
            self._weights(fill.column, step.segment, step.group)
        base = self.place[id(step.group)]
        walk = _pixel_walk(fill, source, rect, work.target)
        start = base + (step.first - step.group.first) * step.group.block_words + walk.pop("start")
        pixels = walk["rows"] * walk["cols"]
        needs = list(self.loaded[id(step.group)])
        if opens:
            needs.append(machine.half_store[machine.half])
        tiles = 0
        for i, shape in enumerate(_tile_loops(step, source, rect)):
            tiles += shape["tiles0"] * shape["tiles1"] * shape["tiles2"]
            skip = shape.pop("skip")
            # A packed word's channel groups stand one after the other, as do their accumulators.
            group = skip if step.run.packing is not PLAIN else 0
            index = machine.emit(
                Opcode.CALC,
                needs,
                half=machine.half,
                first=int(step.start and (i == 0 or step.run.packing is not PLAIN)),
                gather=int(step.run.gather),
                shift=int(step.run.shift),
                base=start + skip,
                acc_base=fill.margin + group,
                **walk,
                **shape,
            )
        machine.bank_user[base : base + step.group.words] = index
        fill.calcs.append(index)
        machine.calc_time += tiles * max(pixels, work.target.min_tile_period)
        return tiles * pixels * work.target.rows * work.target.cols

    def _weights(self, column: int, segment: Segment, group: Group) -> None:
        target = self.work.target
        address, size = self.machine.constants.stream(
            self.work, self.area, column, segment, group.rect.width, group.block_words
        )
        self.machine.emit(
            Opcode.WEIGHTS,
            [],
            address=address,
            beats=-(-size // target.bus_bytes),
            tiles=sum(run.tiles for run in segment) + target.scaled,
            container=CONTAINER_CODES[segment[0].container],
            gather=int(segment[0].gather),
            pack=segment[0].packing.code,
        )
        if target.scaled:  # the stream's first tile, and one pixel
            ones = dict.fromkeys(("tiles0", "tiles1", "tiles2", "rows", "cols", "acc_step"), 1)
            gather, half = int(segment[0].gather), self.machine.half
            self.machine.emit(Opcode.CALC, [], half=half, gather=gather, scales=1, **ones)
            self.machine.calc_time += target.min_tile_period


def _signed(step: int) -> int:
    """A bank step as the 16-bit field takes it (addresses are modulo 2**16)."""
    return (step + 0x8000) % 0x10000 - 0x8000


def _pixel_walk(fill: Fill, source: Source, rect: Rectangle, target: Target) -> dict[str, int]:
    """A CALC's walk over a fill's pixels: fields, and the words to `start` from the rectangle's."""
    packing = fill.packing
    (top, bottom), (left, right) = fill.region
    y = row_extent(source, top, bottom, packing)[0] - rect.top
    if packing is PLAIN:
        x = source.cols.needs(left, right)[0] - rect.left
    else:
        x = column_extent(source, left, right, target, packing)[0] - rect.left
    pitch = rect.width // packing.cols
    return {
        "start": (y // packing.rows * pitch + x // packing.cols) * packing.pixels,
        "rows": (bottom - top) // packing.rows,
        "cols": (right - left) // packing.cols,
        "row_step": source.rows.stride * pitch * packing.pixels,
        "col_step": source.cols.stride * packing.pixels,
        "acc_step": packing.pixels,
    }


def _tile_loops(step: Step, source: Source, rect: Rectangle) -> Iterator[dict[str, int]]:
    """Loop counts and steps of the CALCs of a step, with the words to `skip` from its start."""
    run, blocks = step.run, step.last - step.first
    taps_y, taps_x = source.rows.taps, source.cols.taps
    dy, dx = source.rows.dilation * rect.width, source.cols.dilation

    def loops(skip: int, *pairs: tuple[int, int]) -> dict[str, int]:
        result = {"skip": skip}
        for i, (count, words) in enumerate(pairs):
            result |= {f"tiles{i}": count, f"step{i}": _signed(words)}
        return result

    if run.packing is not PLAIN:
        pixels = run.packing.pixels
        for group in range(pixels):
            yield loops(group, (run.tiles_per_block // pixels, 0), (1, 0), (1, 0))
    elif run.joint:
        yield loops(0, (run.tiles, 0), (1, 0), (1, 0))
    elif run.gather:
        yield loops(0, (run.tiles_per_block, 0), (1, 0), (blocks, rect.words))
    elif run.repeats == 1:
        yield loops(0, (taps_x, dx), (taps_y, dy), (blocks, rect.words))
    elif taps_y * taps_x == 1:
        yield loops(0, (run.repeats, 0), (1, 0), (blocks, rect.words))
    else:
        for block in range(blocks):
            yield loops(block * rect.words, (run.repeats, 0), (taps_x, dx), (taps_y, dy))
