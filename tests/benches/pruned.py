"""Layers with vectors of zero weights, and programs that leave those out."""

from __future__ import annotations

import dataclasses

import numpy as np

from tilewright.compiler.geometry import PLAIN
from tilewright.compiler.joint import joint_groups
from tilewright.compiler.lower import compile_network
from tilewright.compiler.program import Program
from tilewright.compiler.target import Target
from tilewright.compiler.tiling import Plan, best_plan
from tilewright.compiler.work import Area, LayerWork, layer_work
from tilewright.quant.fixed import FixedGraph

__all__ = ["compile_joint", "groups", "without_vectors"]


def without_vectors(fixed: FixedGraph, seed: int, cols: int) -> FixedGraph:
    """The network with random vectors of `cols` output channels at zero, in some layers all."""
    rng = np.random.default_rng(seed)
    layers = []
    for layer in fixed.layers:
        if layer.weight is not None:
            weight, share = layer.weight.copy(), rng.choice([0.0, 0.1, 0.3, 0.6])
            for first in range(0, len(weight), cols):
                weight[first : first + cols] *= rng.random(weight.shape[1:]) < share
            layer = dataclasses.replace(layer, weight=weight)
        layers.append(layer)
    return dataclasses.replace(fixed, layers=tuple(layers))


def groups(fixed: FixedGraph, target: Target) -> tuple[int, ...]:
    """Channel blocks that may share tiles in a network's only layer."""
    work = layer_work(fixed, fixed.layers[0], target)
    return joint_groups(work, work.areas[0].sources[0])


def compile_joint(fixed: FixedGraph, target: Target, joint: int) -> Program | None:
    """The program of a one-layer network whose blocks share tiles; None if no tiling of it fits."""
    work = layer_work(fixed, fixed.layers[0], target)
    if best_plan(work, work.areas[0], PLAIN, joint) is None:
        return None

    def planner(work: LayerWork, area: Area) -> Plan:
        plan = best_plan(work, area, PLAIN, joint)
        assert plan is not None
        return plan

    return compile_network(fixed, target, planner=planner)
