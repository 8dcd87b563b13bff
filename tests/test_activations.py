"""Activations that a user writes in Python HLS, from the decorator to the instruction model."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper

import tilewright
from tilewright.compiler.lower import compile_network
from tilewright.graph import functions
from tilewright.hw.hls import Input, lower, schedule, trace
from tilewright.hw.postprocess import limits, period, postprocess_datapath
from tilewright.quant import numerics
from tilewright.quant.emulate import run_emulated
from tilewright.quant.numerics import clip, lookup, where
from tilewright.quant.qonnx_export import save_fixed
from tilewright.quant.qonnx_import import load_fixed
from tilewright.quant.reference import quantize_inputs, run_fixed
from tilewright.sim.isa_model import execute

TABLE = [round(1024 * float(F.gelu(torch.tensor(i / 8 - 4)))) for i in range(66)]


WIDTHS: tuple[dict[str, Any], ...] = (
    {"act_bits": 2, "acc_bits": 28},  # takes most stages
    {"act_bits": 4, "acc_bits": 24},
    {"act_bits": 16, "acc_bits": 48},
)


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    monkeypatch.setattr(functions, "_functions", {})


def hard_swish(x, frac):
    gate = clip(x + (3 << frac), 0, 6 << frac)
    return (x * gate + (3 << frac)) // (6 << frac)


def gelu(x, frac):
    place = clip(x + (4 << frac), 0, (8 << frac) - 1)
    piece, rest = place >> (frac - 3), place % (1 << (frac - 3))
    low, high = lookup(TABLE, piece), lookup(TABLE, piece + 1)
    inside = low + ((high - low) * rest >> (frac - 3))
    return where(x < -(4 << frac), 0, where(x < (4 << frac), inside, x))


def register_both():
    tilewright.activation(onnx="HardSwish", reference=F.hardswish)(hard_swish)
    tilewright.activation(onnx="Gelu", reference=F.gelu, attributes=["approximate"])(gelu)


def model(path):
    """Conv → HardSwish → depthwise Conv → Add → Gelu → MaxPool, as an ONNX file."""
    rng = np.random.default_rng(3)
    weights = {
        "w1": rng.normal(size=(6, 2, 3, 3)) / 3,
        "b1": rng.normal(size=6),
        "w2": rng.normal(size=(6, 1, 3, 3)) / 2,
    }
    pad = {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="first", **pad),
        helper.make_node("HardSwish", ["c1"], ["h"], name="hs"),
        helper.make_node("Conv", ["h", "w2"], ["c2"], name="second", group=6, **pad),
        helper.make_node("Add", ["c2", "h"], ["s"], name="sum"),
        helper.make_node("Gelu", ["s"], ["g"], name="act", approximate="none"),
        helper.make_node("MaxPool", ["g"], ["y"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
    ]
    graph = helper.make_graph(
        nodes,
        "swishes",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6, 3, 3])],
        [numpy_helper.from_array(v.astype(np.float32), n) for n, v in weights.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    path.write_bytes(proto.SerializeToString())
    return str(path)


def quantized(tmp_path):
    register_both()
    graph = tilewright.load(model(tmp_path / "net.onnx"))
    images = np.random.default_rng(0).normal(size=(8, 2, 6, 6)).astype(np.float32) * 2
    return tilewright.quantize(graph, images, bits=8).fixed, images


def test_a_network_with_registered_activations_runs_on_the_instruction_model(tmp_path):
    fixed, images = quantized(tmp_path)
    kinds = [layer.layer.activation.function for layer in fixed.layers]
    assert kinds == ["hard_swish", "gelu", ""]  # a function may fall, so no pooling is fused
    inputs = quantize_inputs(fixed, {"x": images[:1]})
    wanted = run_fixed(fixed, inputs)
    variants: tuple[dict[str, Any], ...] = ({}, {"leaky": False, "edge_registers": 1})
    for options in variants:
        target = tilewright.Target(
            rows=4,
            cols=4,
            act_depth=512,
            acc_depth=64,
            activations=("gelu", "hard_swish"),
            **options,
        )
        program = compile_network(fixed, target, keep=True)
        got = execute(program, {"x": inputs["x"][0]})
        for name, values in wanted.items():
            assert np.array_equal(got[name], values[0]), name


def test_the_differentiable_network_and_the_qonnx_file_compute_the_same(tmp_path):
    fixed, images = quantized(tmp_path)
    wanted = run_fixed(fixed, quantize_inputs(fixed, {"x": images}))
    data = torch.from_numpy(images).requires_grad_()
    real = run_emulated(fixed, {"x": data})
    for name, values in wanted.items():
        scale = 2.0 ** fixed.formats[name].frac
        np.testing.assert_allclose(real[name].detach().numpy() * scale, values, atol=1e-3)
    real["pool"].sum().backward()
    assert data.grad is not None and float(data.grad.abs().max()) > 0

    save_fixed(fixed, tmp_path / "quantized.onnx")
    again = load_fixed(str(tmp_path / "quantized.onnx"))
    assert again.layers[0].function is fixed.layers[0].function


def test_what_a_target_lacks_is_said(tmp_path):
    fixed, _ = quantized(tmp_path)
    with pytest.raises(
        tilewright.TilewrightError, match=r"'first'.*no activation 'hard_swish' \(it has gelu\)"
    ):
        compile_network(fixed, tilewright.Target(activations=("gelu",)))
    with pytest.raises(tilewright.TilewrightError, match="'swish' is not registered; did you mean"):
        tilewright.Target(activations=("swish",))
    with pytest.raises(tilewright.TilewrightError, match="at most 7 different ones"):
        tilewright.Target(activations=("gelu", "gelu"))
    target = tilewright.Target(activations=("gelu", "hard_swish"))
    assert tilewright.Target(**dataclasses.asdict(target)) == target
    tilewright.activation(onnx="Gelu", reference=F.gelu)(lambda_named_gelu())
    with pytest.raises(tilewright.TilewrightError, match="is not what the target was made for"):
        postprocess_datapath(target)


def lambda_named_gelu():
    def gelu(x, frac):
        return x

    return gelu


def test_without_registration_the_operator_is_refused_with_advice(tmp_path):
    with pytest.raises(tilewright.TilewrightError, match=r"(?s)HardSwish.*tilewright\.activation"):
        tilewright.load(model(tmp_path / "net.onnx"))


def test_the_traced_function_equals_its_table():
    register_both()
    for name in ("hard_swish", "gelu"):
        function = functions.find_function(name)
        datapath = trace(
            lambda x, f=function: f.compute(x), {"x": Input(-(1 << 15), (1 << 15) - 1)}
        )
        reduced = lower(datapath)
        for x in range(-(1 << 15), 1 << 15, 41):
            wanted = function.table[x + (1 << 15)]
            assert datapath.evaluate(x=x) == reduced.evaluate(x=x) == wanted
        exact = function.reference(torch.arange(-(1 << 15), 1 << 15) / 1024).numpy() * 1024
        assert np.abs(exact - function.table).max() < (0.51 if name == "hard_swish" else 2.1)


@pytest.mark.parametrize("act_bits", [4, 8, 16])
def test_the_lane_of_the_hardware_equals_the_reference(act_bits):
    register_both()
    target = tilewright.Target(act_bits=act_bits, activations=("hard_swish", "gelu"))
    chosen = [functions.find_function(name) for name in target.function_names]
    datapath = lower(postprocess_datapath(target))
    rng = np.random.default_rng(act_bits)
    top = 1 << (act_bits - 1)
    for _ in range(300):
        given = {
            "bias": int(rng.integers(-(1 << 20), 1 << 20)),
            "biased_shift": int(rng.integers(64)),
        }
        bias, shift = numerics.prepare(**given, **limits(target))
        rest = {
            "acc": int(rng.integers(-(1 << 24), 1 << 24)) >> int(rng.integers(24)),
            "lo": -top,
            "hi": top - 1,
            "leaky": 0,
            "slope_multiplier": 7,
            "slope_shift": 3,
            "function": int(rng.integers(3)),
            "function_shift": int(rng.integers(64)),
        }
        wanted = numerics.postprocess(**given, **rest, functions=chosen)
        assert datapath.evaluate(rounded_bias=int(bias), shift=int(shift), **rest) == int(wanted)


@pytest.mark.parametrize("edge_registers", [0, 1])
def test_the_post_processing_keeps_to_the_latency_that_the_target_says(edge_registers):
    register_both()

    def wide(x, frac):
        return x << 13

    def power(x, frac):
        return numerics.saturate(x * x * x * x >> 40, 31)

    tilewright.activation(onnx="A", reference=torch.relu, bits=18)(wide)
    tilewright.activation(onnx="B", reference=torch.relu, bits=18, frac=9)(power)
    for names in (["wide"], ["power"], ["gelu"], ["wide", "power", "gelu", "hard_swish"]):
        for widths in WIDTHS:
            for leaky in (False, True):
                target = tilewright.Target(
                    activations=tuple(names), leaky=leaky, edge_registers=edge_registers, **widths
                )
                needed = schedule(postprocess_datapath(target), period_ns=period(target)).latency
                assert needed <= target.postprocess_latency <= needed + 16


def branches(x, frac):
    if x > 0:
        return x
    return 0


def divides(x, frac):
    return (1 << 20) // (x + 40000)


def is_real(x, frac):
    return x * 0.5


def calls_numpy(x, frac):
    return np.clip(x, 0, 6)


def returns_nothing(x, frac):
    numerics.clip(x, 0, 6)


def loops(x, frac):
    return sum(1 for _ in range(x))


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (branches, "`if x > 0:`: a Python branch"),
        (divides, "`return (1 << 20) // (x + 40000)`: division by a value has no hardware"),
        (is_real, "`return x * 0.5`: 0.5 is used as a value"),
        (loops, "`return sum(1 for _ in range(x))`: an index or a loop's bound"),
        (calls_numpy, "`return np.clip(x, 0, 6)`: a Python branch"),
        (
            returns_nothing,
            f"{__file__}:{returns_nothing.__code__.co_firstlineno}, `returns_nothing`",
        ),
    ],
)
def test_what_cannot_be_hardware_is_refused_with_its_line(function, reason):
    with pytest.raises(tilewright.TilewrightError, match=re.escape(reason)) as refused:
        tilewright.activation(onnx="A", reference=torch.relu)(function)
    assert function.__name__ in str(refused.value)
    with pytest.raises(
        tilewright.TilewrightError, match=r"bits must be an integer in 2\.\.18, not 30"
    ):
        tilewright.activation(onnx="A", reference=torch.relu, bits=30)(hard_swish)
