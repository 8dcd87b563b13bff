"""A DRAM controller in the cycle model: what boards/memory/ does with bursts, segment by segment.

Bursts are cut into segments within a row; segments of reads and of writes are played in turn, rows are
opened ahead, and all wait for refreshes. Where an ACTIVE or PRECHARGE takes a beat's place, the beats
behind it in the segment are counted a cycle early; the segments behind are not.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Generator
from dataclasses import dataclass

from tilewright.compiler.events import Condition, Kernel, Process

__all__ = ["Dram", "DramTiming", "Port"]

_UNDER_WAY = 8
"""Bursts that the arbiter passes on before the first of them has ended."""
_ARRIVAL = 2
"""Cycles from a READ's decision to its first word on the pins, less the read latency, and from the
last word to the bus."""
_NEVER = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class DramTiming:
    """The chip and its controller, in cycles.

    Attributes
    ----------
    beat_bytes : of a beat of the bus
    words : of the chip's data pins in a beat
    row_bytes : of a bank's row; the banks follow each other in memory row by row
    banks : how many
    segment_beats, buffer_beats : of the longest segment, and what waits in each direction
    stay : segments in one direction while the other waits
    cas, read_latency : of a READ on the chip, and until its word is in a register
    t_rcd, t_rp, t_ras, t_wr, t_rfc, t_refi : as in data sheets, in cycles
    """

    beat_bytes: int
    words: int
    row_bytes: int
    banks: int
    segment_beats: int
    buffer_beats: int
    stay: int
    cas: int
    read_latency: int
    t_rcd: int
    t_rp: int
    t_ras: int
    t_wr: int
    t_rfc: int
    t_refi: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Burst:
    address: int
    beats: int
    accepted: int
    done: Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segment:
    address: int
    beats: int
    last: bool
    burst: _Burst


class Port:
    """The bursts of one direction on their way to the controller.

    Attributes
    ----------
    writing : its direction
    since : from when on a segment is offered
    """

    def __init__(
        self, kernel: Kernel, timing: DramTiming, offered: Condition, *, writing: bool
    ) -> None:
        self._kernel, self._timing, self.writing, self._offered = kernel, timing, writing, offered
        self._waiting: _Burst | None = None
        self._filled = Condition(kernel)
        self._emptied = Condition(kernel)
        self._taken = Condition(kernel)
        self._known = Condition(kernel)
        self._segment: _Segment | None = None
        self.since = _NEVER
        self._accepted = 0
        self._ends: list[int] = []  # of bursts: the cycle of the last beat on the bus
        self._data: list[int] = []  # when each beat to be written came over the bus
        self._moved = 0
        self._counts: list[int] = []
        self._starts: list[int] = []

    def accept(
        self, address: int, beats: int, done: Callable[[int, int], None]
    ) -> Generator[int | Condition, None, int]:
        """Wait until the arbiter takes a burst that stands on the bus now; returns that cycle.

        `done` is called with a cycle and a number of beats: of a read, that so many beats come over the
        bus from that cycle on; of a write, that the response comes in that cycle.
        """
        before = self._accepted - _UNDER_WAY
        while self._waiting is not None or before >= len(self._ends):
            yield self._emptied
        if before >= 0:
            yield max(self._kernel.now, self._ends[before] + 1)
        self._accepted += 1
        now = self._kernel.now
        self._waiting = _Burst(address=address, beats=beats, accepted=now, done=done)
        self._filled.notify()
        return now

    def bring(self, ready: list[int], gone: int) -> Generator[Condition, None, int]:
        """The next burst's beats come over the bus, each when it is ready and finds room.

        `gone` is the cycle before which none comes; returns that of the last one.
        """
        for beat in ready:
            gone = max(gone + 1, beat)
            before = len(self._data) - self._timing.buffer_beats
            if before >= 0:
                while before >= self._moved:
                    self._known.notify()
                    yield self._known
                gone = max(gone, self._time_of(before) + 1)
            self._data.append(gone)
        self._ends.append(gone)
        self._known.notify()
        self._emptied.notify()
        return gone

    def split(self) -> Process:
        """Cut bursts into segments and offer them, one in three cycles at the most."""
        kernel, timing = self._kernel, self._timing
        longest = timing.segment_beats * timing.beat_bytes
        free = count = 0
        while True:
            while self._waiting is None:
                yield self._filled
            burst = self._waiting
            yield max(burst.accepted + 1, free, kernel.now)
            self._waiting = None
            self._emptied.notify()
            sized, address, left = kernel.now + 2, burst.address, burst.beats
            while left:
                room = (longest - address % longest) // timing.beat_bytes
                beats = min(left, room)
                count += beats
                left -= beats
                enough = yield from self._enough(count)
                self._segment = _Segment(
                    address=address,
                    beats=beats,
                    last=left == 0,
                    burst=burst,
                )
                self.since = max(sized + 1, enough)
                kernel.schedule(self.since, self._offered.notify)
                address += beats * timing.beat_bytes
                while self._segment is not None:
                    yield self._taken
                sized = kernel.now + 2
            free = kernel.now + 1

    def _enough(self, count: int) -> Generator[int | Condition, None, int]:
        """First cycle in which beats up to number `count` are there, or have room."""
        beat = count - 1 if self.writing else count - 1 - self._timing.buffer_beats
        if beat < 0:
            return 0
        while beat >= (len(self._data) if self.writing else self._moved):
            yield self._known
        return (self._data[beat] if self.writing else self._time_of(beat)) + 2

    def _time_of(self, beat: int) -> int:
        """When a beat left the buffer: for the chip, or over the bus."""
        index = bisect_left(self._counts, beat + 1)
        before = self._counts[index - 1] if index else 0
        return self._starts[index] + (beat - before) * self._timing.words

    def take(self) -> _Segment:
        """The segment offered goes to the chip."""
        segment = self._segment
        assert segment is not None
        self._segment, self.since = None, _NEVER
        self._taken.notify()
        if self.writing and segment.last:
            segment.burst.done(self._kernel.now + 1, 0)
        return segment

    def move(self, segment: _Segment, first: int) -> None:
        """The segment's beats leave the buffer from cycle `first` on."""
        self._moved += segment.beats
        self._counts.append(self._moved)
        self._starts.append(first)
        self._known.notify()
        if self.writing:
            return
        words = self._timing.words
        if words == 1:
            segment.burst.done(first, segment.beats)
        else:
            for beat in range(segment.beats):
                segment.burst.done(first + beat * words, 1)
        if segment.last:
            self._ends.append(first + (segment.beats - 1) * words)
            self._emptied.notify()


