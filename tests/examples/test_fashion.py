"""The small networks for Fashion-MNIST load, and their files are small."""

import gzip
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

FOLDER = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def fashion():
    spec = importlib.util.spec_from_file_location("fashion", FOLDER / "fashion.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fashion"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["plain", "residual", "separable"])
def test_the_weights_in_the_repository_fit_the_networks(fashion, name):
    assert fashion.weights_path(name).stat().st_size <= 100_000
    with torch.inference_mode():
        scores = fashion.network(name)(torch.rand(2, 1, 28, 28))
    assert scores.shape == (2, 10) and bool(torch.isfinite(scores).all())


def test_idx_files_are_read_compressed_or_not(fashion, tmp_path):
    images = np.arange(2 * 28 * 28, dtype=np.uint32).astype(np.uint8)
    head = b"\0\0\x08\x03" + np.array([2, 28, 28], ">u4").tobytes()
    (tmp_path / "train-images-idx3-ubyte").write_bytes(head + images.tobytes())
    labels = b"\0\0\x08\x01" + np.array([2], ">u4").tobytes() + b"\x03\x07"
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    found, classes = fashion.read_images(tmp_path, "train")
    np.testing.assert_array_equal(found, images.reshape(2, 1, 28, 28))
    assert classes.tolist() == [3, 7]
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"nothing at all")
    with pytest.raises(ValueError, match="is no idx file of bytes"):
        fashion.read_images(tmp_path, "train")
