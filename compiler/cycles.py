"""The cycle model: what a program will take on the hardware, transaction by transaction.

Four units, the instruction fetch and the bus run as processes of a discrete-event simulation; a
step is a weight tile, a row of a feature map or a burst, never a cycle.
"""

from __future__ import annotations

from dataclasses import dataclass

from tilewright.compiler.bus import MemoryTiming
from tilewright.compiler.pipeline import Pipeline
from tilewright.compiler.pipeline_shared import Event
from tilewright.compiler.program import Program

__all__ = ["CycleReport", "Event", "MemoryTiming", "RegionCycles", "predict"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionCycles:
    """Cycles of one layer.

    Attributes
    ----------
    end : cycle of its stamp
    cycles : cycles since the previous layer's stamp
    calc, load, store : cycles in which the unit worked for this layer
    """

    name: str
    end: int
    cycles: int
    calc: int
    load: int
    store: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleReport:
    """What a whole run takes.

    Attributes
    ----------
    cycles : of the run
    regions : each layer's part
    read_beats, write_beats : bus beats
    events : what each unit did when, if that was asked for
    """

    cycles: int
    regions: tuple[RegionCycles, ...]
    read_beats: int
    write_beats: int
    events: tuple[Event, ...] = ()


def predict(
    program: Program,
    memory: MemoryTiming = MemoryTiming(),  # noqa: B008 (frozen)
    *,
    trace: bool = False,
) -> CycleReport:
    """Predict the cycles of a program.

    Parameters
    ----------
    memory : the memory behind the bus
    trace : also say what each unit did when
    """
    model = Pipeline(program, memory, trace=trace)
    model.kernel.run()
    assert len(model.store.ends) == len(program.regions), "the model came to a standstill"
    assert model.store.finished, "the model did not reach FINISH"
    regions = []
    previous = 0
    for number, (region, end) in enumerate(zip(program.regions, model.store.ends, strict=True)):
        busy = {unit: model.busy[unit].get(number, 0) for unit in ("calc", "load", "store")}
        regions.append(RegionCycles(name=region.name, end=end, cycles=end - previous, **busy))
        previous = end
    return CycleReport(
        cycles=model.store.finished,
        regions=tuple(regions),
        read_beats=model.channel.beats,
        write_beats=model.writer.beats,
        events=tuple(model.events or ()),
    )
