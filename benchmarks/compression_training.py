"""How the compressed networks are trained, method by method; every state is kept in a folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from compression_networks import NETWORKS
from torch import nn

from tilewright.boards import get_target
from tilewright.compress.layers import fold_batch_norm
from tilewright.compress.pipeline import Setup, run_steps
from tilewright.compress.steps import Step, parse_steps
from tilewright.compress.train import TrainConfig, accuracy, train
from tilewright.compression import layer_cycles, vector_arrays
from tilewright.graph.ir import Graph
from tilewright.shrinking import ternary_layers

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import fashion

__all__ = ["METHODS", "DataSet", "Trained", "data_of", "state_of"]

METHODS: dict[str, dict[str, tuple[str, ...]]] = {
    "lenet-300-100": {
        "dense": (),
        "prune": ("prune 0.92",),
        "prune + share": ("prune 0.92", "share 32"),
        "prune + share + huffman": ("prune 0.92", "share 32", "huffman"),
    },
    "lenet-5": {
        "dense": (),
        "prune": ("prune 0.92",),
        "prune + share": ("prune 0.92", "share 32"),
        "prune + share + huffman": ("prune 0.92", "share 32", "huffman"),
    },
    "fashion-vgg": {
        "dense": (),
        "vectors 50 %": ("vectors 0.5",),
        "vectors 75 %": ("vectors 0.75",),
        "low rank 2x": ("low-rank 2x",),
        "low rank 3x": ("low-rank 3x",),
        "vectors 75 % + share + huffman": ("vectors 0.75", "share 32", "huffman"),
    },
    "fashion-resnet": {
        "dense": (),
        "twn": ("ternary twn",),
        "ternary": ("ternary ttq",),
        "ternary shift": ("ternary shift",),
    },
}
"""Methods of each network, by name, as steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Epochs and rates: of the float network, and of each retraining."""

    float_epochs: int
    float_rate: float
    epochs: int
    rate: float
    rounds: int = 4
    images: int = 60_000
    """Images of an epoch of retraining."""


RECIPES = {
    "lenet-300-100": Recipe(float_epochs=10, float_rate=2e-3, epochs=5, rate=1e-3),
    "lenet-5": Recipe(float_epochs=5, float_rate=2e-3, epochs=3, rate=1e-3, rounds=3),
    "fashion-vgg": Recipe(float_epochs=5, float_rate=8e-3, epochs=0, rate=2e-3),
    "fashion-resnet": Recipe(float_epochs=6, float_rate=8e-3, epochs=6, rate=2e-3),
}


class Batches:
    """Images and labels in random order; mirrored and shifted by chance if `augment`."""

    def __init__(
        self, images: torch.Tensor, labels: torch.Tensor, size: int, count: int, augment: bool
    ) -> None:
        self.images, self.labels, self.size = images, labels, size
        self.count, self.augment = min(count, len(images)), augment

    def __len__(self) -> int:
        return max(-(-self.count // self.size), 0)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for batch in torch.randperm(len(self.images))[: self.count].split(self.size):
            x = self.images[batch]
            if self.augment:
                x = x.flip(3) if torch.rand(()) < 0.5 else x
                x = torch.roll(x, torch.randint(-1, 2, (2,)).tolist(), (2, 3))
            yield x.contiguous(memory_format=torch.channels_last), self.labels[batch]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DataSet:
    """Training and test images: uint8 [N, 1, 28, 28] and labels."""

    train_arrays: tuple[Any, Any]
    test_arrays: tuple[Any, Any]

    @property
    def calibration(self) -> Any:
        """Training images."""
        return self.train_arrays[0]

    def tensors(self, part: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Images in 0..1 and labels of "train" or "test"."""
        images, labels = self.train_arrays if part == "train" else self.test_arrays
        return torch.from_numpy(images.astype(np.float32) / 255), torch.from_numpy(labels)

    def test(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The test set in batches."""
        images, labels = self.tensors("test")
        return list(zip(images.split(500), labels.split(500), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """A network after a method, and its accuracy in float."""

    model: nn.Module
    accuracy: float
    steps: tuple[Step, ...]

    @property
    def huffman(self) -> bool:
        """Whether the stream is coded by frequency."""
        return any(step.kind == "huffman" for step in self.steps)

    def shifts(self, graph: Graph) -> tuple[str, ...]:
        """Layers of the graph that are ternary with powers of two."""
        shift = any(step.option == "shift" for step in self.steps)
        return ternary_layers(graph) if shift else ()


def data_of(name: str, folder: Path) -> DataSet:
    """The network's data set."""
    train_set, test_set = (fashion.read_images(folder, part) for part in ("train", "t10k"))
    return DataSet(train_arrays=train_set, test_arrays=test_set)


def state_of(name: str, method: str, data: DataSet, work: Path) -> Trained:
    """The network after a method: as kept in `work`, or trained now and kept there."""
    work.mkdir(parents=True, exist_ok=True)
    steps = parse_steps(METHODS[name][method])
    kept = work / f"{name}-{_file_name(METHODS[name][method])}.npz"
    model = _dense(name, data, work)
    folds = any(step.kind in ("low-rank", "share") or step.option == "shift" for step in steps)
    if kept.is_file():
        model = fold_batch_norm(model) if folds else model
        with np.load(kept, allow_pickle=False) as arrays:
            model.load_state_dict({key: torch.from_numpy(arrays[key]) for key in arrays.files})
    elif steps:
        model = _compressed(name, model, steps, data, work)
        if not any(step.kind == "low-rank" for step in steps):
            state = {key: tensor.numpy() for key, tensor in model.state_dict().items()}
            np.savez(kept, allow_pickle=False, **state)
    return Trained(model=model.eval(), accuracy=accuracy(model, data.test()), steps=steps)


def _file_name(steps: tuple[str, ...]) -> str:
    """Steps that shape the weights; `huffman` codes them only."""
    return "-".join(step.replace(" ", "-") for step in steps if step != "huffman") or "dense"


def _dense(name: str, data: DataSet, work: Path) -> nn.Module:
    recipe, (images, labels) = RECIPES[name], data.tensors("train")
    torch.manual_seed(0)
    model = NETWORKS[name]().to(memory_format=torch.channels_last)
    kept = work / f"{name}-dense.npz"
    if kept.is_file():
        with np.load(kept, allow_pickle=False) as arrays:
            model.load_state_dict({key: torch.from_numpy(arrays[key]) for key in arrays.files})
        return model.eval()
    config = TrainConfig(
        epochs=recipe.float_epochs,
        learning_rate=recipe.float_rate,
        weight_decay=1e-4,
        checkpoint=work / f"{name}-float.npz",
    )
    train(model, _batches(name, images, labels, len(images)), config, progress=_show)
    state = {key: tensor.numpy() for key, tensor in model.state_dict().items()}
    np.savez(kept, allow_pickle=False, **state)
    return model.eval()


def _batches(name: str, images: torch.Tensor, labels: torch.Tensor, count: int) -> Batches:
    mirrored = name.startswith("fashion")
    return Batches(images, labels, 128 if mirrored else 64, count, mirrored)


def _compressed(
    name: str, model: nn.Module, steps: tuple[Step, ...], data: DataSet, work: Path
) -> nn.Module:
    recipe, (images, labels) = RECIPES[name], data.tensors("train")
    folder = work / f"{name}-steps"
    folder.mkdir(exist_ok=True)
    target = get_target("small")
    setup = Setup(
        train=_batches(name, images, labels, recipe.images),
        test=data.test(),
        images=images[:500],
        arrays=vector_arrays(target),
        cycles=layer_cycles(images[:1], target),
        config=TrainConfig(
            epochs=recipe.epochs,
            learning_rate=recipe.rate,
            weight_decay=1e-5,
            checkpoint=folder,
        ),
        rounds=recipe.rounds,
        progress=_show,
    )
    result = run_steps(model, steps, setup)
    for stage in result.stages:
        print(f"{name}: {stage.step} {stage.accuracy:.2%} {json.dumps(stage.notes)}", flush=True)
    return result.model


def _show(done: int, total: int, text: str) -> None:
    print(f"  {done}/{total} {text}", flush=True)
