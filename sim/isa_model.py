"""The accelerator at the level of instructions: what a program computes, and whether it may.

Instructions run one after another in program order. Every address, every token and every hazard
between the concurrent units is checked, so a program that runs here with the right result can
only go wrong in hardware through the hardware.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tilewright.compiler.activations import resolve
from tilewright.compiler.isa import INSTRUCTION_BYTES, PARAM_BYTES, Opcode, decode
from tilewright.compiler.layout import memory_lanes
from tilewright.compiler.program import Program
from tilewright.compiler.rows import Decoder
from tilewright.compiler.tokens import unit_of
from tilewright.errors import TilewrightError
from tilewright.quant import numerics
from tilewright.sim.hazards import Clock, Orders, ProgramFault, Touched

__all__ = ["ProgramFault", "execute"]

IntArray = npt.NDArray[np.int64]
Fields = dict[str, int]

CHUNK = 1 << 22
"""Most activations gathered at once."""


def execute(program: Program, inputs: Mapping[str, IntArray]) -> dict[str, IntArray]:
    """Run a program on integer inputs [C, H, W].

    Returns
    -------
    dict
        int64 [C, H, W] of every tensor in the program's memory map but the inputs.

    Raises
    ------
    ProgramFault
        If the program does something that the hardware forbids or leaves undefined.
    """
    model = _Model(program)
    for name in program.inputs:
        place = program.tensors[name]
        data = np.frombuffer(place.layout.pack(np.asarray(inputs[name], np.int64)), np.uint8)
        model.memory[place.address : place.address + len(data)] = data
        model.written[place.address : place.address + len(data)] = True
    for index in range(program.count):
        start = program.instructions + index * INSTRUCTION_BYTES
        opcode, fields = decode(program.image[start : start + INSTRUCTION_BYTES])
        try:
            model.step(opcode, fields)
        except ProgramFault as fault:
            raise ProgramFault(f"Instruction {index} ({opcode.name}) {fault}") from None
    model.finish()
    result = {}
    for name, place in program.tensors.items():
        if name not in program.inputs:
            data = model.memory[place.address : place.address + place.layout.size]
            result[name] = place.layout.unpack(data.tobytes())
    return result


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ProgramFault(message)


def _numbers(bits: npt.NDArray[np.uint8], width: int) -> IntArray:
    """Two's-complement numbers of `width` bits each along the last axis."""
    place = 1 << np.arange(width)
    place[-1] *= -1
    values: IntArray = bits.reshape(*bits.shape[:-1], -1, width).astype(np.int64) @ place
    return values


