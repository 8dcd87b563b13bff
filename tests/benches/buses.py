"""Models of what stands around the units: the memory behind a reader, and the array's parts."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from streams import Agent, Sink, Source

__all__ = ["Port", "beats_of", "transferred"]


def beats_of(memory: bytes, address: int, beats: int, bus: int) -> list[int]:
    """Bus beats from a byte address on."""
    assert address % bus == 0
    assert address + beats * bus <= len(memory), "read beyond the memory"
    return [
        int.from_bytes(memory[at : at + bus], "little")
        for at in range(address, address + beats * bus, bus)
    ]


def transferred(transfers: list[Any]) -> list[tuple[int, int]]:
    """(address, beats) of transfers that were taken."""
    return [(item["address"], item["beats"]) for item in transfers]


class Port(Agent):
    """A DMA reader as a unit sees it: takes transfers, later gives their beats in order."""

    def __init__(
        self,
        transfer: Any,
        beats: Any,
        memory: bytes,
        bus: int,
        *,
        random: Random,
        chance: float = 1.0,
        latency: Callable[[], int] = lambda: 0,
    ) -> None:
        self.memory = memory
        self.bus = bus
        self.latency = latency
        self.transfers = Sink(transfer, chance=chance, random=random)
        self.beats = Source(beats, chance=chance, random=random)
        self._coming: list[tuple[int, list[int]]] = []
        self._seen = 0

    def drive(self, ctx: Any, cycle: int) -> None:
        self.transfers.drive(ctx, cycle)
        while self._coming and self._coming[0][0] <= cycle:
            self.beats.items += self._coming.pop(0)[1]
        self.beats.drive(ctx, cycle)

    def sample(self, ctx: Any, cycle: int) -> None:
        self.transfers.sample(ctx, cycle)
        self.beats.sample(ctx, cycle)
        for item in self.transfers.got[self._seen :]:
            data = beats_of(self.memory, item["address"], item["beats"], self.bus)
            self._coming.append((cycle + 1 + self.latency(), data))
        self._seen = len(self.transfers.got)
