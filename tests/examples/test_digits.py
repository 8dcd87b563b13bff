"""The demo's own network is what training said it was."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

FOLDER = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def digits():
    spec = importlib.util.spec_from_file_location("digits", FOLDER / "digits.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["digits"] = module
    spec.loader.exec_module(module)
    return module


def test_the_weights_in_the_repository_label_the_test_images(digits):
    pixels, labels = digits.read_digits()
    _, test = digits.split(len(labels))
    with torch.inference_mode():
        scores = digits.network()(torch.from_numpy(pixels[test].astype(np.float32) / 255))
    assert float((scores.argmax(1).numpy() == labels[test]).mean()) > 0.985
    assert digits.WEIGHTS.stat().st_size < 200_000


def test_training_and_test_images_do_not_overlap(digits):
    train, test = digits.split(5000)
    assert (len(train), len(test)) == (4000, 1000)
    assert set(train) | set(test) == set(range(5000))
