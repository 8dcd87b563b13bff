"""The memory bus of the cycle model: readers with credit, one in-order channel, the writer.

Times are cycles: something at time t happens in cycle t. What a register delays shows one later.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass

from tilewright.compiler.dram import Dram, DramTiming
from tilewright.compiler.events import Condition, Kernel, Process
from tilewright.compiler.microarchitecture import READS_UNDER_WAY, WRITES_PENDING
from tilewright.compiler.target import Target

__all__ = ["Channel", "MemoryTiming", "Reader", "Writer"]

FIFO_LATENCY = 4
"""From a beat on the bus to the reader's consumer: a buffered FIFO between two registers.

With short stages it takes one more.
"""
BEAT_LATENCY = 1
"""The same of a target without bursts: one register."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryTiming:
    """The memory behind the bus.

    Attributes
    ----------
    latency : a read burst's first beat comes 1 + latency cycles after its address
    write_latency : a response comes 1 + write_latency cycles after its burst's last beat
    outstanding : read bursts, and write bursts, that the memory accepts ahead
    shared : reads and writes share one data path, as in a DRAM controller. Whose beat comes first
        is not followed beat by beat: a write delays the reads after those under way.
    dram : the chip and its controller, which then say all of that
    """

    latency: int = 50
    write_latency: int = 50
    outstanding: int = 8
    shared: bool = False
    dram: DramTiming | None = None


class Channel:
    """The read channels: round-robin over the readers, data in the order of the requests."""

    def __init__(self, kernel: Kernel, timing: MemoryTiming, target: Target) -> None:
        self._kernel, self._timing, self._bursts = kernel, timing, target.bursts
        self._late = target.short_stages  # a burst's end is seen through a register
        self.readers: list[Reader] = []
        self.wake = Condition(kernel)
        self.free = 0
        self.beats = 0
        self._last_beats: deque[int] = deque()
        self._last = 0
        self.dram = Dram(kernel, timing.dram) if timing.dram is not None else None

    def process(self) -> Process:
        """Grant a burst every second cycle to the next reader that asks."""
        kernel, ahead = self._kernel, self._timing.outstanding
        while True:
            if len(self._last_beats) >= READS_UNDER_WAY:
                oldest = self._last_beats.popleft()
                if oldest + 1 + self._late > kernel.now:
                    yield oldest + 1 + self._late
            reader = self._choose()
            if reader is None:
                yield self.wake
                continue
            address, length = reader.granted()
            self.beats += length
            if self.dram is not None:
                granted = kernel.now
                yield granted + 1
                yield from self.dram.reads.accept(address, length, reader.comes)
                yield max(kernel.now, granted + 2)
                continue
            # The address stands on the bus from the next cycle until the memory takes it, which
            # it does while fewer bursts than it accepts ahead are unfinished.
            accepted = kernel.now + 1
            if len(self._last_beats) >= ahead:
                accepted = max(accepted, self._last_beats[-ahead])
            start = max(accepted + 1 + self._timing.latency, self.free)
            self.free = start + length
            self._last_beats.append(self.free - 1)
            reader.comes(start, length)
            # Without bursts one beat is under way.
            yield max(accepted, kernel.now + 2) if self._bursts else start + 1

    def _choose(self) -> Reader | None:
        count = len(self.readers)
        if not self._bursts:  # the first comes first
            return next((reader for reader in self.readers if reader.asks()), None)
        for distance in range(1, count + 1):
            index = (self._last + distance) % count
            if self.readers[index].asks():
                self._last = index
                return self.readers[index]
        return None


