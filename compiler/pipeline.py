"""The units of the cycle model: fetch, LOAD, WEIGHTS, CALC and STORE as processes."""

from __future__ import annotations

from tilewright.compiler.bus import Channel, Latencies, MemoryTiming, Reader, Writer
from tilewright.compiler.events import Condition, Kernel, Process, Queue, Tokens
from tilewright.compiler.isa import INSTRUCTION_BYTES, PARAM_BYTES, Opcode, decode
from tilewright.compiler.program import Program
from tilewright.compiler.tokens import unit_of

__all__ = ["Pipeline"]

Fields = dict[str, int]
UNIT_QUEUE = 4


class Pipeline:
    """The units as processes of one kernel, running one program.

    After `kernel.run()`: `ends` has each region's stamp, `finished` the cycle of FINISH, `busy` each
    unit's working cycles by region.
    """

    def __init__(self, program: Program, memory: MemoryTiming, latencies: Latencies) -> None:
        self.program, self.target = program, program.target
        self.memory, self.lat = memory, latencies
        self.kernel = kernel = Kernel()
        self.channel = Channel(kernel, memory, latencies)
        target = program.target
        self.array_drain = (
            target.rows + target.cols + target.multiplier_stages + latencies.calc_drain
        )
        self.store_pipe = latencies.store_pipe + latencies.leaky_pipe * target.leaky
        self.param_beats = -(-target.cols * PARAM_BYTES // target.bus_bytes)
        self.fetch_beats = max(INSTRUCTION_BYTES // target.bus_bytes, 1)
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
        self.loads = Queue(kernel, 2)
        self.streams = Queue(kernel, 2)
        self.stores = Queue(kernel, 2)
        self.prepared = Queue(kernel, 1)
        self.tiles = _TileSlot(kernel)
        for process in (
            self.channel.process(),
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
        yield self.lat.start
        beats = self.program.count * self.fetch_beats
        yield from self.readers["fetch"].transfer(self.program.instructions, beats, self.lat.split)

    def _fetch(self) -> Process:
        """Decode instructions as they arrive and hand them to the units' queues."""
        reader, image = self.readers["fetch"], self.program.image
        region = 0
        for index in range(self.program.count):
            start = self.program.instructions + index * INSTRUCTION_BYTES
            opcode, fields = decode(image[start : start + INSTRUCTION_BYTES])
            fields["region"] = region
            region += opcode is Opcode.STAMP
            last = (index + 1) * self.fetch_beats - 1
            while not reader.covers(last):
                yield reader.arrived
            # Its beats leave the FIFO when it is assembled, whether or not it can be dispatched.
            yield max(reader.time_of(last), self.kernel.now + self.fetch_beats - self.lat.dispatch)
            reader.release(self.kernel.now + 1, self.fetch_beats)
            yield self.kernel.now + self.lat.dispatch
            yield from self.queues[unit_of(opcode)].put((opcode, fields))

    def _load_request(self) -> Process:
        queue, reader = self.queues["load"], self.readers["load"]
        while True:
            yield from queue.head()
            fields = queue.peek()[1]
            yield from self.tokens["store", "load"].take(fields["wait_store"])
            yield from self.loads.put(fields)
            yield self.kernel.now + 1
            address = fields["address"]
            for _ in range(fields["rows"]):
                yield from reader.transfer(address, fields["row_beats"], self.lat.split)
                address += fields["pitch"]
            queue.drop()

    def _load(self) -> Process:
        """Write rectangles into the banks, one word a cycle."""
        kernel, reader = self.kernel, self.readers["load"]
        beat, piece = 0, max(reader.depth // 2, 1)
        while True:
            yield from self.loads.head()
            f = self.loads.peek()
            yield from self.tokens["calc", "load"].take(f["wait_calc"])
            begin = time = kernel.now + self.lat.token
            width = f["pad_left"] + f["cols"] + f["pad_right"]
            time += f["pad_top"] * width
            for _ in range(f["rows"]):
                first, last = beat, beat + f["row_beats"] - 1
                first_word = time + f["pad_left"]
                while last - beat >= piece:
                    # A row larger than the FIFO is written piece by piece.
                    beat += piece
                    while not reader.covers(beat - 1):
                        yield reader.arrived
                    reader.release(max(first_word, reader.time_of(beat - 1)), piece)
                while not reader.covers(last):
                    yield reader.arrived
                arrival = max(
                    reader.time_of(last) + self.lat.write_word,
                    reader.time_of(first) + self.lat.write_word + f["cols"] - 1,
                )
                pixels_end = max(first_word + f["cols"], arrival + 1)
                reader.release(pixels_end, last + 1 - beat)
                time = pixels_end + f["pad_right"]
                beat = last + 1
            time += f["pad_bottom"] * width
            yield time
            self._count("load", f["region"], time - begin)
            if f["signal_calc"]:
                self.tokens["load", "calc"].give(time)
            self.loads.drop()

    def _weights_request(self) -> Process:
        queue = self.queues["weights"]
        while True:
            yield from queue.head()
            fields = queue.peek()[1]
            yield from self.streams.put(fields)
            yield from self.readers["weights"].transfer(
                fields["address"], fields["beats"], self.lat.split
            )
            queue.drop()

    def _weights(self) -> Process:
        """Let the rows of each tile into the array once the tile before it has started."""
        target, reader, slot = self.target, self.readers["weights"], self.tiles
        base, ready, piece = 0, 0, max(reader.depth // 2, 1)
        while True:
            yield from self.streams.head()
            f = self.streams.peek()
            row_bits = target.cols * (2 << f["container"]) + 16 * f["gather"]
            tile_bits = target.rows * row_bits
            done = 0
            for tile in range(f["tiles"]):
                while not slot.free:
                    yield slot.changed
                end = -(-(tile + 1) * tile_bits // (8 * target.bus_bytes))
                end = f["beats"] if tile == f["tiles"] - 1 else end
                while done < end:
                    # A tile larger than the FIFO enters piece by piece.
                    part = min(end - done, piece)
                    while not reader.covers(base + done + part - 1):
                        yield reader.arrived
                    arrival = reader.time_of(base + done + part - 1) + self.lat.unpack
                    done += part
                    last = done == end
                    ready = max(slot.freed + (target.rows if last else 0), arrival)
                    reader.release(ready, part)
                slot.fill(ready)
            base += f["beats"]
            self.streams.drop()

    def _calc_prepare(self) -> Process:
        """Take the tokens of the next instruction while the present one runs."""
        queue = self.queues["calc"]
        while True:
            yield from queue.head()
            f = queue.peek()[1]
            yield from self.tokens["load", "calc"].take(f["wait_load"])
            yield from self.tokens["store", "calc"].take(f["wait_store"])
            yield from self.prepared.put((f, self.kernel.now))
            queue.drop()

    def _calc(self) -> Process:
        """Tile after tile."""
        kernel, slot = self.kernel, self.tiles
        free = 0
        while True:
            yield from self.prepared.head()
            f, since = self.prepared.peek()
            time = max(free, since + self.lat.token + 1, kernel.now)
            yield time - 1
            self.prepared.drop()
            pixels = f["rows"] * f["cols"]
            period = max(pixels, self.lat.min_tile)
            tiles = f["tiles0"] * f["tiles1"] * f["tiles2"]
            for _ in range(tiles):
                while slot.free:
                    yield slot.changed
                time = max(time, slot.ready)
                yield time
                slot.take(time)
                time += period
            free = time
            self._count("calc", f["region"], tiles * pixels)
            given = time + self.array_drain
            for unit in ("load", "store"):
                if f[f"signal_{unit}"]:
                    self.tokens["calc", unit].give(given)

    def _store_request(self) -> Process:
        queue = self.queues["store"]
        while True:
            yield from queue.head()
            opcode, fields = queue.peek()
            yield from self.stores.put((opcode, fields))
            if opcode is Opcode.STORE:
                yield from self.readers["params"].transfer(
                    fields["params"], self.param_beats, self.lat.split
                )
            queue.drop()

    def _store(self) -> Process:
        kernel, reader = self.kernel, self.readers["params"]
        beat = 0
        while True:
            yield from self.stores.head()
            opcode, f = self.stores.peek()
            if opcode is Opcode.STORE:
                begin = kernel.now
                last = beat + self.param_beats - 1
                while not reader.covers(last):
                    yield reader.arrived
                records = max(self.target.cols, self.param_beats)
                yield max(begin + records, reader.time_of(last)) + self.lat.params
                reader.release(kernel.now, self.param_beats)
                beat += self.param_beats
                yield from self.tokens["calc", "store"].take(f["wait_calc"])
                yield from self._drain(f)
            else:
                yield max(self.writer.last_response, kernel.now) + self.lat.stamp
                if opcode is Opcode.STAMP:
                    self.ends.append(kernel.now)
                    self.writer.write(
                        f["address"], -(-8 // self.target.bus_bytes), kernel.now, kernel.now
                    )
                else:
                    self.finished = kernel.now
            self.stores.drop()

    def _drain(self, f: Fields) -> Process:
        """Read the accumulators and write the rows, whichever takes longer."""
        kernel = self.kernel
        begin = time = kernel.now + self.lat.token
        window = f["win_rows"] * f["win_cols"]
        row_reads = f["cols"] * window
        read_end = begin
        address = f["address"]
        pipe = self.store_pipe
        for _ in range(f["rows"]):
            first, last = read_end + window + pipe, read_end + row_reads + pipe
            time = self.writer.write(address, f["row_beats"], first, last)
            # Reading stays ahead of writing by what the pipeline holds.
            read_end = max(read_end + row_reads, time - pipe)
            address += f["pitch"]
        if f["signal_calc"]:
            self.tokens["store", "calc"].give(read_end + 3)
        if f["signal_load"]:
            self.tokens["store", "load"].give(self.writer.last_response + 1)
        self._count("store", f["region"], time - begin)
        yield time + self.lat.store_done


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
