"""The ping-pong accumulators below the array, and their read-out for the STORE unit."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from tilewright.compiler.target import Target
from tilewright.hw.accumulator_column import AccumulatorColumn, sum_layout
from tilewright.hw.flow import flow, registered

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
    column 0. The same address may come again after Target.accumulate_latency cycles. Reading out never
    stops: one word of C accumulators for each request, Target.drain_latency cycles later. Its column
    group g holds what group ``(g + distance) mod bank_groups`` has read. The dependency tokens keep
    the two on different halves.

    Members
    -------
    control : ``In(sum_layout(target))``
        For column 0, Target.control_lead cycles ahead of ``psums[0]``.
    psums : ``In(ArrayLayout(signed(psum_bits), C))``
        From the array.
    drain_half : ``In(1)``
        Half that requests read; constant while requests are under way, with short stages from
        NEIGHBOURHOODS cycles before, in which it passes from columns to the next.
    request : ``In(flow of drain_layout(target))``
        Reads.
    drained : ``Out(flow of {accs, first, last, tag})``
        The C accumulators, with the request's window marks.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        super().__init__(
            {
                "control": In(sum_layout(target)),
                "psums": In(data.ArrayLayout(signed(target.psum_bits), target.cols)),
                "drain_half": In(1),
                "request": In(flow(drain_layout(target))),
                "drained": Out(flow(drained_layout(target))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        drained, request = self.drained, self.request
        target = self._target
        valid = Signal(target.drain_latency)
        m.d.sync += valid.eq(Cat(request.valid, valid[:-1]))
        m.d.comb += drained.valid.eq(valid[-1])
        marks = Cat(request.p.first, request.p.last, request.p.tag)
        distance: Value = request.p.distance
        for stage in range(target.drain_latency):
            marks = registered(m, marks, f"marks_{stage}")
        for stage in range(target.drain_latency - 1):
            distance = registered(m, distance, f"distance_{stage}")
        m.d.comb += Cat(drained.p.first, drained.p.last, drained.p.tag).eq(marks)
        control = self.control
        drain_half: Value = self.drain_half
        columns = []
        for c in range(target.cols):
            if target.short_stages and c % target.neighbours == 0:
                drain_half = registered(m, drain_half, f"drain_half_{c}")
            m.submodules[f"column_{c}"] = column = AccumulatorColumn(target)
            m.d.comb += [
                column.control_in.eq(control),
                column.psum.eq(self.psums[c]),
                column.drain_half.eq(drain_half),
                column.drain_active.eq(request.valid),
                column.drain_address.eq(request.p.addresses[c * target.bank_groups // target.cols]),
            ]
            columns.append(column.drained)
            if (c + 1) % target.columns_per_cell == 0:
                control = column.control_out
        accs = Cat(columns)
        if target.packs:
            accs = registered(m, self._rotated(accs, distance), "accs")
        m.d.comb += drained.p.accs.eq(accs)
        return m

    def _rotated(self, accs: Value, distance: Value) -> Value:
        """Column groups, each from `distance` groups on."""
        groups = self._target.bank_groups
        parts: list[Value] = [accs.word_select(g, len(accs) // groups) for g in range(groups)]
        for level, bit in enumerate(distance):
            parts = [
                Mux(bit, parts[(g + (1 << level)) % groups], part) for g, part in enumerate(parts)
            ]
        return Cat(parts)
