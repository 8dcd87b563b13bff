"""The box plots and the table that `tilewright quantize` prints."""

import dataclasses
import io

import numpy as np
from rich.console import Console

from tilewright.graph.ir import Conv, Graph, Input, Layer, Op, Output
from tilewright.profiles import box_plot, print_profiles
from tilewright.quant.profile import TensorProfile, profile
from tilewright.quant.quantize import quantize

FOUND = TensorProfile(
    name="conv",
    kind="conv",
    bits=8,
    frac=4,
    weight_bits=8,
    weight_frac=(5, 7),
    quantiles=(-4.0, -3.0, -2.0, 0.0, 2.0, 3.0, 4.0),
    low=-8.0,
    high=7.9375,
    sqnr_db=30.0,
    saturated=0.0,
)


def test_a_box_plot_shows_quantiles_within_the_format():
    assert box_plot(FOUND, 17) == "░░░░├─██┃██─┤░░░░"


def test_values_beyond_the_format_stand_outside_its_shade():
    wide = dataclasses.replace(FOUND, quantiles=(-16.0, -1.0, -1.0, 0.0, 1.0, 1.0, 16.0))
    assert box_plot(wide, 9) == "├───┃───┤"
    narrow = dataclasses.replace(FOUND, quantiles=(0.0, 0.0, 0.0, 0.0, 4.0, 8.0, 16.0))
    assert box_plot(narrow, 9) == "  ░░┃█──┤"


def test_the_table_has_a_row_a_layer():
    rng = np.random.default_rng(0)
    conv = Conv(
        weight=rng.normal(size=(4, 3, 1, 1)).astype(np.float32), bias=np.zeros(4, np.float32)
    )
    graph = Graph(
        name="one",
        inputs=(Input(name="x", shape=(3, 4, 4)),),
        layers=(Layer(name="first [x]", op=Op.CONV, inputs=("x",), conv=conv),),
        outputs=(Output(name="y", tensor="first [x]", shape=(4, 4, 4)),),
    )
    images = {"x": rng.normal(size=(20, 3, 4, 4)).astype(np.float32)}
    result = quantize(graph, images)
    (found,) = profile(result.fixed, images)
    assert found.quantiles == tuple(sorted(found.quantiles))
    assert found.low <= found.quantiles[0] and found.sqnr_db > 25
    console = Console(record=True, width=200, file=io.StringIO())
    print_profiles([found], result.log, console)
    text = console.export_text()
    assert "first [x]" in text and "┃" in text and f"{found.frac}: " in text
