"""The cycle model against the cycles that the RTL takes."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from targets import SPARING

from tilewright.compiler.cycles import MemoryTiming, predict
from tilewright.compiler.lower import compile_network
from tilewright.compiler.target import Target
from tilewright.errors import TilewrightError
from tilewright.sim.memory import MemoryConfig
from tilewright.sim.network import Job, simulate_jobs
from tilewright.sim.random_layers import random_inputs, random_layer

SMALL: dict[str, Any] = {"act_depth": 512, "acc_depth": 64, "burst_beats": 16}
SQUARE = Target(rows=4, cols=4, **SMALL)
WIDER = Target(rows=3, cols=8, bus_bytes=2, leaky=False, **SMALL)
EDGED = dataclasses.replace(SQUARE, edge_registers=1)
SHORT = dataclasses.replace(SQUARE, edge_registers=2)


def deviations(build, target, latency, folder):
    """Share by which the prediction of each of at least 30 random layers is off."""
    memory = MemoryConfig(read_latency=latency, write_latency=latency)
    timing = MemoryTiming(latency=latency, write_latency=latency)
    jobs = []
    for seed in range(100, 140):
        fixed = random_layer(seed, target)
        try:
            program = compile_network(fixed, target)
        except TilewrightError as error:
            assert any(reason in str(error) for reason in ("one output needs", "lie too far apart"))
            continue
        jobs.append(Job(program=program, inputs=[random_inputs(fixed, seed)], memory=memory))
    assert len(jobs) >= 30
    runs = simulate_jobs(build, jobs, work_dir=folder)
    measured = np.array([run.stamps[-1][0] for (run,) in runs])
    predicted = np.array([predict(job.program, timing).regions[-1].end for job in jobs])
    return predicted / measured - 1


@pytest.mark.parametrize("target", [SQUARE, EDGED, SHORT], ids=["4x4", "4x4-edged", "4x4-short"])
@pytest.mark.parametrize("latency", [0, 50])
def test_every_random_layer_takes_what_the_model_says_within_one_percent(
    builds, latency, target, tmp_path
):
    errors = deviations(builds(target), target, latency, tmp_path)
    assert np.abs(errors).max() <= 0.01
    assert np.median(np.abs(errors)) == 0.0  # most are right to the cycle


@pytest.mark.parametrize("target", [WIDER, SPARING], ids=["undivided", "beat by beat"])
@pytest.mark.parametrize("latency", [0, 50])
def test_where_words_and_beats_part_the_model_is_within_one_percent_on_average(
    builds, latency, target, tmp_path
):
    """On a bus that lanes do not divide, and on a small target without bursts or queues."""
    errors = deviations(builds(target), target, latency, tmp_path)
    assert np.abs(errors).mean() <= 0.01
    assert np.abs(errors).max() <= 0.03


@pytest.mark.slow
def test_on_the_default_target_random_layers_are_right_to_the_cycle(builds, tmp_path):
    errors = deviations(builds(Target()), Target(), 50, tmp_path)
    assert np.abs(errors).max() == 0.0
