"""The ping-pong accumulators below the array, and their read-out for the STORE unit."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from tilewright.compiler.target import Target
from tilewright.hw.accumulator_column import AccumulatorColumn, sum_layout

__all__ = ["Accumulators", "drain_layout", "drained_layout"]


def drain_layout(target: Target) -> data.StructLayout:
    """A read request: accumulator address, first and last of a pooling window, and a tag."""
    return data.StructLayout(
        {"address": unsigned(ceil_log2(target.acc_depth)), "first": 1, "last": 1, "tag": 2}
    )


def drained_layout(target: Target) -> data.StructLayout:
    """What was read: the C accumulators, and the request's marks."""
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
    stream: one word of C accumulators for each request, two cycles later when not stalled. The
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
        request, drained = self.request, self.drained
        step = Signal()
        valid = Signal(2)
        marks = Signal(4)
        drained_marks = Signal(4)
        m.d.comb += [
            step.eq(drained.ready | ~valid[1]),
            request.ready.eq(step),
            drained.valid.eq(valid[1]),
        ]
        with m.If(step):
            m.d.sync += [
                valid.eq(Cat(request.valid, valid[0])),
                marks.eq(Cat(request.p.first, request.p.last, request.p.tag)),
                drained_marks.eq(marks),
            ]
        m.d.comb += Cat(drained.p.first, drained.p.last, drained.p.tag).eq(drained_marks)
        control = self.control
        for c in range(self._target.cols):
            m.submodules[f"column_{c}"] = column = AccumulatorColumn(self._target)
            m.d.comb += [
                column.control_in.eq(control),
                column.psum.eq(self.psums[c]),
                column.drain_half.eq(self.drain_half),
                column.drain_active.eq(request.valid | valid.any()),
                column.drain_address.eq(request.p.address),
                column.drain_step.eq(step),
                drained.p.accs[c].eq(column.drained),
            ]
            if (c + 1) % self._target.columns_per_cell == 0:
                control = column.control_out
        return m
