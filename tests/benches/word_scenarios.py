"""Scenarios of what steers the units: instructions and parameter records."""

from __future__ import annotations

from random import Random
from typing import Any

from bus_scenarios import CHANCES
from buses import Port, transferred
from feed_scenarios import BUSES, as_store, latency
from streams import Drive, Scenario, Sink, Source, Watch

from tilewright.compiler.isa import FIELDS, Opcode, encode
from tilewright.compiler.legal import RULES, Rule, bound, broken_rule
from tilewright.compiler.target import Target
from tilewright.hw.fetch import FetchUnit
from tilewright.hw.parameter_loader import ParameterLoader
from tilewright.hw.postprocess import limits
from tilewright.quant import numerics

__all__ = ["fetch", "parameters", "refusal"]


def random_fields(random: Random, opcode: Opcode) -> dict[str, int]:
    """Any values for the fields of an instruction."""
    fields = {
        f.name: random.getrandbits(f.bits) - (f.signed << (f.bits - 1)) for f in FIELDS[opcode]
    }
    return fields | {"opcode": int(opcode)}


def legal_fields(random: Random, opcode: Opcode, target: Target) -> dict[str, int]:
    """Any values that break no rule."""
    while True:
        fields = random_fields(random, opcode)
        for rule in RULES:
            if rule.opcode is opcode:
                _keep(random, rule, fields, target)
        if broken_rule(encoded(fields), target) is None:
            return fields


def _keep(random: Random, rule: Rule, fields: dict[str, int], target: Target) -> None:
    """Change the rule's fields so that it holds."""
    most = bound(rule, target)
    *others, last = rule.fields
    if rule.aligned:
        fields[last] -= fields[last] % target.bus_bytes
    elif most is not None:
        for name in others:
            fields[name] = random.randrange(most)
        fields[last] = random.randint(0, most)


def encoded(fields: dict[str, int]) -> bytes:
    """An instruction whose `opcode` is among its fields."""
    values = {name: value for name, value in fields.items() if name != "opcode"}
    return encode(Opcode(fields["opcode"]), **values)


def refusal(seed: int) -> Scenario:
    """The first instruction that breaks a rule is refused, named by its number and the rule's code.

    Which rule that is says the table; the instructions are legal ones with a few bits changed.
    """
    random = Random(seed)
    target = Target(
        bus_bytes=random.choice(BUSES),
        burst_beats=1,
        rows=random.choice((2, 7, 16)),
        cols=random.choice((2, 5, 16)),
        acc_depth=random.choice((16, 100, 512)),
        act_depth=random.choice((64, 1000)),
        leaky=random.random() < 0.5,
    )
    dut = FetchUnit(target)
    program: list[bytes] = []
    wanted: tuple[int, int] | None = None
    while wanted is None:
        fields = legal_fields(random, random.choice(list(Opcode)), target)
        if random.random() < 0.3:
            _damage(random, fields)
        data = encoded(fields)
        if random.random() < 0.02:
            data = bytes((data[0] | 15,)) + data[1:]
        found = broken_rule(data, target)
        if found is not None:
            wanted = (found[0], len(program))
        program.append(data)
    program += [encode(Opcode.FINISH)] * random.randrange(3)
    port = Port(
        dut.transfer,
        dut.beats,
        b"".join(program),
        target.bus_bytes,
        random=random,
        chance=random.choice(CHANCES),
        latency=latency(random),
    )
    sinks = [
        Sink(getattr(dut, name), chance=random.choice(CHANCES), random=random, fixed=False)
        for name in ("load", "weights", "calc", "store")
    ]
    told: list[tuple[int, int]] = []

    def start(ctx: Any, cycle: int) -> None:
        ctx.set(dut.start, int(cycle == 2))
        ctx.set(dut.count, len(program))

    def watch(ctx: Any, cycle: int) -> None:
        if ctx.get(dut.illegal):
            told.append((ctx.get(dut.reason), ctx.get(dut.number)))

    def check() -> None:
        assert set(told[1:]) == {wanted}, "the reason comes a cycle later"
        taken = sum(len(sink.got) for sink in sinks)
        assert taken <= wanted[1] + 2, "at most two are on their way when it is told"

    return Scenario(
        dut=dut,
        agents=[Drive(start), port, *sinks, Watch(watch)],
        done=lambda: bool(told),
        check=check,
        limit=40000 + 500 * len(program),
        linger=20,
    )


