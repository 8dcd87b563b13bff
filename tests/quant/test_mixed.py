"""Bits of each layer under a budget."""

import numpy as np
import pytest

from tilewright.errors import TilewrightError
from tilewright.graph.ir import Conv, Graph, Input, Layer, Op, Output
from tilewright.quant import mixed
from tilewright.quant.budget import Prices
from tilewright.quant.config import QuantConfig
from tilewright.quant.floats import walk_float
from tilewright.quant.mixed import Budget, plan_bits
from tilewright.quant.plans import search
from tilewright.quant.quantize import quantize
from tilewright.quant.reference import dequantize_outputs, quantize_inputs, run_fixed


def network():
    """Three layers; the second is large, and its part in the output small."""
    rng = np.random.default_rng(0)

    def conv(name, source, inputs, outputs, gain=1.0, residual=None):
        weight = rng.normal(0.0, gain * (1.0 / inputs) ** 0.5, (outputs, inputs, 1, 1))
        made = Conv(weight=weight.astype(np.float32), bias=np.zeros(outputs, np.float32))
        return Layer(name=name, op=Op.CONV, inputs=(source,), conv=made, residual=residual)

    layers = (
        conv("first", "x", 4, 24),
        conv("faint", "first", 24, 24, gain=0.05, residual="first"),
        conv("last", "faint", 24, 3),
    )
    return Graph(
        name="uneven",
        inputs=(Input(name="x", shape=(4, 6, 6)),),
        layers=layers,
        outputs=(Output(name="y", tensor="last", shape=(3, 6, 6)),),
    )


def images(seed=1):
    return {"x": np.random.default_rng(seed).normal(size=(8, 4, 6, 6)).astype(np.float32)}


def average(bits, graph):
    sizes = {x.name: x.conv.weight.size for x in graph.layers}
    return sum(bits[name] * size for name, size in sizes.items()) / sum(sizes.values())


def error(graph, config):
    fixed = quantize(graph, images(), config).fixed
    got = dequantize_outputs(fixed, run_fixed(fixed, quantize_inputs(fixed, images(2))))["y"]
    wanted = {layer.name: value for layer, value in walk_float(graph, images(2))}["last"]
    return float(np.square(got - wanted).sum() / np.square(wanted).sum())


def test_mixed_bits_lose_less_than_the_same_number_in_every_layer():
    graph = network()
    config = QuantConfig(feature_bits=12)
    plan = plan_bits(graph, images(), Budget(average_bits=4.0), config)
    assert average(plan.config.layer_weight_bits, graph) <= 4.0
    assert plan.chosen.bits["faint"] < plan.chosen.bits["first"]
    uniform = error(graph, QuantConfig(weight_bits=4, feature_bits=12))
    assert error(graph, plan.config) < 0.7 * uniform


def test_plans_are_compared_on_images_held_out_and_the_best_is_taken():
    graph = network()
    plan = plan_bits(graph, images(), Budget(average_bits=4.0))
    assert "the sensitivities' bits" in plan.measured
    assert plan.measured["4 bits in all layers"] > min(plan.measured.values())
    assert set(plan.chosen.bits.values()) != {4}


def test_groups_of_layers_are_tried_only_if_wanted():
    for refine in (False, True):
        plan = plan_bits(network(), images(), Budget(average_bits=4.0), refine=refine)
        tried = [name for name in plan.measured if name.startswith(("more bits", "fewer bits"))]
        assert bool(tried) == refine


@pytest.mark.parametrize("bits", [4.0, 5.0, 0.1 + 0.2 + 4.7])
def test_sensitivities_that_mislead_do_not_make_it_worse_than_the_same_bits_everywhere(
    monkeypatch, bits
):
    graph = network()
    wrong = {x.name: {b: 1.0 * b for b in range(2, 9)} for x in graph.layers}
    wrong["faint"] = {b: 1e3 * (8 - b) for b in range(2, 9)}
    monkeypatch.setattr(mixed, "_sensitivities", lambda *rest: (0.0, wrong))
    plan = plan_bits(graph, images(), Budget(average_bits=bits))
    same = plan.measured[f"{round(bits)} bits in all layers"]
    assert plan.measured["the sensitivities' bits"] > same >= min(plan.measured.values())


