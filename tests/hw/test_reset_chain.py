# amaranth: UnusedElaboratable=no
"""The reset of many units, one after the other."""

from typing import Any

import pytest
from amaranth.hdl import Fragment, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from amaranth.sim import Simulator

from tilewright.hw.reset_chain import ResetChain


class Counter(wiring.Component):
    """Counts cycles since its reset."""

    count: Out(8)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.sync += self.count.eq(self.count + 1)
        return m


def test_each_unit_is_reset_a_cycle_after_the_one_before_for_as_long_as_the_reset_lasts() -> None:
    m, reset = Module(), Signal(init=1)
    chain = ResetChain(m, reset, most=3)
    units = [chain.add(f"unit_{n}", Counter()) for n in range(3)]

    async def bench(ctx: Any) -> None:
        seen = []
        for cycle in range(30):
            ctx.set(reset, int(cycle < 5 or 20 <= cycle < 25))
            seen.append([ctx.get(unit.count) for unit in units])
            await ctx.tick()
        # Unit n leaves its first reset in cycle 6 + n, and is in the next one from 22 + n on.
        for n in range(3):
            counts = [counts[n] for counts in seen]
            assert counts[: 7 + n] == [0] * (7 + n)
            assert counts[7 + n : 22 + n] == list(range(1, 16))
            assert counts[22 + n : 27 + n] == [0] * min(5, len(counts) - 22 - n)

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_more_units_than_the_reset_is_long_are_refused() -> None:
    m = Module()
    chain = ResetChain(m, Signal(), most=1)
    chain.add("first", Counter())
    with pytest.raises(ValueError, match="too short to reach 'second'"):
        chain.add("second", Counter())
    Fragment.get(m, None)  # Amaranth warns of modules that nobody used
