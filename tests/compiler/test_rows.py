"""Weight streams read back from a program hold the weights of the network."""

import numpy as np

from tilewright.compiler.lower import compile_network
from tilewright.compiler.rows import weight_streams
from tilewright.compiler.target import Target
from tilewright.sim.random_layers import random_layer


def test_streams_hold_every_weight():
    target, gathered = Target(rows=4, cols=4, act_depth=512, acc_depth=64, pack_pixels=1), 0
    for seed in range(40):
        fixed = random_layer(seed, target)
        (layer,) = fixed.layers
        conv = layer.layer.conv
        if conv is None or layer.layer.residual is not None or conv.groups > 1:
            continue
        streams = weight_streams(compile_network(fixed, target))
        gathered += any(stream.offsets is not None for stream in streams)
        held = np.concatenate([stream.weights.ravel() for stream in streams])
        weight = layer.weight
        assert weight is not None
        wanted, counts = np.unique(weight[weight != 0], return_counts=True)
        found, times = np.unique(held[held != 0], return_counts=True)
        # Ragged blocks hold copies, and macro tiles may need streams of their own.
        assert set(wanted) <= set(found)
        assert all(times[found.tolist().index(w)] >= n for w, n in zip(wanted, counts, strict=True))
        for stream in streams:
            assert stream.weights.shape[1] == target.cols
            assert len(stream.weights) % target.rows == 0
    assert gathered
