"""Each STORE's parameter records, fetched ahead."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tilewright.compiler.isa import PARAM_BYTES
from tilewright.compiler.target import Target
from tilewright.hw.hls import Input, combinational, trace
from tilewright.hw.postprocess import limits, parameter_layout
from tilewright.quant import numerics

__all__ = ["ParameterLoader"]

_RECORD = data.StructLayout({"bias": signed(48), "shift": unsigned(6), "reserved": unsigned(10)})


class ParameterLoader(wiring.Component):
    """Takes each STORE's parameter records and holds them until the next STORE starts.

    A beat a cycle, if the bus delivers. Records of several beats are joined, and then all columns'
    parameters move on by as many columns as there are records in a beat: nothing is selected.
    `numerics.prepare` is computed once, on the way in.

    Members
    -------
    beats : ``In(stream of beats)``
        From the unit's reader.
    start : ``In(1)``
        Take the next C records.
    done : ``Out(1)``
        The last record is being taken.
    o : ``Out(ArrayLayout(parameter_layout(target), C))``
        Of each column.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        super().__init__(
            {
                "beats": In(stream.Signature(8 * target.bus_bytes)),
                "start": In(1),
                "done": Out(1),
                "o": Out(data.ArrayLayout(parameter_layout(target), target.cols)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        target = self._target
        beats = -(-target.cols * PARAM_BYTES // target.bus_bytes)
        split = max(PARAM_BYTES // target.bus_bytes, 1)  # beats of a record
        left = Signal(range(beats + 1))
        taken = self.beats.valid & self.beats.ready
        arrived = Signal()  # whole records are there
        m.d.comb += self.beats.ready.eq(left != 0)
        m.d.sync += arrived.eq(taken & ((left - 1) % split == 0))
        done = taken & (left == 1)
        if target.short_stages:  # records are prepared in a cycle of their own
            before = Signal()
            m.d.sync += before.eq(done)
            done = before
        m.d.sync += self.done.eq(done)
        with m.If(self.start):
            m.d.sync += left.eq(beats)
        with m.If(taken):
            m.d.sync += left.eq(left - 1)

        width = 8 * max(target.bus_bytes, PARAM_BYTES)
        joined = Signal(width, reset_less=True)
        if split == 1:
            with m.If(taken):
                m.d.sync += joined.eq(self.beats.p)
        for part in range(split if split > 1 else 0):  # what no column needs takes no register
            with m.If(taken & ((left - 1) % split == split - 1 - part)):
                m.d.sync += joined.word_select(part, 8 * target.bus_bytes).eq(self.beats.p)
        raw = [joined.word_select(n, 8 * PARAM_BYTES) for n in range(width // (8 * PARAM_BYTES))]
        if target.short_stages:
            later = Signal()
            m.d.sync += later.eq(arrived)
            arrived, records = later, [self._prepared_later(m, one) for one in raw]
        else:
            records = [self._prepared(m, one) for one in raw]
        # From the last column on, so that the first record ends in column 0. Where a beat holds
        # more records than there are columns left, they pass places without a column.
        places: list[Any] = [
            Signal(parameter_layout(target), name=f"place_{n}", reset_less=True)
            for n in range(target.cols + -target.cols % len(records))
        ]
        m.d.comb += [out.eq(place) for out, place in zip(self.o, places, strict=False)]
        with m.If(arrived):
            for place, later in zip(places, [*places[len(records) :], *records], strict=True):
                m.d.sync += place.eq(later)
        return m

    def _prepared(self, m: Module, raw: Value) -> Signal:
        """What the post-processing takes of a record."""
        target = self._target
        record = data.View(_RECORD, raw)
        prepared = Signal(parameter_layout(target))
        values = {"bias": record.bias[: target.acc_bits].as_signed(), "biased_shift": record.shift}
        inputs = {"bias": Input.of(signed(target.acc_bits)), "biased_shift": Input(0, 63)}
        for index, member in enumerate((prepared.bias, prepared.shift)):
            datapath = trace(
                lambda bias, biased_shift, at=index: numerics.prepare(
                    bias, biased_shift, **limits(target)
                )[at],
                inputs,
            )
            m.d.comb += member.eq(combinational(m, datapath, values))
        return prepared

    def _prepared_later(self, m: Module, raw: Value) -> Signal:
        """The same a cycle later, by an addition whose operands are in registers."""
        target = self._target
        record = data.View(_RECORD, raw)
        prepared = Signal(parameter_layout(target))
        bias = Signal(signed(target.acc_bits), reset_less=True)
        half = Signal(unsigned(target.acc_bits), reset_less=True)
        shift = Signal.like(prepared.shift, reset_less=True)
        for index, register in enumerate((half, shift)):
            datapath = trace(
                lambda biased_shift, at=index: numerics.rounding(biased_shift, **limits(target))[
                    at
                ],
                {"biased_shift": Input(0, 63)},
            )
            m.d.sync += register.eq(combinational(m, datapath, {"biased_shift": record.shift}))
        m.d.sync += bias.eq(record.bias)
        m.d.comb += [prepared.bias.eq(bias + half), prepared.shift.eq(shift)]
        return prepared
