"""From accumulators to stored values: numerics.postprocess for every lane, pipelined."""

from __future__ import annotations

from typing import Any

from amaranth import Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tilewright.compiler.target import Target
from tilewright.hw.hls import Datapath, Input, PipelineCore, schedule, trace
from tilewright.quant import numerics
from tilewright.quant.numerics import SHIFT_BIAS

__all__ = ["MAX_BIASED_SHIFT", "PostProcess", "postprocess_datapath"]

MAX_BIASED_SHIFT = 63
"""Largest biased shift of a parameter record."""

PERIOD_NS, SHORT_PERIOD_NS = 10.0, 7.0
"""Clock period for which registers are placed, without and with edge registers."""

_LEAKY_INPUTS = {"leaky": 1, "slope_multiplier": 8, "slope_shift": 5}


def postprocess_datapath(*, acc_bits: int, act_bits: int, leaky: bool) -> Datapath:
    """One lane of `numerics.postprocess`, traced for these widths.

    All inputs but `acc` are held constant. Without `leaky`, its three inputs do not exist.
    """
    held = {
        "bias": Input.of(signed(acc_bits), constant=True),
        "biased_shift": Input(0, MAX_BIASED_SHIFT, constant=True),
        "lo": Input.of(signed(act_bits), constant=True),
        "hi": Input.of(signed(act_bits), constant=True),
    }
    slope: dict[str, Any] = {"leaky": False, "slope_multiplier": 0, "slope_shift": 1}
    if leaky:
        slope = {}
        held["leaky"] = Input(0, 1, constant=True)
        held["slope_multiplier"] = Input(0, 255, constant=True)
        held["slope_shift"] = Input(1, 31, constant=True)
    inputs = {"acc": Input.of(signed(acc_bits)), **held}
    return trace(numerics.postprocess, inputs, shift_bias=SHIFT_BIAS, **slope)


class PostProcess(wiring.Component):
    """Bias, requantize, LeakyReLU, clip: one pixel of C lanes a cycle, after `latency` cycles.

    When a result is not taken, the whole pipeline stands still, so that `i.ready` depends
    combinationally on `o.ready`. Everything but the streams must be constant from the first
    pixel's entry until the last one's result has been taken.

    Parameters
    ----------
    target : gives cols (C), acc_bits, act_bits and leaky
    tag_width : bits that travel with a pixel

    Members
    -------
    i : ``In(stream {accs: ArrayLayout(signed(acc_bits), C), tag: tag_width})``
    o : ``Out(stream {lanes: ArrayLayout(signed(act_bits), C), tag: tag_width})``
    bias : ``In(ArrayLayout(signed(acc_bits), C))``
    shift : ``In(ArrayLayout(6, C))``
        Right shift plus SHIFT_BIAS.
    lo, hi : ``In(signed(act_bits))``
        Clip, both inclusive.
    leaky, slope_multiplier, slope_shift : ``In(1)``, ``In(8)``, ``In(5)``
        Only if the target has LeakyReLU; `slope_shift` is 1..31 where `leaky` is 1.

    Attributes
    ----------
    latency : cycles from a pixel at `i` to its result at `o`
    """

    i: Any
    o: Any
    bias: Any
    shift: Any

    def __init__(self, target: Target, *, tag_width: int = 0) -> None:
        datapath = postprocess_datapath(
            acc_bits=target.acc_bits, act_bits=target.act_bits, leaky=target.leaky
        )
        self._plan = schedule(
            datapath, period_ns=SHORT_PERIOD_NS if target.edge_registers else PERIOD_NS
        )
        self._tag_width = tag_width
        self.latency = target.postprocess_latency
        assert self._plan.latency <= self.latency, "post-processing is longer than the target says"
        self._shared = {"lo": signed(target.act_bits), "hi": signed(target.act_bits)}
        if target.leaky:
            self._shared |= _LEAKY_INPUTS
        accs = data.ArrayLayout(signed(target.acc_bits), target.cols)
        lanes = data.ArrayLayout(signed(target.act_bits), target.cols)
        super().__init__(
            {
                "i": In(stream.Signature(data.StructLayout({"accs": accs, "tag": tag_width}))),
                "o": Out(stream.Signature(data.StructLayout({"lanes": lanes, "tag": tag_width}))),
                "bias": In(accs),
                "shift": In(data.ArrayLayout(6, target.cols)),
                **{name: In(shape) for name, shape in self._shared.items()},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        step = self.o.ready | ~self.o.valid
        valid = Signal(self.latency)
        m.d.comb += [
            self.i.ready.eq(step),
            self.o.valid.eq(valid[-1]),
        ]
        tag = self.i.p.tag
        for index in range(self.latency):
            later = Signal(self._tag_width, name=f"tag{index}", reset_less=True)
            with m.If(step):
                m.d.sync += later.eq(tag)
            tag = later
        m.d.comb += self.o.p.tag.eq(tag)
        with m.If(step):
            m.d.sync += valid.eq((valid << 1) | self.i.valid)

        for c in range(len(self.bias)):
            lane = PipelineCore(self._plan)
            m.submodules[f"lane{c}"] = lane
            m.d.comb += [
                lane.enable.eq(step),
                lane.i.acc.eq(self.i.p.accs[c]),
                lane.i.bias.eq(self.bias[c]),
                lane.i.biased_shift.eq(self.shift[c]),
                *(lane.i[name].eq(getattr(self, name)) for name in self._shared),
            ]
            # The cycle model counts on the target's latency: a shorter pipeline waits at its end.
            result: Any = lane.o
            for index in range(self.latency - self._plan.latency):
                later = Signal.like(result, name=f"result{c}_{index}", reset_less=True)
                with m.If(step):
                    m.d.sync += later.eq(result)
                result = later
            m.d.comb += self.o.p.lanes[c].eq(result)
        return m
