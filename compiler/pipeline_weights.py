"""WEIGHTS in the cycle model: streams requested, tiles let into the array."""

from __future__ import annotations

from tilewright.compiler.events import Process
from tilewright.compiler.microarchitecture import DECODER_LATENCY, DECODER_ROWS
from tilewright.compiler.pipeline_shared import Fields, Shared

__all__ = ["WeightsModel"]


class WeightsModel:
    """Both halves of the WEIGHTS unit, see hw/weights.py, and CALC's tile loader."""

    def __init__(self, run: Shared) -> None:
        self._run = run
        self._inner = run.halves()

    def request(self) -> Process:
        """Request streams ahead."""
        queue = self._run.queues["weights"]
        while True:
            yield from queue.head()
            fields = queue.peek()[1]
            yield from self._inner.put(fields)
            yield from self._run.readers["weights"].offer(fields["address"], fields["beats"])
            if self._run.target.unit_queue == 1:  # both halves look at one register
                yield from self._inner.emptied()
                queue.remove()
            else:
                yield from queue.drop()

    def unpack(self) -> Process:
        """Let the rows of each tile into the array once the tile before it has started."""
        kernel, target, reader = self._run.kernel, self._run.target, self._run.readers["weights"]
        slot, bus_bits = self._run.tiles, 8 * self._run.target.bus_bytes
        base, piece = 0, max(reader.depth // 2, 1)
        lag = int(target.bursts)  # a single beat leaves in the cycle in which it is seen
        # Rows pass a buffer on their way to the array; with short stages beats pass one, too.
        rows_late = int(target.edge_registers > 0)
        late_by = rows_late + target.short_stages
        while True:
            yield from self._inner.head()
            f, begin = self._inner.peek(), kernel.now
            if f["coded"] or f["block"]:
                yield from self._decode(f, base)
                base += f["beats"]
                yield from self._inner.drop()
                continue
            row_bits = target.cols * (2 << f["container"]) + 16 * f["gather"]
            tile_bits = target.rows * row_bits
            spread = max((target.rows - 1) * row_bits // bus_bits, target.rows - 1)
            opening = max(-(-row_bits // bus_bits), 1)  # cycles to a tile's first row
            accepting = kernel.now + late_by
            done = 0
            for tile in range(f["tiles"]):
                begin_bit, end_bit = tile * tile_bits, (tile + 1) * tile_bits
                end = -(-end_bit // bus_bits)
                row_end = -(-(begin_bit + row_bits) // bus_bits)  # beats with the first row
                # The first row waits in the gearbox: its beats leave the FIFO whatever CALC does.
                while done < row_end:
                    part = min(row_end - done, piece)
                    while not reader.covers(base + done + part - 1):
                        yield reader.arrived
                    done += part
                    taken = max(reader.time_of(base + done - 1), accepting + 1, kernel.now)
                    reader.release(taken, part)
                while not slot.free:
                    yield slot.changed
                tail = -(-(end_bit - (end - 1) * bus_bits) // row_bits)  # rows the last beat ends
                unhindered = entered = max(slot.freed, accepting + opening) + spread
                part = 0
                while done < end:
                    # A tile larger than half the FIFO leaves it piece by piece.
                    part = min(end - done, piece)
                    while not reader.covers(base + done + part - 1):
                        yield reader.arrived
                    done += part
                    if done < end:
                        seen = reader.time_of(base + done - 1) + lag + late_by
                        reader.release(max(slot.freed, seen), part)
                arrival = reader.time_of(base + end - 1) + 1 + late_by
                late = reader.time_of(base + row_end - 1) + 1 + late_by + spread
                rows = min(tail, target.rows)
                entered = max(entered, late, arrival - 1 + rows)
                # Beats leave the FIFO just before the rows that they complete.
                steps = min(max(part // self._run.lump, 1), target.rows) if part else 0
                for step in range(steps, 0, -1):
                    beats = part * step // steps - part * (step - 1) // steps
                    seen = reader.time_of(base + done - 1 - part + part * step // steps)
                    wanted = unhindered - spread * (steps - step) // steps - rows + 1
                    reader.release(max(wanted, seen + lag), beats)
                slot.fill(entered + 1)
                accepting = entered
            base += f["beats"]
            end = max(accepting, begin)
            self._run.record("weights", f, begin, end, end - begin - f["tiles"] * (spread + 1))
            yield max(accepting - rows_late, kernel.now)
            yield from self._inner.drop()

    def _decode(self, f: Fields, base: int) -> Process:
        """The decoder: its slowest lane, its words' arrival, and the array's taking a row a cycle."""
        kernel, target, reader = self._run.kernel, self._run.target, self._run.readers["weights"]
        slot, progress = self._run.tiles, self._run.decoding[f["address"]]
        late_by = int(target.edge_registers > 0)
        piece = max(reader.depth // 2, 1)
        done = before = 0
        begin = kernel.now
        while not reader.covers(base):
            yield reader.arrived
        through = 0 if f["block"] else DECODER_LATENCY
        decoded = max(reader.time_of(base), kernel.now) + through
        for cycles, beats in zip(progress.cycles.tolist(), progress.beats.tolist(), strict=True):
            while done < beats:
                part = min(beats - done, piece)
                while not reader.covers(base + done + part - 1):
                    yield reader.arrived
                done += part
                reader.release(max(reader.time_of(base + done - 1), kernel.now), part)
            arrived = reader.time_of(base + beats - 1) + through
            decoded = max(decoded + cycles - before, arrived)
            before = cycles
            if f["block"]:
                continue
            while not slot.free:
                yield slot.changed
            entered = max(slot.freed + target.rows - 1 + late_by, decoded + late_by)
            # Lanes run ahead of the array as far as they can hold rows.
            decoded = max(decoded, entered - DECODER_ROWS)
            slot.fill(entered + 1)
        end = max(decoded, kernel.now)
        work = before if f["block"] else max(before, len(progress.cycles) * target.rows)
        self._run.record("weights", f, begin, end, end - begin - work)
        yield end
