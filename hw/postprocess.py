"""From accumulators to stored values: numerics.finish for every lane, pipelined."""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth import Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from tilewright.compiler.activations import resolve
from tilewright.compiler.target import Target
from tilewright.graph.functions import Function
from tilewright.hw.flow import flow, registered
from tilewright.hw.hls import Datapath, Input, PipelineCore, schedule, trace
from tilewright.quant import numerics
from tilewright.quant.numerics import LEAKY_BITS, SHIFT_BIAS, SHIFT_MAX

__all__ = ["PostProcess", "limits", "parameter_layout", "period", "postprocess_datapath"]

PERIOD_NS, SHORT_PERIOD_NS, SHORTEST_PERIOD_NS = 15.86, 10.91, 5.5
"""Clock period for which registers are placed, without and with edge registers, and with short
stages: 63, 92 and 182 MHz. The last is for 130, as inputs that are held cross the die, too."""
FUNCTION_PERIOD_NS = 10.0
"""... with registered activations, whatever the edges have: 100 MHz."""

_LEAKY_INPUTS = {"leaky": 1, "slope_multiplier": 8, "slope_shift": 5}


def period(target: Target) -> float:
    """Clock period in nanoseconds for which the post-processing's registers are placed."""
    if target.activations:
        return FUNCTION_PERIOD_NS
    if target.short_stages:
        return SHORTEST_PERIOD_NS
    return SHORT_PERIOD_NS if target.edge_registers else PERIOD_NS


def limits(target: Target) -> dict[str, int]:
    """`left` and `right` of `numerics.prepare`: the least that change nothing on this target.

    A value other than 0 saturates when it goes to the left by one bit less than it is saturated to.
    The compiler proves that accumulators with their bias fit in acc_bits. (What it takes from a bias
    for an unsigned output is out of proportion only to shifts that such an output cannot have.)
    """
    widths = [target.act_bits, *(resolve(entry).bits for entry in target.activations)]
    saturated = max(widths + [LEAKY_BITS] * target.leaky)
    return {"left": min(saturated - 1, SHIFT_BIAS), "right": min(target.acc_bits, SHIFT_MAX)}


def parameter_layout(target: Target) -> data.StructLayout:
    """What `numerics.prepare` gives for one column."""
    bias, shift = signed(target.acc_bits + 1), range(sum(limits(target).values()) + 1)
    return data.StructLayout({"bias": bias, "shift": shift})


def postprocess_datapath(target: Target) -> Datapath:
    """One lane of `numerics.finish`, traced for the target's widths.

    All inputs but `acc` are held constant. Without `leaky`, its three inputs do not exist, without
    `activations` their two.
    """
    shifts = limits(target)
    held = {
        "rounded_bias": Input.of(signed(target.acc_bits + 1), constant=True),
        "shift": Input(0, sum(shifts.values()), constant=True),
        "lo": Input.of(signed(target.act_bits), constant=True),
        "hi": Input.of(signed(target.act_bits), constant=True),
    }
    slope: dict[str, Any] = {"leaky": False, "slope_multiplier": 0, "slope_shift": 1}
    if target.leaky:
        slope = {}
        held["leaky"] = Input(0, 1, constant=True)
        held["slope_multiplier"] = Input(0, 255, constant=True)
        held["slope_shift"] = Input(1, 31, constant=True)
    functions = [resolve(entry) for entry in target.activations]
    if functions:
        held["function"] = Input(0, len(functions), constant=True)
        held["function_shift"] = Input(0, SHIFT_BIAS + SHIFT_MAX, constant=True)
    second = {
        "left": min(target.act_bits - 1, SHIFT_BIAS),
        "right": max((_result_bits(f) for f in functions), default=1),
    }
    inputs = {"acc": Input.of(signed(target.acc_bits)), **held}
    return trace(
        numerics.finish,
        inputs,
        left=shifts["left"],
        functions=functions,
        limits=second,
        **slope,
    )


def _result_bits(function: Function) -> int:
    return int(np.abs(function.table).max()).bit_length() + 1


