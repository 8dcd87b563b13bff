"""Scenarios of the accumulators."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Any

from array_scenarios import edge_or_random, small_target
from streams import Collector, Drive, Scenario, Source

from tilewright.compiler.microarchitecture import NEIGHBOURHOODS
from tilewright.compiler.target import Target
from tilewright.hw.accumulators import Accumulators

__all__ = ["accumulators"]


@dataclass
class Pass:
    """Accumulators of one half written in one go: address, overwrite, shift, the columns' sums."""

    half: int
    items: list[tuple[int, bool, bool, list[int]]]


def packing_target(random: Random) -> Target:
    """A small array, often one that can pack pixels."""
    target = small_target(random)
    side = random.choice((target.rows, 4, 8, 12))
    if side == target.rows:
        return target
    wide = max(target.acc_bits, target.act_bits + target.weight_bits + 4)
    packs = random.choice((1, 4, 8))
    return replace(target, rows=side, cols=side, acc_bits=wide, pack_pixels=packs)


def random_passes(random: Random, target: Target, count: int) -> list[Pass]:
    """Passes over alternating halves; an address comes again after the latency at the earliest."""
    passes = []
    for number in range(count):
        pixels = random.randint(1, target.acc_depth)
        base = random.randrange(target.acc_depth - pixels + 1)
        items: list[tuple[int, bool, bool, list[int]]] = []
        for tile in range(random.randint(1, 3)):
            shift = random.random() < 0.5
            for n in range(max(pixels, target.accumulate_latency)):
                if n < pixels:
                    sums = [edge_or_random(random, target.psum_bits) for _ in range(target.cols)]
                    items.append((base + n, tile == 0, shift, sums))
                else:
                    items.append((-1, False, False, []))
        passes.append(Pass(half=number % 2, items=items))
    return passes


def accumulators(seed: int) -> Scenario:
    """While one half accumulates, the other is read out, with any pauses, and gives its sums."""
    random = Random(seed)
    target = packing_target(random)
    dut = Accumulators(target)
    groups, cols = target.bank_groups, target.cols

    def rotated(state: Any, half: int, request: Any) -> list[int]:
        addresses = [request["addresses"][c * groups // cols] for c in range(cols)]
        read = [state[half][address][c] for c, address in enumerate(addresses)]
        turn = request["distance"] * cols // groups
        return read[turn:] + read[:turn]

    passes = random_passes(random, target, 4)
    wrap = 1 << target.acc_bits
    # cycle: half, address, first, shift, sums
    plan: dict[int, tuple[int, int, bool, bool, list[int]]] = {}
    state = [[[0] * target.cols for _ in range(target.acc_depth)] for _ in range(2)]
    drains: list[tuple[int, int, list[dict[str, Any]], list[list[int]]]] = []
    at = 0
    for item in passes:
        begin = at
        for address, first, shift, sums in item.items:
            if address >= 0:
                plan[at] = (item.half, address, first, shift, sums)
                old = state[item.half][address]
                kept = [0 if first else value for value in old]
                factor = 1 << (target.sum_shift if shift else 0)
                state[item.half][address] = [
                    (a + b * factor + wrap // 2) % wrap - wrap // 2
                    for a, b in zip(kept, sums, strict=True)
                ]
            at += 1 if random.random() < 0.8 or address < 0 else 2
        at += target.cols + target.accumulate_latency + target.control_lead - 1
        written = sorted({address for address, *_ in item.items if address >= 0})
        reads = [
            [random.choice(written) for _ in range(groups)] for _ in range(random.randint(1, 20))
        ]
        requests = [
            {
                "addresses": addresses,
                "distance": random.randrange(groups),
                "first": random.randrange(2),
                "last": random.randrange(2),
                "tag": random.randrange(4),
            }
            for addresses in reads
        ]
        drains.append((at, item.half, requests, [rotated(state, item.half, r) for r in requests]))
        # The next pass goes to the other half; the one after waits for this drain.
        if item.half:
            at = max(at, begin) + 14 * 20
    source = Source(dut.request, chance=random.choice((0.4, 1.0)), random=random)
    sink = Collector(dut.drained)
    wanted = [
        {"accs": accs, "first": r["first"], "last": r["last"], "tag": r["tag"]}
        for _, _, requests, values in drains
        for r, accs in zip(requests, values, strict=True)
    ]
    waiting = list(drains)
    upcoming: list[tuple[int, dict[str, Any]]] = []
    idle = {"valid": 0, "address": 0, "half": 0, "first": 0, "shift": 0}
    given = [0]

    def drive(ctx: Any, cycle: int) -> None:
        half, address, first, shift, _ = plan.get(cycle, (0, 0, False, False, []))
        active = cycle in plan
        fields = {"valid": 1, "address": address, "half": half}
        fields |= {"first": int(first), "shift": int(shift)}
        ctx.set(dut.control, fields if active else idle)
        junk = edge_or_random(random, target.psum_bits)
        earlier = [plan.get(cycle - target.control_lead - c) for c in range(target.cols)]
        ctx.set(dut.psums, [item[4][c] if item else junk for c, item in enumerate(earlier)])
        if waiting and cycle >= waiting[0][0] and len(sink.got) == given[0]:
            _, half, requests, _ = waiting.pop(0)
            ctx.set(dut.drain_half, half)
            upcoming.extend((cycle + NEIGHBOURHOODS, request) for request in requests)
            given[0] += len(requests)
        while upcoming and cycle >= upcoming[0][0]:
            source.items.append(upcoming.pop(0)[1])

    def check() -> None:
        assert sink.got == wanted

    return Scenario(
        dut=dut,
        agents=[Drive(drive), source, sink],
        done=lambda: not waiting and len(sink.got) >= len(wanted),
        check=check,
    )
