"""LOAD in the cycle model: rows requested, rectangles written."""

from __future__ import annotations

from collections.abc import Generator

from tilewright.compiler.events import Condition, Process
from tilewright.compiler.layout import memory_lanes
from tilewright.compiler.pipeline_shared import Fields, Shared

__all__ = ["LoadModel"]


class LoadModel:
    """Both halves of the LOAD unit, see hw/load.py."""

    def __init__(self, run: Shared) -> None:
        self._run = run
        self._inner = run.halves()

    def request(self) -> Process:
        """Request rows once the map is in memory."""
        queue, reader = self._run.queues["load"], self._run.readers["load"]
        while True:
            yield from queue.head()
            fields = queue.peek()[1]
            yield from self._run.tokens["store", "load"].take(fields["wait_store"])
            yield from self._inner.put(fields)
            yield self._run.kernel.now + 1
            address = fields["address"]
            for row in range(fields["rows"]):
                if row:
                    yield self._run.kernel.now + 1
                yield from reader.offer(address, fields["row_beats"])
                address += fields["pitch"]
            if self._run.target.unit_queue == 1:  # both halves look at one register
                yield from self._inner.emptied()
                queue.remove()
            else:
                yield from queue.drop()

    def write(self) -> Process:
        """Write rectangles into the banks, one word a cycle."""
        kernel = self._run.kernel
        beat = 0
        while True:
            yield from self._inner.head()
            f = self._inner.peek()
            yield from self._run.tokens["calc", "load"].take(f["wait_calc"])
            begin = kernel.now + 1
            width = f["pad_left"] + f["cols"] + f["pad_right"]
            time = begin + 1 + f["pad_top"] * width  # the next word's write
            # The gearbox takes the row's first beat from here on, behind a buffer with short stages.
            accepting = begin + self._run.target.short_stages
            for _ in range(f["rows"]):
                time += f["pad_left"]
                accepting = yield from self._load_row(f, beat, time, accepting)
                beat += f["row_beats"]
                time = accepting + 1 + f["pad_right"]
            time += f["pad_bottom"] * width
            end = max(time - 1, begin + 1)
            yield end
            self._run.count("load", f["region"], end - begin + 1)
            words = (f["pad_top"] + f["rows"] + f["pad_bottom"]) * width
            self._run.record("load", f, begin, end + 1, end + 1 - begin - words)
            if f["signal_calc"]:
                self._run.tokens["load", "calc"].give(end + 1 + self._run.target.load_latency)
            yield from self._inner.drop()

    def _load_row(
        self, f: Fields, first: int, time: int, accepting: int
    ) -> Generator[int | Condition, None, int]:
        """Write a row's pixels from `time` on; returns the cycle of the last one."""
        reader, target = self._run.readers["load"], self._run.target
        bus, pixel = target.bus_bytes, target.lane_bytes * memory_lanes(target, f["narrow"])
        beats, cols = f["row_beats"], f["cols"]
        last = first + beats - 1
        word_beats = -(-pixel // bus)  # beats of the first word
        spread = max((cols - 1) * pixel // bus, cols - 1)  # cycles from the first to the last word
        tail = cols - (beats - 1) * bus // pixel if pixel < bus else 1  # words of the last beat
        lag = int(target.bursts)  # a single beat leaves in the cycle in which it is seen
        late = int(target.short_stages)  # beats pass a buffer
        # A row larger than half the FIFO leaves it piece by piece.
        piece, left = max(reader.depth // 2, 1), beats
        while left > piece:
            through = last - left + piece
            while not reader.covers(through):
                yield reader.arrived
            reader.release(max(reader.time_of(through), time) + lag, piece)
            left -= piece
        while not reader.covers(last):
            yield reader.arrived
        opened = reader.time_of(min(first + word_beats - 1, last)) + late
        opening = max(opened, accepting + word_beats - 1)
        end = max(max(time, opening + 1) + spread, reader.time_of(last) + late + max(tail, 1))
        # Beats leave the FIFO as their pixels are written.
        steps = max(left // self._run.lump, 1)
        for step in range(1, steps + 1):
            through = left * step // steps
            taken = max(
                reader.time_of(last - left + through) + lag, end - spread * (steps - step) // steps
            )
            reader.release(taken, through - left * (step - 1) // steps)
        return end
