"""The cycle model's units, wired together; each follows the state machine of its unit in hw/.

The comments name the cycles that registers cost. Only rows, tiles and bursts are stepped through,
never single cycles.
"""

from __future__ import annotations

from tilewright.compiler.bus import Channel, MemoryTiming, Reader, Writer
from tilewright.compiler.decoding import decoding_progress
from tilewright.compiler.events import Kernel, Process, Queue, Tokens
from tilewright.compiler.isa import INSTRUCTION_BYTES, Opcode, decode
from tilewright.compiler.microarchitecture import HEAD_CYCLES, QUEUE_LATENCY
from tilewright.compiler.pipeline_calc import CalcModel
from tilewright.compiler.pipeline_load import LoadModel
from tilewright.compiler.pipeline_shared import Event, Shared, TileSlot
from tilewright.compiler.pipeline_store import StoreModel
from tilewright.compiler.pipeline_weights import WeightsModel
from tilewright.compiler.program import Program
from tilewright.compiler.target import Target
from tilewright.compiler.tokens import unit_of

__all__ = ["Pipeline"]

TOKENS = (
    ("load", "calc"),
    ("calc", "load"),
    ("calc", "store"),
    ("store", "calc"),
    ("store", "load"),
)


class Pipeline:
    """All units as processes of one kernel, running one program.

    After `kernel.run()`: `store.ends` has each region's stamp, `store.finished` the cycle of FINISH,
    `busy` each unit's working cycles by region, `events` the instructions if `trace`.
    """

    def __init__(self, program: Program, memory: MemoryTiming, *, trace: bool = False) -> None:
        self._program, target = program, program.target
        self.kernel = kernel = Kernel()
        self.channel = Channel(kernel, memory, target)
        self.events: list[Event] | None = [] if trace else None
        self.fetch_beats = max(INSTRUCTION_BYTES // target.bus_bytes, 1)
        self._run = run = Shared(
            kernel=kernel,
            target=target,
            readers={n: Reader(kernel, self.channel, target, n) for n in target.readers},
            writer=Writer(target, memory, self.channel, kernel),
            queues={
                unit: _queue(kernel, target, unit) for unit in ("load", "weights", "calc", "store")
            },
            tokens={pair: Tokens(kernel, target.short_stages) for pair in TOKENS},
            tiles=TileSlot(kernel),
            events=self.events,
            decoding=decoding_progress(program) if target.decoder_lanes else {},
        )
        self.busy, self.writer = run.busy, run.writer
        load, weights, calc = LoadModel(run), WeightsModel(run), CalcModel(run)
        self.store = StoreModel(run)
        kernel.final = self.channel.process()
        for process in (
            kernel.final,
            *(reader.process() for reader in run.readers.values()),
            self._fetch_request(),
            self._fetch(),
            load.request(),
            load.write(),
            weights.request(),
            weights.unpack(),
            calc.prepare(),
            calc.issue(),
            self.store.request(),
            self.store.run(),
            *(self.channel.dram.processes() if self.channel.dram is not None else ()),
        ):
            kernel.schedule(0, process)

    def _fetch_request(self) -> Process:
        yield 1  # the start pulse is in cycle 0
        beats = self._program.count * self.fetch_beats
        yield from self._run.readers["fetch"].offer(self._program.instructions, beats)

    def _fetch(self) -> Process:
        """Assemble instructions and hand them to the units' queues."""
        kernel, reader, image = self._run.kernel, self._run.readers["fetch"], self._program.image
        region = 0
        dispatched = 0
        for index in range(self._program.count):
            start = self._program.instructions + index * INSTRUCTION_BYTES
            opcode, fields = decode(image[start : start + INSTRUCTION_BYTES])
            fields["region"] = region
            region += opcode is Opcode.STAMP
            # The next instruction's beats are taken from the cycle after the dispatch on, or, where
            # they go straight to a unit that holds none, from that of the dispatch on.
            beats = self.fetch_beats
            if self._run.target.unit_queue == 1:
                yield from self._run.queues[unit_of(opcode)].room()
                dispatched = max(dispatched, kernel.now)
            else:
                dispatched += 1
            if self._run.target.bursts and self._run.target.unit_queue > 1:
                last = (index + 1) * beats - 1
                while not reader.covers(last):
                    yield reader.arrived
                taken = max(reader.time_of(last), dispatched + beats - 1)
                reader.release(taken + 1, beats)
            else:
                taken = yield from reader.consume(index * beats, beats, dispatched)
            # An instruction of one beat is decoded a cycle later, with short stages any is offered so.
            late = (beats == 1) + self._run.target.short_stages
            yield taken + 1 + (late if self._run.target.unit_queue > 1 else 0)
            yield from self._run.queues[unit_of(opcode)].put((opcode, fields))
            dispatched = kernel.now


def _queue(kernel: Kernel, target: Target, unit: str) -> Queue:
    """Where the instructions of a unit wait."""
    if target.unit_queue == 1:
        return Queue(kernel, 1, latency=2)
    if unit == "calc":  # its next instruction stays in the queue until it begins
        return Queue(kernel, target.unit_queue + 1, QUEUE_LATENCY + 1, gap=2)
    return Queue(kernel, target.unit_queue, QUEUE_LATENCY + 1, HEAD_CYCLES)
