"""The memory bus of the cycle model: readers with credit, one in-order channel, the writer."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass

from tilewright.compiler.events import Condition, Kernel, Process
from tilewright.compiler.target import Target

__all__ = ["Channel", "Latencies", "MemoryTiming", "Reader", "Writer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryTiming:
    """The memory behind the bus.

    Attributes
    ----------
    latency : cycles from a read burst's address to its first beat
    write_latency : cycles from a write burst's last beat to its response
    outstanding : read bursts, and write bursts, that the memory accepts ahead
    shared : reads and writes share one data path, as in a DRAM controller
    """

    latency: int = 50
    write_latency: int = 50
    outstanding: int = 8
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """Pipeline latencies of the hardware, in cycles, fitted to RTL runs.

    Attributes
    ----------
    split : from a transfer to its first burst's request
    grant : from a granted request to its address on the bus
    deliver : from a beat on the bus to the reader's consumer
    unpack : from a weight beat to its row at the array, and to the count of rows
    dispatch : from a complete instruction to its unit
    write_word : from a feature-map beat to its word's write
    token : from a token given to what it lets start
    calc_drain : from an instruction's last pixel to its token, besides R, C and the multiplier
    store_pipe : from an accumulator's read to its beat's write, without LeakyReLU
    leaky_pipe : what LeakyReLU's hardware adds to that
    store_done : from the last beat written to the next STORE, which starts before it has gone
    params : from the last parameter record to the wait for the accumulators
    min_tile : least cycles of a tile
    stamp : from the last response to the stamped cycle
    start : from the start to the first instruction request
    """

    split: int = 2
    grant: int = 2
    deliver: int = 2
    unpack: int = 1
    dispatch: int = 3
    write_word: int = 0
    token: int = 0
    calc_drain: int = 8
    store_pipe: int = 6
    leaky_pipe: int = 3
    store_done: int = -2
    params: int = 2
    min_tile: int = 4
    stamp: int = 2
    start: int = 0


class Channel:
    """The read channels: round-robin over the readers, data in the order of the requests."""

    ORDER_DEPTH = 16

    def __init__(self, kernel: Kernel, timing: MemoryTiming, latencies: Latencies) -> None:
        self._kernel, self._timing, self._latencies = kernel, timing, latencies
        self.readers: list[Reader] = []
        self.wake = Condition(kernel)
        self.free = 0
        self.beats = 0
        self._under_way: deque[int] = deque()
        self._last = 0

    def process(self) -> Process:
        """Grant one burst a cycle to the next reader that asks."""
        kernel = self._kernel
        while True:
            while self._under_way and self._under_way[0] <= kernel.now:
                self._under_way.popleft()
            if len(self._under_way) >= self.ORDER_DEPTH:
                yield self._under_way[0]
                continue
            reader = self._choose()
            if reader is None:
                yield self.wake
                continue
            length = reader.granted()
            accepted = kernel.now + self._latencies.grant
            if len(self._under_way) >= self._timing.outstanding:
                accepted = max(accepted, self._under_way[-self._timing.outstanding] + 1)
            start = max(accepted + self._timing.latency, self.free)
            self.free = start + length
            self.beats += length
            self._under_way.append(self.free)
            reader.arrives(start + self._latencies.deliver, length)
            # The address register holds one burst until the memory accepts it.
            yield max(kernel.now + 1, accepted - self._latencies.grant + 1)

    def _choose(self) -> Reader | None:
        count = len(self.readers)
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
        self._bus = target.bus_bytes
        self._longest, depth = target.readers[name]
        self._bursts: deque[int] = deque()
        self.depth = self._room = depth
        self._next_ask = 0
        self._ends: list[int] = []
        self._starts: list[int] = []
        self._total = 0
        self._base = 0
        self.arrived = Condition(kernel)
        self._split = Condition(kernel)
        channel.readers.append(self)

    def transfer(self, address: int, beats: int, split: int) -> Process:
        """Hand a transfer over; goes on when the splitter has cut it all."""
        ask = self._kernel.now + split
        while beats:
            while self._bursts:
                yield self._split
                ask = max(ask, self._kernel.now + 1)
            room = (4096 - address % 4096) // self._bus
            length = min(beats, self._longest, room)
            self._next_ask = ask
            self._bursts.append(length)
            self._kernel.schedule(ask, self._channel.wake.notify)
            beats -= length
            address += length * self._bus
        yield ask

    def asks(self) -> bool:
        """Whether a burst is requested now."""
        return (
            bool(self._bursts)
            and self._kernel.now >= self._next_ask
            and self._room >= self._bursts[0]
        )

    def granted(self) -> int:
        """The request is taken; beats of it."""
        length = self._bursts.popleft()
        self._room -= length
        self._split.notify()
        return length

    def arrives(self, start: int, length: int) -> None:
        """The burst's beats will arrive one a cycle from `start` on."""
        self._total += length
        self._starts.append(start - (self._total - length))
        self._ends.append(self._total)
        self.arrived.notify()

    def covers(self, beat: int) -> bool:
        """Whether it is known when beat number `beat` (from 0) arrives."""
        return beat < self._total

    def time_of(self, beat: int) -> int:
        """When beat number `beat` arrives."""
        index = bisect_left(self._ends, beat + 1)
        return self._starts[index] + beat

    def release(self, time: int, beats: int) -> None:
        """The consumer will have taken `beats` more beats at `time`."""
        self._kernel.schedule(time, lambda: self._free(beats))

    def _free(self, beats: int) -> None:
        self._room += beats
        if self._bursts:
            self._channel.wake.notify()


class Writer:
    """The write channels: one beat a cycle, at most PENDING bursts without a response."""

    PENDING = 16

    def __init__(self, target: Target, timing: MemoryTiming, channel: Channel) -> None:
        self._target, self._timing, self._channel = target, timing, channel
        self._free = 0
        self._responses: deque[int] = deque()
        self.beats = 0
        self.last_response = 0

    def write(self, address: int, beats: int, first: int, last: int) -> int:
        """Write a row whose beats become ready evenly between `first` and `last`.

        Returns when its last beat has gone.
        """
        gone, done = first, 0
        rate = (last - first) / max(beats - 1, 1)
        self.beats += beats
        while done < beats:
            room = (4096 - address % 4096) // self._target.bus_bytes
            length = min(beats - done, self._target.burst_beats, room)
            start = max(gone, self._free, int(first + done * rate))
            if len(self._responses) >= min(self.PENDING, self._timing.outstanding):
                start = max(start, self._responses.popleft() + 2)
            if self._timing.shared:
                start = max(start, self._channel.free)
            done += length
            gone = max(start + length, int(first + (done - 1) * rate) + 1)
            if self._timing.shared:
                self._channel.free = gone
            self._free = gone
            self.last_response = gone + self._timing.write_latency
            self._responses.append(self.last_response)
            address += length * self._target.bus_bytes
        return gone
