"""The ping-pong accumulators of one column."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from tilewright.compiler.target import Target

__all__ = ["AccumulatorColumn", "sum_layout"]


def sum_layout(target: Target) -> data.StructLayout:
    """What happens to a column's sum: valid, accumulator address, half, overwrite, shift."""
    return data.StructLayout(
        {
            "valid": 1,
            "address": unsigned(ceil_log2(target.acc_depth)),
            "half": 1,
            "first": 1,
            "shift": 1,
        }
    )


class AccumulatorColumn(wiring.Component):
    """Two halves of acc_depth accumulators for one column.

    Members
    -------
    control_in, control_out : sum_layout
        Target.control_lead cycles ahead of `psum`; passed to the next column one cycle later.
    psum : ``In(signed(psum_bits))``
        The column's sum; with `shift` it counts 2**sum_shift times, modulo the accumulator.
    drain_half, drain_active, drain_address : ``In``
        What STORE reads, and whether it reads at all.
    drained : ``Out(signed(acc_bits))``
        Three cycles after its address, without bursts two; two more with short stages.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        super().__init__(
            {
                "control_in": In(sum_layout(target)),
                "control_out": Out(sum_layout(target)),
                "psum": In(signed(target.psum_bits)),
                "drain_half": In(1),
                "drain_active": In(1),
                "drain_address": In(ceil_log2(target.acc_depth)),
                "drained": Out(signed(target.acc_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        target = self._target
        stages = [self.control_in]
        short = target.short_stages
        names = ("address", "read", "held", "add", "write") if short else ("read", "add", "write")
        for name in names:
            later = Signal(sum_layout(target), name=f"control_{name}", reset_less=True)
            valid = Signal(name=f"valid_{name}")
            m.d.sync += [later.eq(stages[-1]), valid.eq(stages[-1].valid)]
            stage = Signal(sum_layout(target), name=f"stage_{name}")
            m.d.comb += [stage.eq(later), stage.valid.eq(valid)]
            stages.append(stage)
        m.d.comb += self.control_out.eq(stages[1])
        summed = stages[target.control_lead]  # its sum stands at `psum`
        found, write = stages[-3 if short else -2], stages[-1]  # what it is added to is `held`

        shifted = Signal(signed(target.acc_bits), reset_less=True)
        with m.If(summed.shift):
            m.d.sync += shifted.eq(self.psum << target.sum_shift)
        with m.Else():
            m.d.sync += shifted.eq(self.psum)
        total = Signal(signed(target.acc_bits), reset_less=True)
        held = []
        for half in range(2):
            memory = Memory(shape=signed(target.acc_bits), depth=target.acc_depth, init=[])
            m.submodules[f"half_{half}"] = memory
            read_port, write_port = memory.read_port(), memory.write_port()
            asked = self._asked(m, half)
            value = Signal(signed(target.acc_bits), name=f"value_{half}", reset_less=True)
            m.d.comb += [
                read_port.addr.eq(asked),
                write_port.en.eq(write.valid & (write.half == half)),
                write_port.addr.eq(write.address),
                write_port.data.eq(total),
            ]
            m.d.sync += value.eq(read_port.data)
            held.append(value)
        previous: Value = Mux(found.first, 0, Mux(found.half, held[1], held[0]))
        if short:
            addend = Signal(signed(target.acc_bits), reset_less=True)
            m.d.sync += addend.eq(previous)
            previous = addend
        m.d.sync += total.eq(previous + shifted)
        drained = Mux(self.drain_half, held[1], held[0])
        if target.bursts:  # small parts do without, see Target.drain_latency
            later = Signal(signed(target.acc_bits), name="drained_later", reset_less=True)
            m.d.sync += later.eq(drained)
            drained = later
        m.d.comb += self.drained.eq(drained)
        return m

    def _asked(self, m: Module, half: int) -> Value:
        """Where a half is read: what STORE asks for, or what is added to."""
        draining = Signal(name=f"draining_{half}")
        drains = self.drain_active & (self.drain_half == half)
        if not self._target.short_stages:
            m.d.comb += draining.eq(drains)
            return Mux(draining, self.drain_address, self.control_in.address)
        drain_address = Signal.like(self.drain_address, name=f"drain_{half}", reset_less=True)
        address = Signal.like(drain_address, name=f"address_{half}", reset_less=True)
        m.d.sync += [
            draining.eq(drains),
            drain_address.eq(self.drain_address),
            address.eq(Mux(draining, drain_address, self.control_in.address)),
        ]
        return address
