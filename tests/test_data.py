"""Calibration and test data: what is accepted, and what is refused in which words."""

import re
from typing import Any

import numpy as np
import pytest
import torch

from tilewright.data import as_data, read_data
from tilewright.errors import TilewrightError
from tilewright.graph.ir import Graph, Input

GRAPH = Graph(name="net", inputs=(Input(name="x", shape=(1, 2, 3)),), layers=(), outputs=())
IMAGES = np.arange(24, dtype=np.float32).reshape(4, 1, 2, 3)


def test_an_npy_file_holds_the_only_input(tmp_path):
    np.save(tmp_path / "a.npy", IMAGES)
    data = read_data(tmp_path / "a.npy", GRAPH)
    assert (len(data), data.labels) == (4, None)
    np.testing.assert_array_equal(data.inputs["x"], IMAGES)


@pytest.mark.parametrize("name", ["x", "images", "arr_0"])
def test_the_only_input_may_have_any_name_in_an_npz_file(tmp_path, name):
    arrays: dict[str, Any] = {name: IMAGES, "labels": np.arange(4)}
    np.savez(tmp_path / "a.npz", **arrays)
    data = read_data(tmp_path / "a.npz", GRAPH)
    np.testing.assert_array_equal(data.inputs["x"], IMAGES)
    np.testing.assert_array_equal(data.first(2).labels, [0, 1])
    assert len(data.first(2)) == 2


def test_two_inputs_are_found_by_name():
    graph = Graph(name="n", inputs=(*GRAPH.inputs, Input(name="y", shape=(1, 2, 3))), layers=(),
                  outputs=())  # fmt: skip
    data = as_data({"x": IMAGES, "y": IMAGES + 1}, graph)
    np.testing.assert_array_equal(data.inputs["y"], IMAGES + 1)


def test_a_dataloader_gives_inputs_and_labels():
    dataset = torch.utils.data.TensorDataset(torch.from_numpy(IMAGES), torch.arange(4))
    data = as_data(torch.utils.data.DataLoader(dataset, batch_size=3), GRAPH)
    np.testing.assert_array_equal(data.inputs["x"], IMAGES)
    np.testing.assert_array_equal(data.labels, [0, 1, 2, 3])


def test_batches_without_labels_are_enough():
    assert as_data([IMAGES, IMAGES], GRAPH).labels is None


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (IMAGES[0], "Calibration data: input 'x' has shape [1, 2, 3]; give an array of shape [N, "),
        (IMAGES[:0], "Calibration data: input 'x' has no images"),
        (IMAGES * np.nan, "Calibration data: input 'x' holds NaN or infinity"),
        ([], "Calibration data: is empty"),
        (3, "Calibration data: must be an array, arrays by input name or a DataLoader, not int"),
        ({"x": IMAGES, "z": IMAGES}, "Calibration data: the network has no input 'z'"),
        ({"x": IMAGES, "labels": np.ones(4)}, "Calibration data: labels must be integers"),
        (
            {"x": IMAGES, "labels": np.arange(3)},
            "Calibration data: labels have shape [3]; give [4]",
        ),
    ],
)
def test_data_that_do_not_fit_are_refused(source, message):
    with pytest.raises(TilewrightError, match=f"^{re.escape(message)}"):
        as_data(source, GRAPH)


def test_files_that_hold_no_arrays_are_refused_and_pickle_is_never_loaded(tmp_path):
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 truncated")
    (tmp_path / "text.npy").write_text("hello")
    (tmp_path / "empty.npy").write_bytes(b"")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(TilewrightError, match=f"^{re.escape(str(path))}: not a .npy or .npz"):
            read_data(path, GRAPH)
    with pytest.raises(TilewrightError, match=r"none\.npy: cannot be read: No such file"):
        read_data(tmp_path / "none.npy", GRAPH)


def test_images_may_come_in_the_layout_that_the_model_takes():
    nhwc = Input(name="x", shape=(2, 3, 4), layout="nhwc")
    images = np.arange(48.0).reshape(2, 3, 4, 2)
    data = as_data(images, Graph(name="n", inputs=(nhwc,), layers=(), outputs=()))
    np.testing.assert_array_equal(data.inputs["x"], images.transpose(0, 3, 1, 2))
    flat = Input(name="x", shape=(2, 3, 4), layout="flat")
    data = as_data(images.reshape(2, 24), Graph(name="n", inputs=(flat,), layers=(), outputs=()))
    np.testing.assert_array_equal(data.inputs["x"], images.reshape(2, 2, 3, 4))