class PostProcess(wiring.Component):
    """Bias, requantize, activation, clip: one pixel of C lanes a cycle, after `latency` cycles.

    Nothing stops it. Everything but the flows must be constant from the first pixel's entry until the
    last one's result; with short stages, where what all lanes share passes from one of
    NEIGHBOURHOODS to the next, from as many cycles before.

    Parameters
    ----------
    target : gives cols (C), acc_bits, act_bits and leaky
    tag_width : bits that travel with a pixel

    Members
    -------
    i : ``In(stream {accs: ArrayLayout(signed(acc_bits), C), tag: tag_width})``
    o : ``Out(stream {lanes: ArrayLayout(signed(act_bits), C), tag: tag_width})``
    records : ``In(ArrayLayout(parameter_layout(target), C))``
    lo, hi : ``In(signed(act_bits))``
        Clip, both inclusive.
    leaky, slope_multiplier, slope_shift : ``In(1)``, ``In(8)``, ``In(5)``
        Only if the target has LeakyReLU; `slope_shift` is 1..31 where `leaky` is 1.
    function, function_shift : ``In(range(activations + 1))``, ``In(6)``
        Only if the target has registered activations; which one, and `numerics.store_shift` of what
        its result is shifted by.

    Attributes
    ----------
    latency : cycles from a pixel at `i` to its result at `o`
    """

    i: Any
    o: Any
    records: Any

    def __init__(self, target: Target, *, tag_width: int = 0) -> None:
        self._plan = schedule(
            postprocess_datapath(target),
            period_ns=period(target),
        )
        self._tag_width = tag_width
        self._short = target.short_stages
        self._neighbours = target.neighbours
        self.latency = target.postprocess_latency
        assert self._plan.latency <= self.latency, "post-processing is longer than the target says"
        self._shared = {"lo": signed(target.act_bits), "hi": signed(target.act_bits)}
        if target.leaky:
            self._shared |= _LEAKY_INPUTS
        if target.activations:
            self._shared |= {"function": range(target.function_count + 1), "function_shift": 6}
        accs = data.ArrayLayout(signed(target.acc_bits), target.cols)
        lanes = data.ArrayLayout(signed(target.act_bits), target.cols)
        super().__init__(
            {
                "i": In(flow(data.StructLayout({"accs": accs, "tag": tag_width}))),
                "o": Out(flow(data.StructLayout({"lanes": lanes, "tag": tag_width}))),
                "records": In(data.ArrayLayout(parameter_layout(target), target.cols)),
                **{name: In(shape) for name, shape in self._shared.items()},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        valid = Signal(self.latency)
        m.d.sync += valid.eq((valid << 1) | self.i.valid)
        m.d.comb += self.o.valid.eq(valid[-1])
        tag = self.i.p.tag
        for index in range(self.latency):
            later = Signal(self._tag_width, name=f"tag{index}", reset_less=True)
            m.d.sync += later.eq(tag)
            tag = later
        m.d.comb += self.o.p.tag.eq(tag)

        shared = {name: getattr(self, name) for name in self._shared}
        for c, record in enumerate(self.records):
            if self._short and c % self._neighbours == 0:
                shared = {
                    name: registered(m, value, f"{name}_{c}") for name, value in shared.items()
                }
            lane = PipelineCore(self._plan)
            m.submodules[f"lane{c}"] = lane
            m.d.comb += [
                lane.enable.eq(1),
                lane.i.acc.eq(self.i.p.accs[c]),
                lane.i.rounded_bias.eq(record.bias),
                lane.i.shift.eq(record.shift),
                *(lane.i[name].eq(value) for name, value in shared.items()),
            ]
            # The cycle model counts on the target's latency: a shorter pipeline waits at its end.
            result: Any = lane.o
            for index in range(self.latency - self._plan.latency):
                later = Signal.like(result, name=f"result{c}_{index}", reset_less=True)
                m.d.sync += later.eq(result)
                result = later
            m.d.comb += self.o.p.lanes[c].eq(result)
        return m
