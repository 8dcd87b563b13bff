"""The units of the cycle model: fetch, LOAD, WEIGHTS, CALC and STORE as processes.

Each process follows the state machine of its unit in hw/: the comments name the cycles that its
registers cost. Only rows, tiles and bursts are stepped through, never single cycles.
"""

from __future__ import annotations

from collections.abc import Generator

from tilewright.compiler.bus import Channel, MemoryTiming, Reader, Writer
from tilewright.compiler.events import Condition, Kernel, Process, Queue, Tokens
from tilewright.compiler.isa import INSTRUCTION_BYTES, PARAM_BYTES, Opcode, decode
from tilewright.compiler.program import STAMP_BYTES, Program
from tilewright.compiler.tokens import unit_of

__all__ = ["Pipeline"]

Fields = dict[str, int]
UNIT_QUEUE = 4
INNER_QUEUE = 2
TO_PACKER = 3
"""From an accumulator's read to the post-processing: two for the memory, one for pooling."""
CALC_DRAIN = 8
"""From an instruction's last pixel to its token, besides R, C and the multiplier."""
MIN_TILE = 4
"""Least cycles of a tile: the accumulators' latency."""


class Pipeline:
    """The units as processes of one kernel, running one program.

    After `kernel.run()`: `ends` has each region's stamp, `finished` the cycle of FINISH, `busy` each
    unit's working cycles by region.
    """

    def __init__(self, program: Program, memory: MemoryTiming) -> None:
        self.program, self.target = program, program.target
        self.kernel = kernel = Kernel()
        self.channel = Channel(kernel, memory)
        target = program.target
        bus = target.bus_bytes
        self.fetch_beats = max(INSTRUCTION_BYTES // bus, 1)
        self.lump = max(target.burst_beats // 4, 1)  # finer than this, room makes no difference
        self.readers = {name: Reader(kernel, self.channel, target, name) for name in target.readers}
        self.writer = Writer(target, memory, self.channel)
        self.queues = {
            name: Queue(kernel, UNIT_QUEUE) for name in ("load", "weights", "calc", "store")
        }
        self.tokens = {
            (a, b): Tokens(kernel)
            for a, b in (
                ("load", "calc"),
                ("calc", "load"),
                ("calc", "store"),
                ("store", "calc"),
                ("store", "load"),
            )
        }
        self.busy: dict[str, dict[int, int]] = {"calc": {}, "load": {}, "store": {}}
        self.ends: list[int] = []
        self.finished = 0
        self.loads = Queue(kernel, INNER_QUEUE)
        self.streams = Queue(kernel, INNER_QUEUE)
        self.stores = Queue(kernel, INNER_QUEUE)
        self.slot = _Slot(kernel)
        self.tiles = _TileSlot(kernel)
        kernel.final = self.channel.process()
        for process in (
            kernel.final,
            *(reader.process() for reader in self.readers.values()),
            self._fetch_request(),
            self._fetch(),
            self._load_request(),
            self._load(),
            self._weights_request(),
            self._weights(),
            self._calc_prepare(),
            self._calc(),
            self._store_request(),
            self._store(),
        ):
            kernel.schedule(0, process)

    def _count(self, unit: str, region: int, cycles: int) -> None:
        self.busy[unit][region] = self.busy[unit].get(region, 0) + cycles

    def _fetch_request(self) -> Process:
        yield 1  # the start pulse is in cycle 0
        beats = self.program.count * self.fetch_beats
        yield from self.readers["fetch"].offer(self.program.instructions, beats)

    def _fetch(self) -> Process:
        """Assemble instructions and hand them to the units' queues."""
        kernel, reader, image = self.kernel, self.readers["fetch"], self.program.image
        region = 0
        dispatched = 0
        for index in range(self.program.count):
            start = self.program.instructions + index * INSTRUCTION_BYTES
            opcode, fields = decode(image[start : start + INSTRUCTION_BYTES])
            fields["region"] = region
            region += opcode is Opcode.STAMP
            last = (index + 1) * self.fetch_beats - 1
            while not reader.covers(last):
                yield reader.arrived
            # The next instruction's beats are taken from the cycle of the dispatch on.
            taken = max(reader.time_of(last), dispatched + self.fetch_beats - 1)
            reader.release(taken + 1, self.fetch_beats)
            yield taken + 1
            yield from self.queues[unit_of(opcode)].put((opcode, fields))
            dispatched = kernel.now

    def _load_request(self) -> Process:
        queue, reader = self.queues["load"], self.readers["load"]
        while True:
            yield from queue.head()
            fields = queue.peek()[1]
            yield from self.tokens["store", "load"].take(fields["wait_store"])
            yield from self.loads.put(fields)
            yield self.kernel.now + 1
            address = fields["address"]
            for row in range(fields["rows"]):
                if row:
                    yield self.kernel.now + 1
                yield from reader.offer(address, fields["row_beats"])
                address += fields["pitch"]
            yield from queue.drop()

    def _load(self) -> Process:
        """Write rectangles into the banks, one word a cycle."""
        kernel = self.kernel
        beat = 0
        while True:
            yield from self.loads.head()
            f = self.loads.peek()
            yield from self.tokens["calc", "load"].take(f["wait_calc"])
            begin = kernel.now + 1
            width = f["pad_left"] + f["cols"] + f["pad_right"]
            time = begin + f["pad_top"] * width  # the next word's write
            accepting = begin  # the gearbox takes the row's first beat from here on
            for _ in range(f["rows"]):
                time += f["pad_left"]
                accepting = yield from self._load_row(f, beat, time, accepting)
                beat += f["row_beats"]
                time = accepting + 1 + f["pad_right"]
            time += f["pad_bottom"] * width
            end = max(time - 1, begin)
            yield end
            self._count("load", f["region"], end - begin + 1)
            if f["signal_calc"]:
                self.tokens["load", "calc"].give(end + 1)
            yield from self.loads.drop()

    def _load_row(
        self, f: Fields, first: int, time: int, accepting: int
    ) -> Generator[int | Condition, None, int]:
        """Write a row's pixels from `time` on; returns the cycle of the last one."""
        reader, pixel, bus = self.readers["load"], self.target.pixel_bytes, self.target.bus_bytes
        beats, cols = f["row_beats"], f["cols"]
        last = first + beats - 1
        word_beats = -(-pixel // bus)  # beats of the first word
        spread = max((cols - 1) * pixel // bus, cols - 1)  # cycles from the first to the last word
        tail = cols - (beats - 1) * bus // pixel if pixel < bus else 1  # words of the last beat
        # A row larger than half the FIFO leaves it piece by piece.
        piece, left = max(reader.depth // 2, 1), beats
        while left > piece:
            through = last - left + piece
            while not reader.covers(through):
                yield reader.arrived
            reader.release(max(reader.time_of(through), time) + 1, piece)
            left -= piece
        while not reader.covers(last):
            yield reader.arrived
        opening = max(reader.time_of(min(first + word_beats - 1, last)), accepting + word_beats - 1)
        end = max(max(time, opening + 1) + spread, reader.time_of(last) + max(tail, 1))
        # Beats leave the FIFO as their pixels are written.
        steps = max(left // self.lump, 1)
        for step in range(1, steps + 1):
            through = left * step // steps
            taken = max(
                reader.time_of(last - left + through) + 1, end - spread * (steps - step) // steps
            )
            reader.release(taken, through - left * (step - 1) // steps)
        return end

    def _weights_request(self) -> Process:
        queue = self.queues["weights"]
        while True:
            yield from queue.head()
            fields = queue.peek()[1]
            yield from self.streams.put(fields)
            yield from self.readers["weights"].offer(fields["address"], fields["beats"])
            yield from queue.drop()

    def _weights(self) -> Process:
        """Let the rows of each tile into the array once the tile before it has started."""
        kernel, target, reader = self.kernel, self.target, self.readers["weights"]
        slot, bus_bits = self.tiles, 8 * self.target.bus_bytes
        base, piece = 0, max(reader.depth // 2, 1)
        while True:
            yield from self.streams.head()
            f = self.streams.peek()
            row_bits = target.cols * (2 << f["container"]) + 16 * f["gather"]
            tile_bits = target.rows * row_bits
            spread = max((target.rows - 1) * row_bits // bus_bits, target.rows - 1)
            opening = max(-(-row_bits // bus_bits), 1)  # cycles to a tile's first row
            accepting = kernel.now
            done = 0
            for tile in range(f["tiles"]):
                while not slot.free:
                    yield slot.changed
                begin_bit, end_bit = tile * tile_bits, (tile + 1) * tile_bits
                end = -(-end_bit // bus_bits)
                first = base + -(-(begin_bit + row_bits) // bus_bits) - 1  # completes a row
                tail = -(-(end_bit - (end - 1) * bus_bits) // row_bits)  # rows the last beat ends
                unhindered = entered = max(slot.freed, accepting + opening) + spread
                while done < end:
                    # A tile larger than half the FIFO leaves it piece by piece.
                    part = min(end - done, piece)
                    while not reader.covers(base + done + part - 1):
                        yield reader.arrived
                    done += part
                    arrival = reader.time_of(base + done - 1) + 1
                    if done < end:
                        reader.release(max(slot.freed, arrival), part)
                late = reader.time_of(first) + 1 + spread
                rows = min(tail, target.rows)
                entered = max(entered, late, arrival - 1 + rows)
                # Beats leave the FIFO just before the rows that they complete.
                steps = min(max(part // self.lump, 1), target.rows)
                for step in range(steps, 0, -1):
                    beats = part * step // steps - part * (step - 1) // steps
                    seen = reader.time_of(base + done - 1 - part + part * step // steps)
                    wanted = unhindered - spread * (steps - step) // steps - rows + 1
                    reader.release(max(wanted, seen + 1), beats)
                slot.fill(entered + 1)
                accepting = entered
            base += f["beats"]
            yield max(accepting, kernel.now)
            yield from self.streams.drop()

    def _calc_prepare(self) -> Process:
        """Take the tokens of the next instruction while the present one runs."""
        queue = self.queues["calc"]
        while True:
            yield from queue.head()
            f = queue.peek()[1]
            while self.slot.job is not None:
                yield self.slot.changed
            yield from self.tokens["load", "calc"].take(f["wait_load"])
            yield from self.tokens["store", "calc"].take(f["wait_store"])
            self.slot.put(f, self.kernel.now + 1)
            yield from queue.drop()

    def _calc(self) -> Process:
        """Tile after tile."""
        kernel, slot = self.kernel, self.tiles
        target = self.target
        drain = target.rows + target.cols + target.multiplier_stages + CALC_DRAIN
        finish = 0
        while True:
            while self.slot.job is None:
                yield self.slot.changed
            f, valid = self.slot.job
            yield max(valid, finish)  # it begins in the last cycle of the one before
            self.slot.take()
            time = kernel.now + 1
            pixels = f["rows"] * f["cols"]
            tiles = f["tiles0"] * f["tiles1"] * f["tiles2"]
            for _ in range(tiles):
                while slot.free:
                    yield slot.changed
                time = max(time, slot.ready)
                yield time
                slot.take(time)
                time += max(pixels, MIN_TILE)
            finish = time - 1
            self._count("calc", f["region"], tiles * pixels)
            for unit in ("load", "store"):
                if f[f"signal_{unit}"]:
                    self.tokens["calc", unit].give(finish + drain)

    def _store_request(self) -> Process:
        queue = self.queues["store"]
        while True:
            yield from queue.head()
            opcode, fields = queue.peek()
            yield from self.stores.put((opcode, fields))
            if opcode is Opcode.STORE:
                beats = -(-self.target.cols * PARAM_BYTES // self.target.bus_bytes)
                yield from self.readers["params"].offer(fields["params"], beats)
            yield from queue.drop()

    def _store(self) -> Process:
        kernel, reader = self.kernel, self.readers["params"]
        target = self.target
        beats = -(-target.cols * PARAM_BYTES // target.bus_bytes)
        records = max(target.cols * PARAM_BYTES // target.bus_bytes, target.cols)
        beat = 0
        while True:
            yield from self.stores.head()
            opcode, f = self.stores.peek()
            if opcode is Opcode.STORE:
                last = beat + beats - 1
                begin = kernel.now + 1
                while not reader.covers(last):
                    yield reader.arrived
                first = max(begin, reader.time_of(beat))
                yield max(first + records, reader.time_of(last) + 1) + 1
                reader.release(kernel.now, beats)
                beat += beats
                yield from self.tokens["calc", "store"].take(f["wait_calc"])
                yield from self._drain(f)
            elif opcode is Opcode.STAMP:
                yield from self._stamp(f)
            else:
                yield max(self.writer.last_response + 1, kernel.now)
                self.finished = kernel.now - 1
            yield from self.stores.drop()

    def _stamp(self, f: Fields) -> Process:
        """Sample the counter when all is written; the counter was 0 in cycle 1."""
        yield max(self.writer.last_response + 1, self.kernel.now)
        now = self.kernel.now
        self.ends.append(now - 1)
        beats = -(-STAMP_BYTES // self.target.bus_bytes)
        yield self.writer.write(f["address"], [now + 5] * beats, now + 4) + 1

    def _drain(self, f: Fields) -> Process:
        """Read the accumulators and write the rows, whichever takes longer."""
        begin = self.kernel.now + 1  # of reading
        target, bus = self.target, self.target.bus_bytes
        pixel, latency = target.pixel_bytes, target.postprocess_latency
        window = f["win_rows"] * f["win_cols"]
        packed = begin - 1 + TO_PACKER + latency  # the last pixel into the packer
        stall = 0
        address, announced = f["address"], begin + 3
        for _ in range(f["rows"]):
            # Pixels enter the packer a window apart, or as fast as it sends beats.
            ready = []
            for beat in range(f["row_beats"]):
                taken = min(-(-(beat + 1) * bus // pixel), f["cols"])
                ready.append(packed + taken * window + 1)
            gone = self.writer.write(address, ready, announced)
            entered = max(packed + f["cols"] * window, gone - max(pixel // bus, 1))
            stall += entered - (packed + f["cols"] * window)
            packed = entered
            announced += 2
            address += f["pitch"]
        # While the packer holds it up, the whole pipeline stands still.
        read = packed - latency - TO_PACKER
        if f["signal_calc"]:
            self.tokens["store", "calc"].give(read + 3)
        if f["signal_load"]:
            self.tokens["store", "load"].give(self.writer.last_response + 1)
        self._count("store", f["region"], packed + 1 - begin)
        yield packed + 1


class _Slot:
    """CALC's next instruction, its tokens taken."""

    def __init__(self, kernel: Kernel) -> None:
        self.changed = Condition(kernel)
        self.job: tuple[Fields, int] | None = None

    def put(self, fields: Fields, valid: int) -> None:
        """It may begin from `valid` on."""
        self.job = (fields, valid)
        self.changed.notify()

    def take(self) -> None:
        """It begins, and the next one may come in."""
        self.job = None
        self.changed.notify()


class _TileSlot:
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
