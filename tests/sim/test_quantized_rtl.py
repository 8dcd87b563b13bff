"""What each quantization method finds runs in RTL to the same integers, in the same cycles."""

from __future__ import annotations

import numpy as np
import pytest

from tilewright.compiler.lower import compile_network
from tilewright.compiler.target import Target
from tilewright.graph.ir import Activation, ActivationKind, Conv, Graph, Input, Layer, Op, Output
from tilewright.quant.config import QuantConfig
from tilewright.quant.finetune import FineTuneConfig, fine_tune
from tilewright.quant.mixed import Budget, plan_bits
from tilewright.quant.quantize import quantize
from tilewright.quant.reference import quantize_inputs, run_fixed
from tilewright.sim.network import Job, compare_run, simulate_jobs

# The target of test_rtl.py, whose build is then there already.
TARGET = Target(rows=4, cols=4, act_depth=512, acc_depth=64, burst_beats=16)
RELU6 = Activation(kind=ActivationKind.CLIP, lo=0.0, hi=6.0)
METHODS = {
    "per-tensor": QuantConfig.paper(acc_bits=32),
    "per-channel": QuantConfig.paper(acc_bits=32, per_channel=True),
    "squared": QuantConfig.paper(acc_bits=32, objective="squared"),
    "classes": QuantConfig.paper(acc_bits=32, classes=True),
    "joint, descent": QuantConfig.paper(acc_bits=32, joint=True, descent=True),
    "equalized": QuantConfig(acc_bits=32, rounding="nearest"),
    "learned": QuantConfig(acc_bits=32),
    "learned, 4 bits": QuantConfig(acc_bits=32, weight_bits=4),
    "learned, 4 bits in the last layer": QuantConfig(acc_bits=32, layer_weight_bits={"head": 4}),
}
TUNED = "mixed, learned, fine-tuned"
"""Everything together: a budget for the bits, all of the default's methods, and labels."""
CHAIN = "chain "
"""Prefix of runs of the network without its residual."""


def badly_scaled(residual):
    """Depthwise layers and a residual; channels differ in scale by factors up to 64."""
    rng = np.random.default_rng(7)

    def conv(name, source, inputs, outputs, kernel, groups=1, spread=6, **layer):
        shape = (outputs, inputs // groups, kernel, kernel)
        weight = rng.normal(0.0, (2.0 / np.prod(shape[1:])) ** 0.5, shape)
        weight *= np.exp2(-rng.integers(0, spread + 1, (outputs, 1, 1, 1)))
        return Layer(
            name=name,
            op=Op.CONV,
            inputs=(source,),
            conv=Conv(
                weight=weight.astype(np.float32),
                bias=rng.normal(0.0, 0.2, outputs).astype(np.float32),
                pads=(kernel // 2,) * 4,
                groups=groups,
            ),
            **layer,
        )

    layers = (
        conv("stem", "x", 3, 8, 3, activation=RELU6),
        conv("depthwise", "stem", 8, 8, 3, groups=8, activation=RELU6),
        conv("project", "depthwise", 8, 8, 1, residual=residual, spread=3),
        conv("head", "project", 8, 10, 1),
    )
    return Graph(
        name="badly-scaled",
        inputs=(Input(name="x", shape=(3, 8, 8)),),
        layers=layers,
        outputs=(Output(name="y", tensor="head", shape=(10, 8, 8)),),
    )


def mixed_and_tuned(graph, images):
    """Unsigned maps, bits by layer, a frac for each channel, learned rounding, then training."""
    config = QuantConfig(acc_bits=32)
    plan = plan_bits(graph, {"x": images}, Budget(average_bits=5), config)
    fixed = quantize(graph, {"x": images}, plan.config).fixed
    labels = np.arange(len(images))
    options = FineTuneConfig(epochs=3, learning_rate=0.01, acc_bits=32)
    tuned = fine_tune(fixed, [(images, labels)], options)
    return fixed, tuned.fixed


@pytest.fixture(scope="module")
def runs(builds, tmp_path_factory):
    """For every method: the fixed network, and one run of its program in the simulation."""
    images = np.random.default_rng(8).normal(size=(8, 3, 8, 8)).astype(np.float32)
    found = {}
    chains = {CHAIN + method: METHODS[method] for method in ("per-tensor", "per-channel")}
    networks = {
        method: quantize(
            badly_scaled(None if method.startswith(CHAIN) else "stem"), {"x": images}, config
        ).fixed
        for method, config in (METHODS | chains).items()
    }
    networks["untuned"], networks[TUNED] = mixed_and_tuned(badly_scaled("stem"), images)
    for method, fixed in networks.items():
        inputs = quantize_inputs(fixed, {"x": images[:1]})
        values = {name: x[0] for name, x in run_fixed(fixed, inputs).items()}
        job = Job(program=compile_network(fixed, TARGET, keep=True), inputs=[{"x": inputs["x"][0]}])
        found[method] = (fixed, job, values)
    jobs = [job for _, job, _ in found.values()]
    results = simulate_jobs(builds(TARGET), jobs, work_dir=tmp_path_factory.mktemp("methods"))
    return {
        method: (*parts, result)
        for (method, parts), (result,) in zip(found.items(), results, strict=True)
    }


@pytest.mark.parametrize("method", [*METHODS, TUNED])
def test_every_value_of_the_rtl_is_the_references(runs, method):
    _, job, values, run = runs[method]
    assert compare_run(job.program, run, values) == []


def test_a_frac_for_each_channel_costs_no_cycle(runs):
    tensor, channel = runs[CHAIN + "per-tensor"], runs[CHAIN + "per-channel"]
    assert all(len(set(layer.weight_frac.tolist())) == 1 for layer in tensor[0].layers)
    assert any(len(set(layer.weight_frac.tolist())) > 3 for layer in channel[0].layers)
    assert channel[3].cycles == tensor[3].cycles


def test_the_network_of_all_methods_together_has_what_each_of_them_gives(runs):
    before, after = runs["untuned"][0], runs[TUNED][0]
    assert not after.formats["stem"].signed
    assert after.formats["project"].signed
    assert len({layer.weight_bits for layer in after.layers}) > 1
    assert all(len(set(layer.weight_frac.tolist())) > 1 for layer in after.layers)
    assert any(
        (a.weight != b.weight).any() for a, b in zip(before.layers, after.layers, strict=True)
    )
