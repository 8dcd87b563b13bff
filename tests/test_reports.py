"""What the report prints and what it writes."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from tilewright.analysis import compare_precision
from tilewright.data import Data
from tilewright.graph.ir import Activation, ActivationKind, Conv, Graph, Input, Layer, Op, Output
from tilewright.outputs import to_json
from tilewright.quant.config import QuantConfig
from tilewright.quant.quantize import quantize
from tilewright.report_tables import print_report
from tilewright.reports import (
    Accuracy,
    LayerReport,
    NetworkReport,
    Precision,
    RtlReport,
    report_dict,
)

CONV = LayerReport(
    name="conv[1]", kind="conv", shape=(8, 4, 4), bits=8, frac=-1, weight_bits=4,
    weight_frac=(3, 5), sqnr_db=31.25, max_error=0.5, saturated=7, macs=1000,
    cycles_measured=2000, cycles_predicted=1990, utilization=0.5, bound_mapping=0.9375, bound_roofline=0.75,
    bound="compute", mismatches=0,
)  # fmt: skip
ADD = LayerReport(name="add", kind="add", shape=(8, 4, 4), bits=8, frac=3)
ROW = Precision(
    bits=8, dynamic_sqnr_db=30.0, dynamic_saturated=7, static_frac=(2, 3), static_sqnr_db=float("-inf"),
    static_saturated=90, dynamic_accuracy=0.99, static_accuracy=0.5, layers=(("conv[1]", 7, 90),),
)  # fmt: skip


def make(mismatches: int = 0) -> NetworkReport:
    return NetworkReport(
        name="net",
        target="default",
        layers=(CONV, ADD),
        accuracy=Accuracy(images=1000, float=0.99, fixed=0.985, static=0.9),
        rtl=RtlReport(
            images=20,
            mismatches=mismatches,
            values=5000,
            cycles=2000,
            predicted=1990,
            frames_per_second=50000.0,
            correct=19,
            first_mismatch="add: 1 of 9 values differ",
        ),
        precision=(ROW,),
    )


def printed(report: NetworkReport) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    print_report(report, console)
    return console.export_text()


def test_a_layer_is_one_row_with_float_fixed_and_rtl_side_by_side():
    row = next(line for line in printed(make()).splitlines() if "conv[1]" in line)
    cells = [cell.strip() for cell in row.strip("│ ").split("│")]
    assert cells == [
        "conv[1]", "conv", "8×4×4", "4b +3..+5", "8b -1", "31.2", "0.5", "7", "0", "2,000",
        "1,990", "-0.50", "50.0", "93.8", "75.0", "compute",
    ]  # fmt: skip


def test_names_of_layers_are_seen_where_lines_are_short():
    console = Console(width=120, record=True, file=io.StringIO())
    print_report(make(), console)
    assert "conv[1]" in console.export_text()


def test_what_was_not_measured_is_a_dash():
    row = next(line for line in printed(make()).splitlines() if "add" in line)
    assert row.count("–") == 12


def test_a_mismatch_is_said_with_its_first_place():
    assert "equal to the integer reference" in printed(make())
    text = printed(make(mismatches=3))
    assert "3 differ: add: 1 of 9 values differ" in text
    assert "equal" not in text


def test_static_and_dynamic_precision_stand_side_by_side():
    text = printed(make())
    assert "dynamic against static precision" in text
    assert "7 / 90" in text


def test_the_json_twin_has_what_scripts_need():
    found = json.loads(to_json(report_dict(make())))
    assert found["accuracy"] == {"images": 1000, "float": 0.99, "fixed": 0.985, "static": 0.9}
    assert (found["rtl"]["images"], found["rtl"]["mismatches"]) == (20, 0)
    layer = found["layers"][0]
    assert layer["deviation"] == pytest.approx(-0.005)
    assert {
        "name",
        "cycles_measured",
        "cycles_predicted",
        "utilization",
        "bound_mapping",
        "bound_roofline",
        "sqnr_db",
        "saturated",
    } <= (layer.keys())
    assert found["precision"][0]["static_sqnr_db"] is None


def test_widths_are_compared_on_the_network_as_loaded_not_as_equalized():
    """Equalization shifts the first layer's map, which without correction harms static precision."""
    rng = np.random.default_rng(0)

    def conv(name, source, inputs, outputs, activation):
        weight = rng.normal(0.0, 0.5, (outputs, inputs, 1, 1)).astype(np.float32)
        made = Conv(weight=weight, bias=rng.normal(0.0, 0.1, outputs).astype(np.float32))
        return Layer(name=name, op=Op.CONV, inputs=(source,), conv=made, activation=activation)

    relu = Activation(kind=ActivationKind.CLIP, lo=0.0)
    graph = Graph(
        name="two",
        inputs=(Input(name="x", shape=(4, 6, 6)),),
        layers=(conv("a", "x", 4, 32, relu), conv("b", "a", 32, 3, Activation())),
        outputs=(Output(name="y", tensor="b", shape=(3, 6, 6)),),
    )
    images = Data(inputs={"x": rng.normal(size=(16, 4, 6, 6)).astype(np.float32)})
    (row,) = compare_precision(graph, images, (8,))
    assert row.dynamic_sqnr_db > row.static_sqnr_db > 25
    static = quantize(graph, images.inputs, QuantConfig(static=True)).fixed
    assert row.static_frac == (int(static.layers[0].weight_frac[0]), static.layers[0].output.frac)