def _spread(weights: IntArray, cols: int) -> IntArray:
    """Tiles [n, R, C] of packed rows [n, R, P]: row r's weights go to columns c = r mod C/P."""
    group, place = np.divmod(np.arange(cols), cols // weights.shape[2])
    row = np.arange(weights.shape[1])[:, None] % (cols // weights.shape[2])
    return np.where(row == place, weights[:, :, group], 0)


class _Model:
    def __init__(self, program: Program) -> None:
        target = program.target
        self.target = target
        self._functions = tuple(resolve(entry) for entry in target.activations)
        self.memory = np.zeros(program.memory_bytes, np.uint8)
        self.written = np.zeros(program.memory_bytes, bool)
        self.constant = len(program.image)
        self.memory[: self.constant] = np.frombuffer(program.image, np.uint8)
        self.written[: self.constant] = True
        self.bank = np.zeros((target.act_depth, target.rows), np.int64)
        self.filled = np.zeros((target.act_depth, target.rows), bool)
        self.acc = np.zeros((2, target.acc_depth, target.cols), np.int64)
        self.accumulated = np.zeros((2, target.acc_depth), bool)
        self.decoder = Decoder(target)
        self.scales = np.ones((2, target.cols), np.int64)  # of ternary cells
        self.stream: deque[tuple[IntArray, IntArray | None]] = deque()
        self.orders = Orders()
        beats = -(-program.memory_bytes // target.bus_bytes)
        self.bank_touched = Touched(target.act_depth, "load", "calc", "bank words")
        # A half has one read port: it is drained or added to, whatever the addresses.
        self.acc_touched = Touched(2, "calc", "store", "an accumulator half")
        self.memory_touched = Touched(beats, "store", "load", "memory")
        self.done = False

    def step(self, opcode: Opcode, fields: Fields) -> None:
        _require(not self.done, "follows FINISH")
        unit = unit_of(opcode)
        clock = self.orders.start(unit, fields)
        if opcode is Opcode.LOAD:
            self._load(fields, clock)
        elif opcode is Opcode.WEIGHTS:
            self._weights(fields)
        elif opcode is Opcode.CALC:
            self._calc(fields, clock)
        elif opcode is Opcode.STORE:
            self._store(fields, clock)
        elif opcode is Opcode.STAMP:
            self._span(fields["address"], 8)
        else:
            self.done = True
        self.orders.finish(unit, fields)

    def finish(self) -> None:
        _require(self.done, "The program has no FINISH")
        _require(not self.stream, "Weight tiles are left that no CALC used")
        left = self.orders.left_over()
        _require(not left, f"Tokens are left that no one waited for: {left}")

    def _span(self, address: int, size: int) -> slice:
        """Bytes of memory, after checking their bounds and alignment."""
        bus = self.target.bus_bytes
        _require(address % bus == 0, f"uses address {address}, not aligned to the bus")
        _require(address + size <= len(self.memory), f"leaves memory at {address} + {size}")
        return slice(address, address + size)

    def _beats(self, address: int, size: int) -> slice:
        bus = self.target.bus_bytes
        return slice(address // bus, -(-(address + size) // bus))

    def _load(self, f: Fields, clock: Clock) -> None:
        target = self.target
        rows, cols = f["rows"], f["cols"]
        height = f["pad_top"] + rows + f["pad_bottom"]
        width = f["pad_left"] + cols + f["pad_right"]
        base, words = f["bank_address"], height * width
        _require(words > 0, "loads nothing")
        length, address, place = self._bank_places(f, width, words)
        end = base + length
        _require(end <= target.act_depth, f"leaves the banks at {base} + {length}")
        zero = -(1 << (target.act_bits - 1)) if f["unsigned"] else 0
        values = np.full((height, width, target.rows), zero, np.int64)
        known = np.ones((height, width, target.rows), bool)
        lane = self._memory_lane(f)
        size = cols * memory_lanes(target, f["narrow"]) * target.lane_bytes
        _require(f["row_beats"] == -(-size // target.bus_bytes), "row_beats does not match cols")
        for y in range(rows):
            span = self._span(f["address"] + y * f["pitch"], size)
            self.memory_touched.read(clock, self._beats(span.start, size))
            lanes = self.memory[span].view("<i1" if target.lane_bytes == 1 else "<i2")
            real = slice(f["pad_left"], f["pad_left"] + cols)
            values[f["pad_top"] + y, real] = lanes.reshape(cols, -1)[:, lane]
            written = self.written[span].reshape(cols, -1, target.lane_bytes)
            sure = written.min(axis=2)[:, lane]
            _require(bool(sure.any(axis=1).all()), f"reads memory never written at {span.start}")
            known[f["pad_top"] + y, real] = sure
        self.bank_touched.write(clock, slice(base, end))
        word, bank = np.arange(words)[:, None], np.arange(target.rows)
        self.bank[base + address, bank] = values.reshape(words, -1)[word, place]
        self.filled[base + address, bank] = known.reshape(words, -1)[word, place]

    def _memory_lane(self, f: Fields) -> IntArray:
        """Lane in memory that each lane of the array gets."""
        lanes, period = np.arange(self.target.rows), f["period"]
        if not f["narrow"]:
            _require(period == 0, "has a period but is not narrow")
            return lanes
        choices = self.target.narrow_lanes
        _require(f["narrow"] <= len(choices), "is as narrow as the target cannot load")
        fitting = [m for m in choices if m >= period > 0]
        _require(fitting[:1] == [choices[f["narrow"] - 1]], f"has a period of {period}")
        return lanes % period

    def _bank_places(self, f: Fields, width: int, words: int) -> tuple[int, IntArray, IntArray]:
        """How many addresses a rectangle spans; address and lane of each word's each bank."""
        rows, word = self.target.rows, np.arange(words)[:, None]
        if not f["pack"]:
            _require(f["phase"] == 0, "has a phase but is not packed")
            return (
                words,
                np.broadcast_to(word, (words, rows)),
                np.broadcast_to(np.arange(rows), (words, rows)),
            )
        pixels = 1 << f["pack"]
        half, lanes = pixels // 2, rows // pixels
        _require(pixels in self.target.packs, f"packs {pixels} pixels, which the target cannot")
        _require(f["bank_address"] % pixels == 0, f"is not aligned to {pixels} words")
        _require(width % half == 0, f"packs rows of {width} pixels")
        _require(f["phase"] in (0, half), f"starts rows at phase {f['phase']}")
        group, place = np.divmod(np.arange(rows), lanes)
        source = (group - f["phase"] - word % half) % pixels
        return words // half * pixels, word // half * pixels + source, source * lanes + place

    def _weights(self, f: Fields) -> None:
        target = self.target
        size = f["beats"] * target.bus_bytes
        if f["coded"] or f["block"]:
            self._coded(f)
            return
        container = (2, 4, 8, 16)[f["container"]]
        _require(container in target.weight_containers, f"container {container} is too wide")
        # A ragged last beat may reach past the end of memory, where nothing of it is used.
        span = self._span(f["address"], min(size, len(self.memory) - f["address"]))
        bits = np.unpackbits(self.memory[span], bitorder="little")
        row = target.cols * container + 16 * f["gather"]
        total = f["tiles"] * target.rows * row
        _require(len(bits) >= total and size * 8 - total < 8 * target.bus_bytes, "has odd beats")
        grid = bits[:total].reshape(f["tiles"], target.rows, row)
        offsets = None
        if f["gather"]:
            offsets = grid[:, :, :16].astype(np.int64) @ (1 << np.arange(16))
            grid = grid[:, :, 16:]
        pixels = self._pixels(f)
        if pixels > 1:
            width = max(target.weight_containers)
            _require(pixels * width <= grid.shape[2], "has no room for its packed weights")
            tiles = _spread(_numbers(grid[:, :, : pixels * width], width), target.cols)
        else:
            tiles = _numbers(grid, container)
        limit = 1 << (target.weight_bits - 1)
        _require(
            bool((tiles >= -limit).all() and (tiles < limit).all()), "weights exceed weight_bits"
        )
        for i in range(f["tiles"]):
            self.stream.append((tiles[i], None if offsets is None else offsets[i]))

    def _coded(self, f: Fields) -> None:
        """Read a compressed stream or a block."""
        target = self.target
        _require(target.decoder_lanes > 0, "is compressed, and the target has no decoder")
        _require(not f["pack"], "is packed and compressed")
        size = min(f["beats"] * target.bus_bytes, len(self.memory) - f["address"])
        data = self.memory[self._span(f["address"], size)].tobytes()
        try:
            stream = self.decoder.read(data, f)
        except TilewrightError as error:
            raise ProgramFault(f"reads: {error}") from None
        if stream is not None:
            for first in range(0, len(stream.weights), target.rows):
                tile = slice(first, first + target.rows)
                offsets = None if stream.offsets is None else stream.offsets[tile]
                self.stream.append((stream.weights[tile], offsets))

    def _pixels(self, f: Fields) -> int:
        """Pixels of a word, as the instruction's `pack` says."""
        pixels = 1 << f["pack"]
        _require(pixels in (1, *self.target.packs), f"packs {pixels} pixels")
        return pixels

    def _calc(self, f: Fields, clock: Clock) -> None:
        pixels = f["rows"] * f["cols"]
        count = f["tiles0"] * f["tiles1"] * f["tiles2"]
        _require(pixels > 0 and count > 0, "calculates nothing")
        if f["scales"]:
            _require(self.target.scaled, "brings scales, which the target does not have")
            _require(pixels == count == 1, "has several tiles or pixels of scales")
            (codes,) = self._taken(1, bool(f["gather"]))[0]
            bits = np.stack([codes & 1, codes >> 1 & 1])[:, : self.target.weight_bits]
            place = 1 << np.arange(bits.shape[1])
            self.scales = (bits * place[:, None]).sum(axis=1)
            return
        _require(f["acc_step"] > 0, "adds all pixels to one accumulator")
        end = f["acc_base"] + (pixels - 1) * f["acc_step"] + 1
        _require(end <= self.target.acc_depth, f"leaves the accumulators at {end}")
        y, x = np.divmod(np.arange(pixels), f["cols"])
        pixel = y * f["row_step"] + x * f["col_step"]
        t2, rest = np.divmod(np.arange(count), f["tiles1"] * f["tiles0"])
        t1, t0 = np.divmod(rest, f["tiles0"])
        tile = f["base"] + t2 * f["step2"] + t1 * f["step1"] + t0 * f["step0"]
        acc = self.acc[f["half"], f["acc_base"] : end : f["acc_step"]]
        known = self.accumulated[f["half"], f["acc_base"] : end : f["acc_step"]]
        if f["first"]:
            acc[:] = 0
        else:
            _require(bool(known.all()), "adds to accumulators never written")
        known[:] = True
        shift = self.target.sum_shift if f["shift"] else 0
        step = max(1, CHUNK // (pixels * self.target.rows))
        for start in range(0, count, step):
            part = tile[start : start + step]
            acc += self._products(pixel, part, bool(f["gather"]), clock) << shift
        limit = 1 << (self.target.acc_bits - 1)
        _require(bool((acc >= -limit).all() and (acc < limit).all()), "overflows acc_bits")
        self.acc_touched.write(clock, slice(f["half"], f["half"] + 1))

    def _taken(self, count: int, gather: bool) -> tuple[IntArray, list[IntArray]]:
        """The stream's next tiles [count, R, C], and their rows' offsets if there are any."""
        _require(len(self.stream) >= count, "finds no weight tile in the stream")
        taken = [self.stream.popleft() for _ in range(count)]
        _require(
            all((offsets is not None) == gather for _, offsets in taken),
            "and its weight tiles differ in `gather`",
        )
        return np.stack([w for w, _ in taken]), [o for _, o in taken if o is not None]

    def _products(self, pixel: IntArray, tile: IntArray, gather: bool, clock: Clock) -> IntArray:
        """Sum over tiles and rows of activation * weight: int64 [pixels, C]."""
        rows = self.target.rows
        weights, offsets = self._taken(len(tile), gather)
        if self.target.ternary:
            weights = (weights & 1) * self.scales[0] - (weights >> 1 & 1) * self.scales[1]
        address = pixel[:, None, None] + tile[:, None]
        if gather:
            address = address + np.stack(offsets)
        address = np.broadcast_to(address % 0x10000, (len(pixel), len(tile), rows))
        _require(bool(address.max() < self.target.act_depth), "addresses beyond the banks")
        lane = np.arange(rows)
        needed = weights.any(axis=2)
        _require(
            bool((self.filled[address, lane] | ~needed).all()), "reads bank words never loaded"
        )
        self.bank_touched.read(clock, address.ravel())
        data = self.bank[address, lane].reshape(len(pixel), -1).astype(np.float64)
        exact = data @ weights.reshape(-1, self.target.cols).astype(np.float64)
        result: IntArray = exact.astype(np.int64)
        return result

    def _store(self, f: Fields, clock: Clock) -> None:
        target = self.target
        self._check_lanes(f)
        address, column = self._windows(f)
        _require(address.size > 0, "stores nothing")
        _require(bool(address.max() < target.acc_depth), "leaves the accumulators")
        known = self.accumulated[f["half"]][address].all(axis=(2, 3))
        self.acc_touched.read(clock, slice(f["half"], f["half"] + 1))
        window = self.acc[f["half"]][address, column]
        pooled = window.sum(axis=2) if f["pool_sum"] else window.max(axis=2)
        values = self._postprocess(f, pooled)[:, :, f["src_lane"] : f["src_lane"] + f["lanes"]]
        size = f["cols"] * target.pixel_bytes
        _require(f["row_beats"] == -(-size // target.bus_bytes), "row_beats does not match cols")
        kind = "<i1" if target.lane_bytes == 1 else "<i2"
        lanes = slice(f["dst_lane"], f["dst_lane"] + f["lanes"])
        for y in range(f["rows"]):
            span = self._span(f["address"] + y * f["pitch"], size)
            _require(span.start >= self.constant, "writes into the program")
            self.memory_touched.write(clock, self._beats(span.start, size))
            self.memory[span].view(kind).reshape(f["cols"], -1)[:, lanes] = values[y]
            grid = self.written[span].reshape(f["cols"], target.rows, -1)
            grid[:, lanes] = known[y][:, None, None]

    def _windows(self, f: Fields) -> tuple[IntArray, IntArray]:
        """Accumulator and column that each output pixel's window reads for each lane.

        Both can be broadcast to [rows, cols, window, C].
        """
        pixels = self._pixels(f)
        lane = np.arange(self.target.cols)
        oy, ox = np.ix_(np.arange(f["rows"]), np.arange(f["cols"]))
        base = f["acc_base"] + oy * f["acc_row_step"]
        if pixels == 1:
            wy, wx = np.divmod(np.arange(f["win_rows"] * f["win_cols"]), max(f["win_cols"], 1))
            base = (base + ox * f["acc_col_step"])[:, :, None, None]
            return base + (wy * f["win_row_step"] + wx)[:, None], lane
        _require(f["win_rows"] == f["win_cols"] == 1, "pools packed pixels")
        steps = (f["acc_base"], f["acc_row_step"], f["acc_col_step"])
        _require(not any(step % pixels for step in steps), "reads packed pixels between blocks")
        _require(f["phase"] in (0, pixels // 2), f"starts rows at phase {f['phase']}")
        group, place = np.divmod(lane, len(lane) // pixels)
        base = (base + ox // (pixels // 2) * f["acc_col_step"])[:, :, None, None]
        phase = f["phase"] + ox[:, :, None, None] % (pixels // 2)
        return base + group, (group + phase) % pixels * (len(lane) // pixels) + place

    def _check_lanes(self, f: Fields) -> None:
        target = self.target
        step = math.gcd(target.rows, target.cols)
        _require((f["dst_lane"] - f["src_lane"]) % step == 0, "shifts lanes by an odd amount")
        _require(f["src_lane"] + f["lanes"] <= target.cols, "stores columns that do not exist")
        _require(0 < f["lanes"] <= target.rows - f["dst_lane"], "stores lanes that do not exist")
        limit = 1 << (target.act_bits - 1)
        _require(-limit <= f["lo"] <= f["hi"] < limit, "clips beyond act_bits")
        _require(not f["leaky"] or target.leaky, "needs LeakyReLU, which the target lacks")

    def _postprocess(self, f: Fields, pooled: IntArray) -> IntArray:
        span = self._span(f["params"], self.target.cols * PARAM_BYTES)
        records = self.memory[span].reshape(-1, PARAM_BYTES)
        bias = records[:, :6].astype(np.int64) @ (1 << (8 * np.arange(6)))
        bias = np.where(bias >> 47, bias - (1 << 48), bias)
        slope = (bool(f["leaky"]), f["slope_multiplier"], max(f["slope_shift"], 1))
        shift = records[:, 6].astype(np.int64)
        chosen = (f["function"], f["function_shift"])
        result: IntArray = numerics.postprocess(
            pooled, bias, shift, f["lo"], f["hi"], *slope, *chosen, functions=self._functions
        )
        return result