def _damage(random: Random, fields: dict[str, int]) -> None:
    """Give a field or two any value, often 0 or the largest."""
    for field in random.sample(FIELDS[Opcode(fields["opcode"])][1:], k=min(2, len(fields) - 1)):
        low = -(1 << (field.bits - 1)) if field.signed else 0
        high = low + (1 << field.bits) - 1
        fields[field.name] = random.choice((0, low, high, random.randint(low, high)))


def fetch(seed: int) -> Scenario:
    """A program's instructions reach the units that their opcodes name, in order."""
    random = Random(seed)
    target = Target(bus_bytes=random.choice(BUSES), burst_beats=1)
    dut = FetchUnit(target)
    routes = {
        Opcode.LOAD: "load",
        Opcode.WEIGHTS: "weights",
        Opcode.CALC: "calc",
        **dict.fromkeys((Opcode.STORE, Opcode.STAMP, Opcode.FINISH), "store"),
    }
    address = 4096 * random.randrange(3)
    memory = bytes(address)
    expected: dict[str, list[Any]] = {name: [] for name in routes.values()}
    count = random.randint(1, 20)
    for _ in range(count):
        opcode = random.choice(list(routes))
        fields = legal_fields(random, opcode, target)
        name = routes[opcode]
        data = encoded(fields)
        memory += data
        expected[name].append(as_store(fields) if name == "store" else fields)
    port = Port(
        dut.transfer,
        dut.beats,
        memory,
        target.bus_bytes,
        random=random,
        chance=random.choice(CHANCES),
        latency=latency(random),
    )
    sinks = {
        name: Sink(getattr(dut, name), chance=random.choice(CHANCES), random=random)
        for name in expected
    }

    def start(ctx: Any, cycle: int) -> None:
        ctx.set(dut.start, int(cycle == 2))
        ctx.set(dut.address, address)
        ctx.set(dut.count, count)

    def watch(ctx: Any, cycle: int) -> None:
        assert not ctx.get(dut.illegal)

    def check() -> None:
        assert transferred(port.transfers.got) == [(address, count * 64 // target.bus_bytes)]
        for name, sink in sinks.items():
            assert sink.got == expected[name]

    return Scenario(
        dut=dut,
        agents=[Drive(start), port, *sinks.values(), Watch(watch)],
        done=lambda: sum(len(sink.got) for sink in sinks.values()) >= count,
        check=check,
        limit=40000,
    )


def parameters(seed: int) -> Scenario:
    """Each start takes the next C records, whatever the bus; they hold until the next start."""
    random = Random(seed)
    target = Target(
        cols=random.randint(1, 9),
        acc_bits=random.randint(24, 48),
        bus_bytes=random.choice(BUSES),
        burst_beats=1,
        edge_registers=random.choice((0, 2)),
    )
    dut = ParameterLoader(target)
    bus, groups = target.bus_bytes, 4
    top = 1 << (target.acc_bits - 1)
    expected, beats = [], []
    for _ in range(groups):
        records = [(random.randrange(-top, top), random.randrange(64)) for _ in range(target.cols)]
        expected.append([numerics.prepare(*record, **limits(target)) for record in records])
        data = b"".join(
            (bias & ((1 << 48) - 1)).to_bytes(6, "little") + bytes((shift, 0))
            for bias, shift in records
        )
        data += random.randbytes(-len(data) % bus)
        beats += [int.from_bytes(data[at : at + bus], "little") for at in range(0, len(data), bus)]
    source = Source(dut.beats, beats, chance=random.choice(CHANCES), random=random)
    seen: list[Any] = []
    state = {"next": 0, "busy": False, "read": False}

    def start(ctx: Any, cycle: int) -> None:
        go = not state["busy"] and not state["read"] and state["next"] < groups
        go = go and random.random() < 0.3
        ctx.set(dut.start, int(go))
        if go:
            state["busy"] = True
            state["next"] += 1

    def watch(ctx: Any, cycle: int) -> None:
        if state["read"]:
            seen.append(
                [(ctx.get(dut.o[c].bias), ctx.get(dut.o[c].shift)) for c in range(target.cols)]
            )
            state["read"] = False
        if state["busy"] and ctx.get(dut.done):
            state["busy"], state["read"] = False, True

    def check() -> None:
        assert seen == expected
        assert not source.items

    return Scenario(
        dut=dut,
        agents=[Drive(start), source, Watch(watch)],
        done=lambda: len(seen) >= groups,
        check=check,
        limit=20000,
    )