def test_groups_of_layers_that_lose_more_than_foretold_get_bits_back():
    """The losses that are measured, not those that are foretold, say which layers matter."""
    names = [f"layer{i}" for i in range(8)]
    own = {b: 4.0**-b for b in range(2, 9)}
    prices = Prices(0.0, dict.fromkeys(names, own), {n: {b: b for b in own} for n in names})
    budget = Budget(cost=40.0, costs=prices.costs)

    def real(bits):
        return sum((100.0 if name < "layer2" else 1.0) * 4.0 ** -bits[name] for name in names)

    groups = {n: {n, m} for n, m in zip(names[::2], names[1::2], strict=True)}
    chosen, losses = search(prices, budget, range(2, 9), groups, real)
    assert chosen.cost == 40.0
    assert real(chosen.bits) == min(losses.values()) < 0.5 * real(dict.fromkeys(names, 5))
    assert min(chosen.bits[n] for n in names[:2]) > max(chosen.bits[n] for n in names[2:])


def test_the_front_falls_in_cost_and_rises_in_loss():
    plan = plan_bits(network(), images(), Budget(weight_bytes=400.0))
    costs, losses = zip(*((p.cost, p.loss) for p in plan.front), strict=True)
    assert list(costs) == sorted(costs, reverse=True)
    assert losses[0] == min(losses) and losses[-1] == max(losses)
    assert set(plan.front[0].bits.values()) == {8} and set(plan.front[-1].bits.values()) == {2}
    assert plan.chosen.cost <= 400.0


def test_a_bound_on_the_loss_gives_the_cheapest_within_it():
    plan = plan_bits(network(), images(), Budget(loss=1e-2))
    assert plan.chosen.loss <= 1e-2
    assert all(p.cost >= plan.chosen.cost for p in plan.front if p.loss <= 1e-2)


def test_other_costs_decide_too():
    costs = {name: {b: float(b > 4) for b in range(2, 9)} for name in ("first", "faint", "last")}
    plan = plan_bits(network(), images(), Budget(cost=1.0, costs=costs))
    assert sum(b > 4 for b in plan.chosen.bits.values()) == 1
    # Where two widths cost the same the wider one is taken.
    assert set(plan.chosen.bits.values()) == {4, 8}


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (Budget(average_bits=1.5), r"budget of 1\.5 cannot be met for 'uneven'.*nearest.* is 2"),
        (Budget(weight_bytes=100.0), r"budget of 100 cannot be met .* nearest that can is 186"),
    ],
)
def test_a_budget_that_cannot_be_met_names_the_nearest_that_can(budget, message):
    with pytest.raises(TilewrightError, match=message):
        plan_bits(network(), images(), budget)


def test_a_loss_that_cannot_be_reached_names_the_nearest_that_can():
    with pytest.raises(TilewrightError, match=r"loss of 1e-09 cannot be reached.*nearest that can"):
        plan_bits(network(), images(), Budget(loss=1e-9))


@pytest.mark.parametrize(
    "options", [{}, {"average_bits": 4.0, "loss": 0.1}, {"cost": 3.0}, {"loss": -1.0}]
)
def test_a_budget_is_one_number(options):
    with pytest.raises(TilewrightError, match="A budget is one positive number"):
        Budget(**options)


def test_widths_out_of_range_are_refused():
    with pytest.raises(TilewrightError, match=r"must lie in 2\.\.16, not \[1, 8\]"):
        plan_bits(network(), images(), Budget(loss=0.1), candidates=(1, 8))


def test_bits_given_for_a_layer_and_a_budget_exclude_each_other():
    config = QuantConfig(layer_weight_bits={"first": 8})
    with pytest.raises(TilewrightError, match=r"leave out layer_weight_bits, given for first"):
        plan_bits(network(), images(), Budget(loss=0.1), config)
