"""STORE in the cycle model: parameters, drains, stamps."""

from __future__ import annotations

from tilewright.compiler.events import Process
from tilewright.compiler.isa import PARAM_BYTES, Opcode
from tilewright.compiler.pipeline_shared import Fields, Shared
from tilewright.compiler.program import STAMP_BYTES

__all__ = ["StoreModel"]


class StoreModel:
    """The STORE unit, see hw/store.py.

    `ends` has each region's stamp, `finished` the cycle of FINISH.
    """

    def __init__(self, run: Shared) -> None:
        self._run = run
        self._inner = run.halves()
        self.ends: list[int] = []
        self.finished = 0

    def request(self) -> Process:
        """Request parameters when their instruction arrives."""
        queue = self._run.queues["store"]
        while True:
            yield from queue.head()
            opcode, fields = queue.peek()
            yield from self._inner.put((opcode, fields))
            if opcode is Opcode.STORE:
                beats = -(-self._run.target.cols * PARAM_BYTES // self._run.target.bus_bytes)
                yield from self._run.readers["params"].offer(fields["params"], beats)
            if self._run.target.unit_queue == 1:  # both halves look at one register
                yield from self._inner.emptied()
                queue.remove()
            else:
                yield from queue.drop()

    def run(self) -> Process:
        """Run STORE, STAMP and FINISH."""
        kernel, reader = self._run.kernel, self._run.readers["params"]
        target = self._run.target
        beats = -(-target.cols * PARAM_BYTES // target.bus_bytes)
        beat = 0
        while True:
            yield from self._inner.head()
            opcode, f = self._inner.peek()
            if opcode is Opcode.STORE:
                last = beat + beats - 1
                begin = kernel.now + 1
                if target.bursts:
                    while not reader.covers(last):
                        yield reader.arrived
                    first = max(begin, reader.time_of(beat))
                    late = target.short_stages  # records are prepared in a cycle of their own
                    yield max(first + beats, reader.time_of(last) + 1) + 1 + late
                    reader.release(kernel.now, beats)
                else:
                    taken = yield from reader.consume(beat, beats, begin)
                    yield taken + 2
                beat += beats
                yield from self._run.tokens["calc", "store"].take(f["wait_calc"])
                yield from self._drain(f)
            elif opcode is Opcode.STAMP:
                yield from self._stamp(f)
            else:
                answered = yield from self._run.writer.answered()
                yield max(answered + 1 + target.short_stages, kernel.now)
                self.finished = kernel.now  # Control hears of it through a register
            yield from self._inner.drop()

    def _stamp(self, f: Fields) -> Process:
        """Sample the counter when all is written; the counter was 0 in cycle 1."""
        answered = yield from self._run.writer.answered()
        late = self._run.target.short_stages  # the writer's being idle is a register
        yield max(answered + 1 + late, self._run.kernel.now)
        now = self._run.kernel.now
        self.ends.append(now - 1)
        beats = -(-STAMP_BYTES // self._run.target.bus_bytes)
        gone = yield from self._run.writer.write(f["address"], [now + 5] * beats, now + 6 + late)
        if (
            self._run.target.bursts
        ):  # two beats wait in the writer, of whose address the unit is rid
            yield max(now + beats + 1, gone if beats > 2 else 0)
        else:
            yield gone + 1

    def _drain(self, f: Fields) -> Process:
        """Read the accumulators and write the rows, whichever takes longer."""
        begin = self._run.kernel.now + 2  # of reading
        target, bus = self._run.target, self._run.target.bus_bytes
        pixel, latency = target.pixel_bytes, target.postprocess_latency
        window = f["win_rows"] * f["win_cols"]
        buffered = int(target.bursts)  # the writer has a buffer
        # The walker, the accumulators, pooling, post-processing, the queue of results, its buffer.
        depth = 1 + target.drain_latency + target.pooling_latency + latency + 2
        depth += target.short_stages
        packed = begin - 1 + depth  # the last pixel into the packer
        # As many pixels as have room are asked for until the first one's room is known again.
        most = target.results_queue
        turn = max(most * window, depth + 2)
        stall = 0
        address, announced = f["address"], begin + 4 + target.short_stages
        for _ in range(f["rows"]):
            # Pixels enter the packer a window apart, or as fast as it sends beats.
            ready = []
            for beat in range(f["row_beats"]):
                taken = min(-(-(beat + 1) * bus // pixel), f["cols"])
                turns, more = divmod(taken - 1, most)
                ready.append(packed + turns * turn + (more + 1) * window + 1 + buffered)
            gone = yield from self._run.writer.write(address, ready, announced)
            entered = max(packed + f["cols"] * window, gone - buffered - max(pixel // bus, 1))
            stall += entered - (packed + f["cols"] * window)
            packed = entered
            announced += 4
            address += f["pitch"]
        # Accumulators are read ahead of the packer as far as their results have room.
        read = packed - depth
        if f["signal_calc"]:
            self._run.tokens["store", "calc"].give(
                max(read + 1 + target.drain_latency + 2, self._run.kernel.now)
            )
        if f["signal_load"]:
            self._run.kernel.schedule(self._run.kernel.now, self._signal_load())
        self._run.count("store", f["region"], packed + 2 - begin)
        self._run.record("store", f, begin, packed + 2, stall)
        yield packed + 2

    def _signal_load(self) -> Process:
        """Let LOAD go on once all that was written by now is answered."""
        answered = yield from self._run.writer.answered()
        self._run.tokens["store", "load"].give(answered + 1 + self._run.target.short_stages)