class Dram:
    """Two ports, and the sequencer of the chip's commands."""

    def __init__(self, kernel: Kernel, timing: DramTiming) -> None:
        self._kernel, self._timing = kernel, timing
        self._offered = offered = Condition(kernel)
        self.reads = Port(kernel, timing, offered, writing=False)
        self.writes = Port(kernel, timing, offered, writing=True)
        self._rows: list[int | None] = [None] * timing.banks
        self._held = [0] * timing.banks  # a bank may be closed from this cycle on
        self._due = timing.t_refi // 2  # when it comes is chance
        # The segment on the pins: its port, bank, first and last decision.
        self._bank, self._first, self._end = -1, 0, -1
        self._last_read = -timing.cas - timing.words - 1
        self._writing, self._stay = False, 0

    def processes(self) -> tuple[Process, ...]:
        """What the kernel runs."""
        return self.reads.split(), self.writes.split(), self._sequence()

    def _sequence(self) -> Process:
        """Take segments, open their rows, put them on the pins."""
        kernel, timing = self._kernel, self._timing
        while True:
            while (port := self._choose()) is None:
                yield self._offered
            segment = port.take()
            number = segment.address // timing.row_bytes
            bank, row = number % timing.banks, number // timing.banks
            yield self._prepare(bank, row, kernel.now + 2)
            first = max(kernel.now + 1, self._end + timing.words)
            if port is self.writes:
                first = max(first, self._last_read + 1 + timing.cas + timing.words)
            self._bank, self._first = bank, first
            self._end = first + (segment.beats - 1) * timing.words
            if port is self.writes:
                self._held[bank] = self._end + timing.words + timing.t_wr - 1
                port.move(segment, first)
            else:
                self._held[bank] = max(self._held[bank], self._end + timing.words)
                self._last_read = self._end
                port.move(segment, first + _ARRIVAL + timing.read_latency + timing.words)
            yield kernel.now + 1

    def _choose(self) -> Port | None:
        """The port whose turn it is among those that offer a segment now."""
        now = self._kernel.now
        read, write = self.reads.since <= now, self.writes.since <= now
        if not read and not write:
            return None
        chosen = write and (not read or (self._writing != (self._stay == 0)))
        if chosen != self._writing:
            self._writing, self._stay = chosen, self._timing.stay - 1
        elif self._stay:
            self._stay -= 1
        return self.writes if chosen else self.reads

    def _prepare(self, bank: int, row: int, time: int) -> int:
        """Open the row, from `time` on; the cycle in which the segment becomes the one on the pins."""
        timing = self._timing
        while True:
            time = self._refreshed(time)
            if self._rows[bank] == row:
                start = max(time, self._end)
                if start < self._due:
                    return start
                time = start
                continue
            if self._rows[bank] is not None:
                close = max(time, self._held[bank])
                close = self._slot(max(close, self._end + 1) if self._bank == bank else close)
                if close < self._due:
                    self._rows[bank] = None
                    self._steal(close)
                    time = close + timing.t_rp
                else:
                    time = close
                continue
            opened = self._slot(time)
            if opened < self._due:
                self._rows[bank] = row
                self._held[bank] = opened + timing.t_ras
                self._steal(opened)
                time = opened + timing.t_rcd - 1
            else:
                time = opened

    def _slot(self, time: int) -> int:
        """First cycle from `time` on in which a row's command has a place."""
        words = self._timing.words
        within = self._first <= time <= self._end
        return time + (words > 1 and within and (time - self._first) % words == 0)

    def _steal(self, time: int) -> None:
        """With a word a beat, a row's command takes a beat's place."""
        if self._timing.words == 1 and self._first <= time <= self._end:
            self._end += 1

    def _refreshed(self, time: int) -> int:
        """First cycle from `time` on in which no refresh is under way."""
        timing = self._timing
        while self._due <= time:
            begin = max(self._due, self._end + 1)
            close = max(begin + 2, *self._held)
            time = max(time, close + timing.t_rp + timing.t_rfc + 1)
            self._rows = [None] * timing.banks
            self._due += timing.t_refi
        return time
