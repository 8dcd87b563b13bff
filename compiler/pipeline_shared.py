"""What the cycle model's units share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tilewright.compiler.bus import Reader, Writer
from tilewright.compiler.decoding import Progress
from tilewright.compiler.events import Condition, Kernel, Queue, Tokens
from tilewright.compiler.microarchitecture import HALF_LATENCY, HEAD_CYCLES, INNER_QUEUE
from tilewright.compiler.target import Target

__all__ = ["Event", "Fields", "Shared", "TileSlot"]

Fields = dict[str, int]


class Event(NamedTuple):
    """An instruction on its unit.

    Attributes
    ----------
    unit : load, weights, calc or store
    region : number of the layer
    begin, end : cycles, end exclusive; it waited for tokens and parameters before
    stalled : cycles of these in which it waited for weights, memory, or who takes what it gives
    """

    unit: str
    region: int
    begin: int
    end: int
    stalled: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shared:
    """The kernel, and everything through which units meet.

    Attributes
    ----------
    queues : instructions waiting for each unit
    tokens : semaphores by (giving unit, taking unit)
    tiles : the next weight tile
    decoding : what compressed weight streams and blocks need, by address
    busy : each unit's working cycles by region
    events : of all instructions, in the order of their ends; None: nobody asked
    """

    kernel: Kernel
    target: Target
    readers: dict[str, Reader]
    writer: Writer
    queues: dict[str, Queue]
    tokens: dict[tuple[str, str], Tokens]
    tiles: TileSlot
    decoding: Mapping[int, Progress]
    busy: dict[str, dict[int, int]] = field(
        default_factory=lambda: {"calc": {}, "load": {}, "store": {}}
    )
    events: list[Event] | None = None

    @property
    def lump(self) -> int:
        """Beats that a consumer frees at once.

        A FIFO that is shallow against the memory's latency runs dry while it waits for room, so
        there it is followed beat by beat; in a deeper one a quarter of a burst is fine enough.
        """
        deep = self.target.readers["load"][1] >= 128
        return max(self.target.burst_beats // 4, 1) if deep else 1

    def record(self, unit: str, f: Fields, begin: int, end: int, stalled: int) -> None:
        """Note an instruction, if somebody asked for that."""
        if self.events is not None:
            stalled = min(max(stalled, 0), end - begin)
            self.events.append(Event(unit, f["region"], begin, end, stalled))

    def halves(self) -> Queue:
        """What lies between the halves of a unit."""
        if self.target.unit_queue == 1:  # both look at one register
            return Queue(self.kernel, 1)
        return Queue(self.kernel, INNER_QUEUE, HALF_LATENCY, HEAD_CYCLES)

    def count(self, unit: str, region: int, cycles: int) -> None:
        """Add working cycles of a unit."""
        self.busy[unit][region] = self.busy[unit].get(region, 0) + cycles


class TileSlot:
    """The next weight tile, between WEIGHTS and CALC."""

    def __init__(self, kernel: Kernel) -> None:
        self.changed = Condition(kernel)
        self.free = True
        self.freed = 0
        self.ready = 0

    def fill(self, ready: int) -> None:
        """The tile can start at `ready`."""
        self.free, self.ready = False, ready
        self.changed.notify()

    def take(self, time: int) -> None:
        """The tile starts at `time`, and the next one may come in."""
        self.free, self.freed = True, time
        self.changed.notify()
