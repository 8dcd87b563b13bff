"""Which designs count as equal: the same program but for numbers, and hashes of content."""

import numpy as np
import pytest

import tilewright
from tilewright.compiler.cycles import MemoryTiming, predict
from tilewright.compiler.target import Target
from tilewright.sweep.digest import code_digest, digest
from tilewright.sweep.measure import measure_cycles, shape, signature
from tilewright.sweep.space import Hardware, Point, Setting


@pytest.fixture(scope="module")
def networks(folder):
    """The same network in 5 and 8 bits, and in 8 with a zeroed input channel."""
    graph = tilewright.load(folder / "net.onnx")
    images = np.load(folder / "unlabelled.npy")
    found = [tilewright.quantize(graph, images[:16], bits=bits).fixed for bits in (5, 8, 8)]
    weight = found[2].layers[0].weight
    assert weight is not None
    weight[:, 1] = 0
    return found


def test_networks_that_differ_in_numbers_alone_share_their_cycles(networks):
    targets = [
        Target(rows=4, cols=4, act_depth=256, acc_depth=64, act_bits=b, weight_bits=b)
        for b in (5, 8, 8)
    ]
    assert shape(targets[0]) == shape(targets[1])
    narrow, wide, pruned = (signature(n, t) for n, t in zip(networks, targets, strict=True))
    assert narrow == wide != pruned
    jobs = [(i, Hardware(board=None, target=t)) for i, t in enumerate(targets)]
    found = measure_cycles(networks, jobs, latency=20)
    for network, target, one in zip(networks, targets, found, strict=True):
        program = tilewright.compile(network, target, keep=False).program
        assert one["cycles"] == predict(program, MemoryTiming(latency=20, write_latency=20)).cycles


def test_a_network_wider_than_its_hardware_says_so(networks):
    hardware = Hardware(board=None, target=Target(rows=4, cols=4, weight_bits=5, act_bits=8))
    (found,) = measure_cycles(networks[1:2], [(0, hardware)], latency=20)
    assert "weights have 8 bits" in found["error"]


def test_hashes_follow_content_alone():
    array = np.arange(6)
    assert digest({"a": 1, "b": array}) == digest({"b": array.copy(), "a": 1})
    assert digest(array) != digest(array.reshape(2, 3)) != digest(array.astype(np.int32))
    assert digest(["ab", "c"]) != digest(["a", "bc"])
    assert code_digest("quant") != code_digest("quant", "graph")


def test_points_survive_their_way_through_plain_values():
    point = Point(
        setting=Setting(average_bits=4.5, compress=("prune 0.9",)),
        hardware=Hardware(board="ulx3s-85f", target=Target(rows=4)),
    )
    assert Point.from_dict(point.as_dict()) == point