class Reader:
    """Cuts transfers into bursts and requests them while its FIFO has room."""

    def __init__(self, kernel: Kernel, channel: Channel, target: Target, name: str) -> None:
        self._kernel, self._channel = kernel, channel
        self._bus, self._bursts = target.bus_bytes, target.bursts
        self._late = int(target.short_stages)  # whose turn it is is a register
        self._longest, depth = target.readers[name]
        self._latency = FIFO_LATENCY + target.short_stages if target.bursts else BEAT_LATENCY
        self.depth = self._room = depth
        self._request: tuple[int, int, int] | None = None  # address, beats, first cycle
        self._transfer: tuple[int, int] | None = None
        self._changed = Condition(kernel)
        self._ends: list[int] = []
        self._starts: list[int] = []
        self._total = 0
        self.arrived = Condition(kernel)
        channel.readers.append(self)

    def offer(self, address: int, beats: int) -> Process:
        """Wait until the splitter takes the transfer; goes on in that cycle."""
        while self._transfer is not None:
            yield self._changed
        self._transfer = (address, beats)
        self._changed.notify()

    def process(self) -> Process:
        """Cut transfers: a burst every three cycles, when the one before it has been granted."""
        kernel = self._kernel
        while True:
            while self._transfer is None:
                yield self._changed
            address, beats = self._transfer
            yield kernel.now + 1
            while beats and not self._bursts:
                self._request = (address, 1, kernel.now)
                self._channel.wake.notify()
                while self._request is not None:
                    yield self._changed
                yield kernel.now + 1
                address += self._bus
                beats -= 1
            while beats:
                yield kernel.now + 2  # the burst's length
                while self._request is not None:
                    yield self._changed
                    if self._request is None:
                        yield kernel.now + 1
                room = (4096 - address % 4096) // self._bus
                length = min(beats, self._longest, room)
                asks = kernel.now + 2 + self._late  # the burst, its room
                self._request = (address, length, asks)
                kernel.schedule(asks, self._channel.wake.notify)
                beats -= length
                address += length * self._bus
                yield kernel.now + 1
            self._transfer = None
            self._changed.notify()

    def asks(self) -> bool:
        """Whether a burst is requested now."""
        if self._request is None:
            return False
        _, length, since = self._request
        return self._kernel.now >= since and self._room >= length

    def granted(self) -> tuple[int, int]:
        """The request is taken; its address and beats."""
        assert self._request is not None
        address, length, _ = self._request
        self._request = None
        self._room -= length
        self._changed.notify()
        return address, length

    def comes(self, first: int, length: int) -> None:
        """So many beats come over the bus, one a cycle from `first` on."""
        start = first + self._latency
        self._total += length
        self._starts.append(start - (self._total - length))
        self._ends.append(self._total)
        self.arrived.notify()

    def covers(self, beat: int) -> bool:
        """Whether it is known when beat number `beat` (from 0) arrives."""
        return beat < self._total

    def time_of(self, beat: int) -> int:
        """When the consumer sees beat number `beat`."""
        index = bisect_left(self._ends, beat + 1)
        return self._starts[index] + beat

    def consume(self, first: int, beats: int, since: int) -> Generator[Condition, None, int]:
        """Take beats from number `first` on as they come, from cycle `since` on, one a cycle.

        Returns the cycle in which the last one is taken.
        """
        taken = since - 1
        for beat in range(first, first + beats):
            while not self.covers(beat):
                yield self.arrived
            taken = max(self.time_of(beat), taken + 1)
            self.release(taken, 1)
        return taken

    def release(self, time: int, beats: int) -> None:
        """`beats` more beats have left the FIFO by `time`."""
        # Behind two registers, or without bursts one.
        self._kernel.schedule(time + 1 + self._bursts + self._late, lambda: self._free(beats))

    def _free(self, beats: int) -> None:
        self._room += beats
        if self._request is not None:
            self._channel.wake.notify()


class Writer:
    """The write channels: one beat a cycle, at most WRITES_PENDING bursts without a response."""

    def __init__(
        self, target: Target, timing: MemoryTiming, channel: Channel, kernel: Kernel
    ) -> None:
        self._target, self._timing, self._channel, self._kernel = target, timing, channel, kernel
        self._free = 0
        self._announced = 0
        self._responses: deque[int] = deque()
        self.beats = 0
        self._last_response = 0
        self._sent = self._seen = 0  # bursts into a DRAM, and those answered
        self._answered = Condition(kernel)

    def write(
        self, address: int, ready: list[int], announced: int
    ) -> Generator[int | Condition, None, int]:
        """Write beats that become ready at the times `ready`.

        `announced` is the cycle in which the first burst's address can stand on the bus. Returns
        the cycle of the last beat.
        """
        self.beats += len(ready)
        if not self._target.bursts:
            return self._beat_by_beat(ready)
        done = 0
        gone = self._free - 1
        while done < len(ready):
            room = (4096 - address % 4096) // self._target.bus_bytes
            length = min(len(ready) - done, self._target.burst_beats, room)
            burst = ready[done : done + length]
            announced = max(announced, self._announced + 4)  # when the one before has left
            if self._channel.dram is None:
                gone = self._burst(burst, announced, gone)
            else:
                gone = yield from self._into_dram(
                    self._channel.dram, address, burst, announced, gone
                )
            done += length
            address += length * self._target.bus_bytes
        self._free = gone + 1
        return gone

    def _burst(self, ready: list[int], accepted: int, gone: int) -> int:
        timing = self._timing
        if len(self._responses) >= min(WRITES_PENDING, timing.outstanding):
            accepted = max(accepted, self._responses.popleft())
        self._announced = accepted
        # Beats go one a cycle from the cycle after the address on, when they are there.
        for beat in ready:
            gone = max(gone + 1, beat, accepted + 1)
            if timing.shared and gone < self._channel.free:
                # The memory serves both in turn; the reads that follow come a beat later.
                self._channel.free += 1
        self._last_response = max(gone + 1 + timing.write_latency, self._last_response + 1)
        self._responses.append(self._last_response)
        return gone

    def _into_dram(
        self, dram: Dram, address: int, ready: list[int], announced: int, gone: int
    ) -> Generator[int | Condition, None, int]:
        yield max(announced, self._kernel.now)
        while self._sent - self._seen >= WRITES_PENDING:
            yield self._answered
        self._sent += 1
        accepted = yield from dram.writes.accept(address, len(ready), self._response)
        self._announced = accepted
        return (yield from dram.writes.bring(ready, max(gone, accepted)))

    def _response(self, time: int, _: int) -> None:
        """A burst is answered at that time."""
        self._last_response = time
        self._seen += 1
        self._answered.notify()

    def _beat_by_beat(self, ready: list[int]) -> int:
        """Write beats, each when the one before it has been answered."""
        gone = 0
        for beat in ready:
            gone = max(self._free, beat + 1)
            self._last_response = gone + 1 + self._timing.write_latency
            self._free = self._last_response + 2
        return gone

    def answered(self) -> Generator[Condition, None, int]:
        """Wait until it is known when all that is written so far is answered; returns that cycle."""
        sent = self._sent
        while self._seen < sent:
            yield self._answered
        return self._last_response
