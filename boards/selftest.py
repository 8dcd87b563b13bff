"""A known computation, small enough for every board."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tilewright.boards.host import HostProgram
from tilewright.compiler.lower import compile_network
from tilewright.compiler.program import Program
from tilewright.compiler.save import program_bytes
from tilewright.compiler.target import Target
from tilewright.graph.ir import (
    Activation,
    ActivationKind,
    Conv,
    Graph,
    Input,
    Layer,
    Op,
    Output,
    Pool,
)
from tilewright.quant.fixed import FixedGraph, FixedLayer, IntArray
from tilewright.quant.formats import QFormat
from tilewright.quant.reference import run_fixed

__all__ = ["KnownAnswer", "known_answer"]

_SEED = 2016
_SHAPE = (3, 6, 6)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KnownAnswer:
    """A program, integers [C, H, W] of its inputs, and those of its outputs that are right."""

    compiled: Program
    inputs: dict[str, IntArray]
    expected: dict[str, IntArray]

    @property
    def program(self) -> HostProgram:
        """The program as the host's driver knows it."""
        return HostProgram.of_bytes(program_bytes(self.compiled))


def known_answer(target: Target) -> KnownAnswer:
    """A small network that uses every row and column of a target's array, and its results.

    A 3×3 convolution of three channels fills the rows with kernel taps, a 1×1 convolution with
    channels; the latter's results are pooled. The integers are random, always the same, over the
    whole range of the target's widths.
    """
    rng = np.random.default_rng(_SEED)
    form = QFormat(target.act_bits, 0)
    between = max(target.rows, target.cols)
    first, hidden = _layer(rng, target, "hidden", "x", (between, _SHAPE[0], 3, 3), form)
    second, out = _layer(rng, target, "out", "hidden", (target.cols, between, 1, 1), hidden)
    graph = Graph(
        name="selftest",
        inputs=(Input(name="x", shape=_SHAPE),),
        layers=(first.layer, second.layer),
        outputs=(Output(name="out", tensor="out", shape=(target.cols, 3, 3)),),
    )
    fixed = FixedGraph(
        graph=graph, formats={"x": form, "hidden": hidden, "out": out}, layers=(first, second)
    )
    x = rng.integers(form.min, form.max, _SHAPE, endpoint=True)
    results = run_fixed(fixed, {"x": x[None]}, keep=["out"])
    return KnownAnswer(
        compiled=compile_network(fixed, target),
        inputs={"x": x},
        expected={"out": results["out"][0]},
    )


def _layer(
    rng: np.random.Generator,
    target: Target,
    name: str,
    source: str,
    shape: tuple[int, int, int, int],
    form: QFormat,
) -> tuple[FixedLayer, QFormat]:
    """A convolution of random weights [O, I, kh, kw], and the format of its results."""
    outputs, terms = shape[0], math.prod(shape[1:])
    # So many bits that no sum can leave the accumulator.
    room = target.acc_bits - target.act_bits - 1 - terms.bit_length()
    limit = 1 << min(target.weight_bits - 1, room)
    weight = rng.integers(-limit + 1, limit, shape)
    spread = math.sqrt(terms / 9) * limit * -form.min  # of sums of independent, even values
    shift = max(round(math.log2(4 * spread)) - target.act_bits, 0)
    result = QFormat(target.act_bits, form.frac - shift)
    pooled = name == "out"
    layer = Layer(
        name=name,
        op=Op.CONV,
        inputs=(source,),
        conv=Conv(
            weight=weight.astype(np.float32),
            bias=np.zeros(outputs, np.float32),
            pads=(shape[2] // 2, shape[3] // 2) * 2,
        ),
        activation=Activation() if pooled else Activation(kind=ActivationKind.CLIP, lo=0.0),
        max_pool=Pool(kernel=(2, 2), stride=(2, 2)) if pooled else None,
    )
    zeros = np.zeros(outputs, np.int64)
    fixed = FixedLayer(
        layer=layer,
        weight=weight,
        weight_bits=target.weight_bits,
        weight_frac=zeros,
        acc_frac=zeros + form.frac,
        bias=rng.integers(-limit, limit, outputs),
        output=result,
        lo=result.min if pooled else 0,
        hi=result.max,
    )
    return fixed, result
