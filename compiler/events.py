"""A small discrete-event kernel: processes are generators that wait for times and conditions."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Generator
from typing import Any

__all__ = ["Condition", "Kernel", "Process", "Queue", "Tokens"]

Process = Generator["int | Condition", None, None]
"""Yields the time at which to go on, or a condition that someone will notify."""


class Condition:
    """Something that processes wait for; whoever changes it notifies."""

    __slots__ = ("_kernel", "_waiting")

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._waiting: list[Process] = []

    def wait(self, process: Process) -> None:
        """Let `process` sleep until the next notification."""
        self._waiting.append(process)

    def notify(self) -> None:
        """Wake all that wait, now."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for process in waiting:
                self._kernel.schedule(self._kernel.now, process)


class Kernel:
    """The clock and the agenda."""

    def __init__(self) -> None:
        self.now = 0
        self.final: Process | None = None
        """The process that comes after all others in each cycle, since it arbitrates among them."""
        self._agenda: list[tuple[int, bool, int, Any]] = []
        self._count = 0

    def schedule(self, time: int, what: Process | Callable[[], None]) -> None:
        """Resume a process, or call a function, at `time`."""
        self._count += 1
        heapq.heappush(self._agenda, (time, what is self.final, self._count, what))

    def run(self) -> None:
        """Run until nothing is left to do."""
        agenda = self._agenda
        while agenda:
            self.now, _, _, what = heapq.heappop(agenda)
            if not isinstance(what, Generator):
                what()
                continue
            wanted = next(what, None)
            if isinstance(wanted, Condition):
                wanted.wait(what)
            elif wanted is not None:
                self.schedule(max(wanted, self.now), what)


class Tokens:
    """A counting semaphore, whose tokens can be taken `late` cycles after they were given."""

    def __init__(self, kernel: Kernel, late: int = 0) -> None:
        self._kernel = kernel
        self._late = late
        self._count = 0
        self._given = Condition(kernel)

    def give(self, time: int) -> None:
        """Add a token at `time`."""
        self._kernel.schedule(time + self._late, self._add)

    def _add(self) -> None:
        self._count += 1
        self._given.notify()

    def take(self, count: int) -> Process:
        """Wait for `count` tokens and take them."""
        while self._count < count:
            yield self._given
        self._count -= count


class Queue:
    """A bounded queue with one producer and one consumer.

    An item put in cycle t is seen from t + `latency` on, and the one behind an item that is dropped
    in t from t + `gap` on; the room of that one is free a cycle earlier, but not in t.
    """

    def __init__(self, kernel: Kernel, depth: int, latency: int = 1, gap: int = 1) -> None:
        self._kernel = kernel
        self._gap = gap
        self._depth = depth
        self._latency = latency
        self._level = 0
        self._items: deque[Any] = deque()
        self._changed = Condition(kernel)

    def put(self, item: Any) -> Process:
        """Wait for room and append."""
        yield from self.room()
        self._level += 1
        self._kernel.schedule(self._kernel.now + self._latency, lambda: self._show(item))

    def _show(self, item: Any) -> None:
        self._items.append(item)
        self._changed.notify()

    def head(self) -> Process:
        """Wait until there is an item."""
        while not self._items:
            yield self._changed

    def room(self) -> Process:
        """Wait until an item could be put."""
        while self._level >= self._depth:
            yield self._changed

    def emptied(self) -> Process:
        """Wait until nothing is in it any more."""
        while self._level:
            yield self._changed

    def peek(self) -> Any:
        """Item at the head."""
        return self._items[0]

    def drop(self) -> Process:
        """Remove the head; goes on in the cycle in which the next item is seen."""
        self._items.popleft()
        self._kernel.schedule(self._kernel.now + max(self._gap - 1, 1), self._make_room)
        yield self._kernel.now + self._gap

    def remove(self) -> None:
        """Remove the head; its place is free in this cycle already."""
        self._items.popleft()
        self._make_room()

    def _make_room(self) -> None:
        self._level -= 1
        self._changed.notify()
