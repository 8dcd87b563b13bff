"""Programs for the toy accelerator of toy_top.v."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tilewright.compiler.capabilities import capability_words
from tilewright.compiler.layout import TensorLayout
from tilewright.compiler.program import Placement, Program, Region, stamp_pitch
from tilewright.compiler.target import Target
from tilewright.graph.ir import Op
from tilewright.quant.formats import QFormat

TARGET = Target(rows=4, cols=4, act_depth=64, acc_depth=64)


def toy_verilog(target: Target = TARGET) -> str:
    """Verilog of the toy."""
    words = {f"TOY_{name}": f"32'h{word:08x}" for name, word in capability_words(target).items()}
    defines = {"TOY_BUS": target.bus_bytes, **words}
    head = "".join(f"`define {name} {value}\n" for name, value in defines.items())
    return head + Path(__file__).with_name("toy_top.v").read_text()


def toy_program(
    shape: tuple[int, int, int] = (4, 9, 10),
    repeats: int = 1,
    target: Target = TARGET,
    fault: int = 0,
) -> Program:
    """A program that adds 1 `repeats` times to tensor x; tensor y<i> is the i-th result.

    With `fault`, the toy breaks the rule of that number.
    """
    layout = TensorLayout(shape, target)
    fmt = QFormat(8, 0)
    names = ["x", *(f"y{i}" for i in range(repeats))]
    pitch = stamp_pitch(target)
    start = 64 * 2 * repeats + 64
    stamps = 64 * 2 * repeats
    step = -(-layout.size // 64) * 64
    places = {
        name: Placement(name=name, address=start + i * step, layout=layout, format=fmt)
        for i, name in enumerate(names)
    }
    words = []
    for i in range(repeats):
        source, destination = places[names[i]].address, places[names[i + 1]].address
        words += [1, source, destination, layout.size // target.bus_bytes] + [0] * 12
        words += [5, stamps + pitch * i] + [0] * 14
    regions = tuple(
        Region(
            name=f"add{i}",
            op=Op.CONV,
            first=2 * i,
            last=2 * i + 2,
            tiles=1,
            bound="memory",
            macs=0,
            slots=0,
        )
        for i in range(repeats)
    )
    assert pitch * repeats <= 64
    return Program(
        target=target,
        image=np.array(words, "<u4").tobytes() + bytes(64),
        instructions=0,
        count=2 * repeats + (fault << 24),
        memory_bytes=start + step * (repeats + 1),
        tensors=places,
        inputs=("x",),
        outputs=(names[-1],),
        stamps=stamps,
        regions=regions,
    )


def toy_input(shape: tuple[int, int, int] = (4, 9, 10), seed: int = 0) -> dict[str, np.ndarray]:
    """Random int8 values of tensor x."""
    return {"x": np.random.default_rng(seed).integers(-128, 128, shape)}


def toy_expected(values: np.ndarray, repeats: int = 1) -> dict[str, np.ndarray]:
    """What the toy makes of x: every y<i>."""
    return {f"y{i}": ((values + i + 1 + 128) % 256 - 128).astype(np.int64) for i in range(repeats)}
