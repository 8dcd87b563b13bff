"""STORE in the cycle model: parameters, drains, stamps."""

from __future__ import annotations

from tilewright.compiler.events import Process, Queue
from tilewright.compiler.isa import PARAM_BYTES, Opcode
from tilewright.compiler.microarchitecture import INNER_QUEUE
from tilewright.compiler.pipeline_shared import Fields, Shared
from tilewright.compiler.program import STAMP_BYTES

__all__ = ["StoreModel"]


class StoreModel:
    """The STORE unit, see hw/store.py.

    `ends` has each region's stamp, `finished` the cycle of FINISH.
    """

    def __init__(self, run: Shared) -> None:
        self._run = run
        self._inner = Queue(run.kernel, INNER_QUEUE)
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
                    yield max(first + beats, reader.time_of(last) + 1) + 1
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
                yield max(self._run.writer.last_response + 1, kernel.now)
                self.finished = kernel.now - 1
            yield from self._inner.drop()

    def _stamp(self, f: Fields) -> Process:
        """Sample the counter when all is written; the counter was 0 in cycle 1."""
        yield max(self._run.writer.last_response + 1, self._run.kernel.now)
        now = self._run.kernel.now
        self.ends.append(now - 1)
        beats = -(-STAMP_BYTES // self._run.target.bus_bytes)
        yield self._run.writer.write(f["address"], [now + 5] * beats, now + 4) + 1

    def _drain(self, f: Fields) -> Process:
        """Read the accumulators and write the rows, whichever takes longer."""
        begin = self._run.kernel.now + 1  # of reading
        target, bus = self._run.target, self._run.target.bus_bytes
        pixel, latency = target.pixel_bytes, target.postprocess_latency
        window = f["win_rows"] * f["win_cols"]
        # The accumulators, pooling, the packer's buffer.
        to_post = target.drain_latency + target.pooled_latency + 1
        packed = begin - 1 + to_post + latency  # the last pixel into the packer
        stall = 0
        address, announced = f["address"], begin + 3
        for _ in range(f["rows"]):
            # Pixels enter the packer a window apart, or as fast as it sends beats.
            ready = []
            for beat in range(f["row_beats"]):
                taken = min(-(-(beat + 1) * bus // pixel), f["cols"])
                ready.append(packed + taken * window + 1)
            gone = self._run.writer.write(address, ready, announced)
            entered = max(packed + f["cols"] * window, gone - max(pixel // bus, 1))
            stall += entered - (packed + f["cols"] * window)
            packed = entered
            announced += 2
            address += f["pitch"]
        # While the packer holds it up, the whole pipeline stands still.
        read = packed - latency - to_post
        if f["signal_calc"]:
            self._run.tokens["store", "calc"].give(read + target.drain_latency + 1)
        if f["signal_load"]:
            self._run.tokens["store", "load"].give(self._run.writer.last_response + 1)
        self._run.count("store", f["region"], packed + 1 - begin)
        self._run.record("store", f, begin, packed + 1, stall)
        yield packed + 1
