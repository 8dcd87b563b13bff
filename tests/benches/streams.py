"""Agents that drive and watch a component's ports, cycle by cycle, in any simulator.

A scenario is a component, its agents and what must hold at the end. `run` plays it in Amaranth's
simulator; `unit_bench` plays the same one on the component's Verilog, where unknown values show.
In each cycle every agent first drives inputs and then, all inputs set, samples outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from amaranth.lib import data
from amaranth.sim import Simulator

__all__ = [
    "Agent",
    "Collector",
    "Drive",
    "Scenario",
    "Sink",
    "Source",
    "Watch",
    "bits_of",
    "plain",
    "play",
    "run",
]


def plain(value: Any) -> Any:
    """Integers, lists and dictionaries instead of Amaranth's constants."""
    if isinstance(value, data.Const):
        shape = value.shape()
        if isinstance(shape, data.ArrayLayout):
            return [plain(item) for item in value]
        return {name: plain(value[name]) for name, _ in shape}
    return value


def bits_of(values: Iterable[int], width: int) -> int:
    """Values of `width` bits each, the first one lowest, as one integer."""
    return sum((value & ((1 << width) - 1)) << (width * at) for at, value in enumerate(values))


class Agent:
    """Something that acts in every cycle."""

    def drive(self, ctx: Any, cycle: int) -> None:
        """Set inputs."""

    def sample(self, ctx: Any, cycle: int) -> None:
        """Read outputs, all inputs of the cycle being set."""


class Drive(Agent):
    """Calls a function to set inputs."""

    def __init__(self, function: Callable[[Any, int], None]) -> None:
        self._function = function

    def drive(self, ctx: Any, cycle: int) -> None:
        self._function(ctx, cycle)


class Watch(Agent):
    """Calls a function to read outputs."""

    def __init__(self, function: Callable[[Any, int], None]) -> None:
        self._function = function

    def sample(self, ctx: Any, cycle: int) -> None:
        self._function(ctx, cycle)


class Source(Agent):
    """Offers items on a stream, each after a pause; more may be appended to `items`.

    `cycles` lists when each was taken.
    """

    def __init__(
        self, port: Any, items: Iterable[Any] = (), *, chance: float = 1.0, random: Random
    ) -> None:
        self.port = port
        self.items = list(items)
        self.chance = chance
        self.random = random
        self.cycles: list[int] = []
        self._offering = False

    def drive(self, ctx: Any, cycle: int) -> None:
        if not self._offering:
            self._offering = bool(self.items) and self.random.random() < self.chance
        ctx.set(self.port.valid, int(self._offering))
        if self._offering:
            ctx.set(self.port.p, self.items[0])

    def sample(self, ctx: Any, cycle: int) -> None:
        ready = getattr(self.port, "ready", None)  # a flow has none
        if self._offering and (ready is None or ctx.get(ready)):
            self.items.pop(0)
            self.cycles.append(cycle)
            self._offering = False


class Sink(Agent):
    """Takes items from a stream, and checks that an offer, if `fixed`, stays until it is taken.

    `got` lists them as plain values, `cycles` when each was taken; `open` may forbid taking.
    """

    def __init__(
        self,
        port: Any,
        *,
        chance: float = 1.0,
        random: Random,
        on_item: Callable[[Any], None] | None = None,
        fixed: bool = True,
    ) -> None:
        self.port = port
        self.chance = chance
        self.random = random
        self.on_item = on_item
        self.fixed = fixed
        self.open = True
        self.got: list[Any] = []
        self.cycles: list[int] = []
        self._ready = False
        self._waiting: Any = None

    def drive(self, ctx: Any, cycle: int) -> None:
        self._ready = self.open and self.random.random() < self.chance
        ctx.set(self.port.ready, int(self._ready))

    def sample(self, ctx: Any, cycle: int) -> None:
        valid = bool(ctx.get(self.port.valid))
        item = plain(ctx.get(self.port.p)) if valid else None
        if self.fixed and self._waiting is not None:
            assert valid, f"cycle {cycle}: an offer was withdrawn"
            assert item == self._waiting, f"cycle {cycle}: an offer changed"
        self._waiting = item if valid and not self._ready else None
        if valid and self._ready:
            self.got.append(item)
            self.cycles.append(cycle)
            if self.on_item is not None:
                self.on_item(item)


class Collector(Agent):
    """Takes every item of a flow; `got` lists them as plain values."""

    def __init__(self, port: Any) -> None:
        self.port = port
        self.got: list[Any] = []
        self.cycles: list[int] = []

    def sample(self, ctx: Any, cycle: int) -> None:
        if ctx.get(self.port.valid):
            self.got.append(plain(ctx.get(self.port.p)))
            self.cycles.append(cycle)


@dataclass(kw_only=True)
class Scenario:
    """A component, its agents, when they are done, and what must then hold.

    Attributes
    ----------
    dut : the component
    agents : in the order in which they act
    done : whether everything expected has happened
    check : raises AssertionError if something is wrong
    limit : cycles after which it is said to hang
    linger : cycles played after `done`, for what should not happen
    """

    dut: Any
    agents: Sequence[Agent]
    done: Callable[[], bool]
    check: Callable[[], None] = lambda: None
    limit: int = 5000
    linger: int = 12


async def play(scenario: Scenario, ctx: Any, tick: Callable[[], Any], settle: Any = None) -> None:
    """Play a scenario: `tick` awaits the next cycle, `settle` that outputs follow inputs."""
    left = scenario.linger
    for cycle in range(scenario.limit):
        for agent in scenario.agents:
            agent.drive(ctx, cycle)
        if settle is not None:
            await settle()
        for agent in scenario.agents:
            agent.sample(ctx, cycle)
        left -= scenario.done()
        if not left:
            scenario.check()
            return
        await tick()
    raise AssertionError(f"not done after {scenario.limit} cycles")


def run(scenario: Scenario) -> None:
    """Play a scenario in Amaranth's simulator."""

    async def bench(ctx: Any) -> None:
        await play(scenario, ctx, ctx.tick)

    simulator = Simulator(scenario.dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
