"""CALC in the cycle model."""

from __future__ import annotations

from tilewright.compiler.events import Condition, Kernel, Process
from tilewright.compiler.microarchitecture import SUM_LATENCY
from tilewright.compiler.pipeline_shared import Fields, Shared

__all__ = ["CalcModel"]

CALC_DRAIN = 3 + SUM_LATENCY
"""From an instruction's last pixel to its token, besides the banks and the array."""


class CalcModel:
    """The CALC unit, see hw/calc.py."""

    def __init__(self, run: Shared) -> None:
        self._run = run
        self._slot = _Slot(run.kernel)

    def prepare(self) -> Process:
        """Take the tokens of the next instruction while the present one runs."""
        queue = self._run.queues["calc"]
        while True:
            yield from queue.head()
            f = queue.peek()[1]
            yield from self._run.tokens["load", "calc"].take(f["wait_load"])
            yield from self._run.tokens["store", "calc"].take(f["wait_store"])
            self._slot.put(f, self._run.kernel.now + 1)
            while self._slot.job is not None:
                yield self._slot.changed
            if self._run.target.unit_queue > 1:
                yield from queue.drop()
                continue
            while self._slot.running:
                yield self._slot.changed
            queue.remove()

    def issue(self) -> Process:
        """Tile after tile."""
        kernel, slot = self._run.kernel, self._run.tiles
        target = self._run.target
        array = target.rows + target.cells_per_row + target.multiplier_stages
        below = target.edge_registers + target.scale_registers
        drain = target.bank_latency + array + below + CALC_DRAIN
        finish = 0
        while True:
            while self._slot.job is None:
                yield self._slot.changed
            f, valid = self._slot.job
            yield max(valid, finish)  # it begins in the last cycle of the one before
            self._slot.take()
            begin = time = kernel.now + 1
            pixels = f["rows"] * f["cols"]
            tiles = f["tiles0"] * f["tiles1"] * f["tiles2"]
            for _ in range(tiles):
                while slot.free:
                    yield slot.changed
                time = max(time, slot.ready)
                yield time
                slot.take(time)
                time += max(pixels, target.accumulate_latency)
            finish = time - 1
            if target.unit_queue == 1:  # it stays at the head until it has finished
                yield finish + 1
                self._slot.end()
            worked = tiles * max(pixels, target.accumulate_latency)
            self._run.record("calc", f, begin, time, time - begin - worked)
            self._run.count("calc", f["region"], tiles * pixels)
            for unit in ("load", "store"):
                if f[f"signal_{unit}"]:
                    self._run.tokens["calc", unit].give(finish + drain)


class _Slot:
    """CALC's next instruction, its tokens taken."""

    def __init__(self, kernel: Kernel) -> None:
        self.changed = Condition(kernel)
        self.job: tuple[Fields, int] | None = None
        self.running = False

    def put(self, fields: Fields, valid: int) -> None:
        """It may begin from `valid` on."""
        self.job = (fields, valid)
        self.changed.notify()

    def take(self) -> None:
        """It begins, and the next one may come in."""
        self.job, self.running = None, True
        self.changed.notify()

    def end(self) -> None:
        """It has finished."""
        self.running = False
        self.changed.notify()
