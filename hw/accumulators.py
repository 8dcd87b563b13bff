"""The ping-pong accumulators below the array, and their read-out for the STORE unit."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from tilewright.compiler.target import Target
from tilewright.hw.accumulator_column import AccumulatorColumn, sum_layout
from tilewright.hw.stream_buffer import StreamBuffer

__all__ = ["Accumulators", "drain_layout", "drained_layout"]


def drain_layout(target: Target) -> data.StructLayout:
    """A read request: addresses, first and last of a pooling window, a tag, and a rotation.

    Columns form bank_groups groups, each of which reads at its own address.
    """
    address = unsigned(ceil_log2(target.acc_depth))
    groups = target.bank_groups
    return data.StructLayout(
        {
            "addresses": data.ArrayLayout(address, groups),
            "first": 1,
            "last": 1,
            "tag": 2,
            "distance": unsigned(ceil_log2(groups)),
        }
    )


def drained_layout(target: Target) -> data.StructLayout:
    """What was read: C accumulators, and the request's marks."""
    return data.StructLayout(
        {
            "accs": data.ArrayLayout(signed(target.acc_bits), target.cols),
            "first": 1,
            "last": 1,
            "tag": 2,
        }
    )


class Accumulators(wiring.Component):
    """C accumulator columns of two halves each.

    Accumulating takes one pixel a cycle without handshake; column c does everything c cycles after
    column 0. The same address may come again after ACCUMULATE_LATENCY cycles. Reading out is a
    stream: one word of C accumulators for each request, Target.drain_latency cycles later when not
    stalled. Its column group g holds what group ``(g + distance) mod bank_groups`` has read. The
    dependency tokens keep the two on different halves.

    Members
    -------
    control : ``In(sum_layout(target))``
        For column 0, one cycle ahead of ``psums[0]``.
    psums : ``In(ArrayLayout(signed(psum_bits), C))``
        From the array.
    drain_half : ``In(1)``
        Half that requests read; constant while requests are under way.
    request : ``In(stream of drain_layout(target))``
        Reads.
    drained : ``Out(stream of {accs, first, last, tag})``
        The C accumulators, with the request's window marks.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        super().__init__(
            {
                "control": In(sum_layout(target)),
                "psums": In(data.ArrayLayout(signed(target.psum_bits), target.cols)),
                "drain_half": In(1),
                "request": In(stream.Signature(drain_layout(target))),
                "drained": Out(stream.Signature(drained_layout(target))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        drained = self.drained
        target = self._target
        request = self._request(m)
        step = Signal()
        latency = target.drain_latency - (target.edge_registers > 0)  # behind the buffer
        valid = Signal(latency)
        m.d.comb += [
            step.eq(drained.ready | ~valid[-1]),
            request.ready.eq(step),
            drained.valid.eq(valid[-1]),
        ]
        with m.If(step):
            m.d.sync += valid.eq(Cat(request.valid, valid[:-1]))
        marks = Cat(request.p.first, request.p.last, request.p.tag)
        distance: Value = request.p.distance
        for stage in range(latency):
            marks = _later(m, step, marks, f"marks_{stage}")
        for stage in range(latency - 1):
            distance = _later(m, step, distance, f"distance_{stage}")
        m.d.comb += Cat(drained.p.first, drained.p.last, drained.p.tag).eq(marks)
        control = self.control
        columns = []
        for c in range(target.cols):
            m.submodules[f"column_{c}"] = column = AccumulatorColumn(target)
            m.d.comb += [
                column.control_in.eq(control),
                column.psum.eq(self.psums[c]),
                column.drain_half.eq(self.drain_half),
                column.drain_active.eq(request.valid | valid.any()),
                column.drain_address.eq(request.p.addresses[c * target.bank_groups // target.cols]),
                column.drain_step.eq(step),
            ]
            columns.append(column.drained)
            if (c + 1) % target.columns_per_cell == 0:
                control = column.control_out
        accs = Cat(columns)
        if target.packs:
            accs = _later(m, step, self._rotated(accs, distance), "accs")
        m.d.comb += drained.p.accs.eq(accs)
        return m

    def _request(self, m: Module) -> Any:
        """The stream of requests, behind a buffer if it comes from afar."""
        if not self._target.edge_registers:
            return self.request
        m.submodules.buffer = buffer = StreamBuffer(drain_layout(self._target))
        wiring.connect(m, wiring.flipped(self.request), buffer.i)
        return buffer.o

    def _rotated(self, accs: Value, distance: Value) -> Value:
        """Column groups, each from `distance` groups on."""
        groups = self._target.bank_groups
        parts: list[Value] = [accs.word_select(g, len(accs) // groups) for g in range(groups)]
        for level, bit in enumerate(distance):
            parts = [
                Mux(bit, parts[(g + (1 << level)) % groups], part) for g, part in enumerate(parts)
            ]
        return Cat(parts)


def _later(m: Module, step: Signal, value: Value, name: str) -> Signal:
    """A value, one step later."""
    register = Signal(len(value), name=name, reset_less=True)
    with m.If(step):
        m.d.sync += register.eq(value)
    return register
