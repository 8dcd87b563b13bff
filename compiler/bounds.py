"""What bounds a layer's use of the array: its mapping, and the roofline of its schedule.

The *mapping's bound* is the share of useful multiply-accumulates in the slots that the layer's
weight tiles take when each accumulator is computed once: channel counts that do not fill R and C,
diagonal tiles, packed as well as the target can. The *roofline's bound* is the utilization if
nothing counted but the cycles in which the array computes and those in which the bus moves data,
whichever are more: no latency, no dependence, no unit that is slower than the bus. Bytes are those
that the program's instructions move, itself included.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tilewright.compiler.geometry import PLAIN, Packing
from tilewright.compiler.isa import INSTRUCTION_BYTES, PARAM_BYTES, Opcode
from tilewright.compiler.joint import joint_groups
from tilewright.compiler.listing import instructions
from tilewright.compiler.matrices import area_runs
from tilewright.compiler.packing import packings
from tilewright.compiler.program import STAMP_BYTES, Program
from tilewright.compiler.target import Target
from tilewright.compiler.work import Area, LayerWork, layer_work
from tilewright.quant.fixed import FixedGraph

__all__ = ["Bounds", "Traffic", "layer_bounds", "layer_traffic", "mapping_slots"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What the instructions of one layer compute and move.

    Attributes
    ----------
    macs : useful multiply-accumulates
    compute : cycles in which a pixel enters the array
    maps, weights, params, fetch : bus beats read: feature maps, weight tiles, parameter records,
        instructions
    written : bus beats written
    """

    name: str
    macs: int
    compute: int
    maps: int
    weights: int
    params: int
    fetch: int
    written: int

    @property
    def read(self) -> int:
        """Bus beats read."""
        return self.maps + self.weights + self.params + self.fetch

    @property
    def beats(self) -> int:
        """Bus beats read and written."""
        return self.read + self.written

    def cycles(self, *, shared: bool) -> int:
        """Least cycles: compute or bus; `shared` if reads and writes take turns on the bus."""
        return max(self.compute, self.beats if shared else max(self.read, self.written))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Most utilization that a layer can reach, and what that comes from.

    Attributes
    ----------
    mapping, roofline : the two bounds
    slots : multiply-accumulate slots of the mapping
    """

    mapping: float
    roofline: float
    slots: int
    traffic: Traffic


def layer_traffic(program: Program) -> tuple[Traffic, ...]:
    """What each layer of a program computes and moves, in the order of `program.regions`."""
    code = list(instructions(program))
    result = []
    for region in program.regions:
        counts = dict.fromkeys(("compute", "maps", "weights", "params", "fetch", "written"), 0)
        for name, fields in code[region.first : region.last]:
            for kind, count in _instruction(Opcode[name], fields, program.target).items():
                counts[kind] += count
        result.append(Traffic(name=region.name, macs=region.macs, **counts))
    return tuple(result)


def _instruction(opcode: Opcode, fields: dict[str, int], target: Target) -> dict[str, int]:
    """Cycles and beats of one instruction."""
    bus = target.bus_bytes
    counts = {"fetch": max(INSTRUCTION_BYTES // bus, 1)}
    if opcode is Opcode.LOAD:
        counts["maps"] = fields["rows"] * fields["row_beats"]
    elif opcode is Opcode.WEIGHTS:
        counts["weights"] = fields["beats"]
    elif opcode is Opcode.CALC:
        tiles = fields["tiles0"] * fields["tiles1"] * fields["tiles2"]
        counts["compute"] = tiles * fields["rows"] * fields["cols"]
    elif opcode is Opcode.STORE:
        counts["params"] = -(-target.cols * PARAM_BYTES // bus)
        counts["written"] = fields["rows"] * fields["row_beats"]
    elif opcode is Opcode.STAMP:
        counts["written"] = -(-STAMP_BYTES // bus)
    return counts


def mapping_slots(work: LayerWork) -> int:
    """Fewest multiply-accumulate slots that a layer's weight tiles take, each accumulator once."""
    cells = work.target.rows * work.target.cols
    return cells * sum(
        min(_cycles(work, area, *form) for form in _forms(work, area)) for area in work.areas
    )


def _forms(work: LayerWork, area: Area) -> Iterator[tuple[Packing, int]]:
    """Packings and numbers of channel blocks that share tiles, as far as they need few tiles."""
    for packing in packings(work, area):
        yield packing, 0
    for joint in joint_groups(work, area.sources[0])[-1:]:
        yield PLAIN, joint


def _cycles(work: LayerWork, area: Area, packing: Packing, joint: int) -> int:
    """Cycles of an area: its weight tiles, each for all its words of accumulators."""
    tiles = sum(run.tiles for column in area_runs(work, area, packing, joint) for run in column)
    words = 1
    for axis, (windows, (first, last)) in enumerate(
        ((area.row_windows, area.rows), (area.col_windows, area.cols))
    ):
        used: set[int] = set()
        for start, stop in zip(windows.starts[first:last], windows.stops[first:last], strict=True):
            used.update(range(start, stop))
        words *= -(-len(used) // packing.size(axis))
    return tiles * words


def layer_bounds(fixed: FixedGraph, program: Program, *, shared: bool = False) -> dict[str, Bounds]:
    """Both bounds of each layer of a program; `shared` if reads and writes take turns on the bus."""
    target = program.target
    cells = target.rows * target.cols
    bounds = {}
    for traffic in layer_traffic(program):
        slots = mapping_slots(layer_work(fixed, fixed.layer(traffic.name), target))
        roofline = traffic.macs / (cells * traffic.cycles(shared=shared))
        bounds[traffic.name] = Bounds(
            mapping=traffic.macs / slots, roofline=roofline, slots=slots, traffic=traffic
        )
    return bounds
