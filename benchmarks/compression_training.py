"""How the compressed networks are trained, method by method; every state is kept in a folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from compression_data import Batches, DataSet, read_state, write_state
from compression_lenet5 import STEPS, lenet_5
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

__all__ = ["METHODS", "Method", "Trained", "state_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """What is done to a network.

    Attributes
    ----------
    steps : of `tilewright.compress.steps`
    epochs : of each retraining; the recipe's if None
    lanes : of the accelerator's decoder of compressed weights, 0 for none
    ternary : whether its array has ternary cells
    """

    steps: tuple[str, ...] = ()
    epochs: int | None = None
    lanes: int = 0
    ternary: bool = False


LANES, FEW_LANES = 8, 4
"""Of the decoders. Each lane of a chunk is filled up to the longest, which small layers feel."""
METHODS: dict[str, dict[str, Method]] = {
    "lenet-300-100": {
        "dense": Method(),
        "prune + share + huffman": Method(
            steps=("prune 0.925", "share 16", "huffman"), lanes=FEW_LANES
        ),
    },
    "lenet-5": {
        "dense": Method(),
        "prune + share + huffman": Method(steps=STEPS, lanes=FEW_LANES),
    },
    "fashion-vgg": {
        "dense": Method(),
        "prune + share + huffman": Method(
            steps=("prune 0.8", "share 32", "huffman"), epochs=1, lanes=LANES
        ),
        "vectors 50 %": Method(steps=("vectors 0.5",), epochs=0),
        "vectors 75 %": Method(steps=("vectors 0.75",), epochs=0),
        "vectors 50 % + share + huffman": Method(
            steps=("vectors 0.5", "share 32", "huffman"), epochs=1, lanes=LANES
        ),
        "vectors 75 % + share + huffman": Method(
            steps=("vectors 0.75", "share 32", "huffman"), epochs=1, lanes=LANES
        ),
        "low rank 2x": Method(steps=("low-rank 2x",), epochs=6),
        "low rank 3x": Method(steps=("low-rank 3x",)),
        "low rank 2x + share + huffman": Method(
            steps=("low-rank 2x", "share 32", "huffman"), lanes=LANES
        ),
        "ternary, two scales": Method(steps=("ternary ttq", "huffman"), epochs=3, lanes=LANES),
        "ternary, two scales, no multiplier": Method(
            steps=("ternary ttq",), epochs=3, ternary=True
        ),
        "ternary, shifts": Method(steps=("ternary shift",), epochs=3),
    },
    "fashion-resnet": {
        "dense": Method(),
        "ternary, one scale (TWN)": Method(steps=("ternary twn", "huffman"), lanes=LANES),
        "ternary, two scales": Method(steps=("ternary ttq", "huffman"), lanes=LANES),
        "ternary, two scales, no multiplier": Method(steps=("ternary ttq",), ternary=True),
        "ternary, shifts": Method(steps=("ternary shift",)),
    },
}
"""Methods of each network, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Epochs and rates: of the float network, and of each retraining."""

    float_epochs: int
    float_rate: float
    float_batch: int = 128
    epochs: int
    rate: float
    rounds: int = 4
    images: int = 60_000
    """Images of an epoch of retraining."""
    distill: bool = False
    """Whether retraining follows the float network and not the labels."""


WEIGHTS = Path(__file__).with_name("weights")
"""States that need no training: the ternary ResNet's."""
HELD_OUT = 2_000
"""Training images that pruning chooses on."""

RECIPES = {
    "lenet-300-100": Recipe(
        float_epochs=10,
        float_rate=2e-3,
        float_batch=64,
        epochs=8,
        rate=2e-3,
        rounds=3,
        distill=True,
    ),
    "fashion-vgg": Recipe(
        float_epochs=5, float_rate=8e-3, epochs=3, rate=1e-3, rounds=2, images=30_000
    ),
    "fashion-resnet": Recipe(float_epochs=6, float_rate=4e-3, epochs=5, rate=2e-3),
}


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


def state_of(name: str, method: str, data: DataSet, work: Path) -> Trained:
    """The network after a method: as kept in `work` or WEIGHTS, or trained now and kept in `work`."""
    work.mkdir(parents=True, exist_ok=True)
    chosen = METHODS[name][method]
    steps = parse_steps(chosen.steps)
    kept = work / f"{name}-{_file_name(chosen)}.npz"
    if name == "lenet-5":
        model = lenet_5(data.tensors("train"), kept if steps else None, work, progress=_show)
        return Trained(model=model, accuracy=accuracy(model, data.test()), steps=steps)
    ready = next((path for path in (kept, WEIGHTS / kept.name) if path.is_file()), None)
    if steps and ready is not None:
        model = NETWORKS[name]()
        model = fold_batch_norm(model) if any(s.kind == "share" for s in steps) else model
        read_state(model, ready)
        return Trained(model=model.eval(), accuracy=accuracy(model, data.test()), steps=steps)
    model = _dense(name, data, work)
    if steps:
        model = _compressed(name, model, chosen, data, work)
        if not any(step.kind == "low-rank" for step in steps):
            # Factorized layers are made anew; their training goes on from its last checkpoint.
            write_state(model, kept)
    return Trained(model=model.eval(), accuracy=accuracy(model, data.test()), steps=steps)


def _file_name(method: Method) -> str:
    """Steps that shape the weights (`huffman` codes them only), and epochs unless the recipe's."""
    steps = [step.replace(" ", "-") for step in method.steps if step != "huffman"]
    epochs = [f"{method.epochs}-epochs"] if method.epochs else []
    return "-".join([*steps, *epochs]) or "dense"


def _dense(name: str, data: DataSet, work: Path) -> nn.Module:
    recipe, (images, labels) = RECIPES[name], data.tensors("train")
    torch.manual_seed(0)
    model = NETWORKS[name]().to(memory_format=torch.channels_last)
    kept = work / f"{name}-dense.npz"
    if kept.is_file():
        read_state(model, kept)
        return model.eval()
    config = TrainConfig(
        epochs=recipe.float_epochs,
        learning_rate=recipe.float_rate,
        weight_decay=1e-4,
        checkpoint=work / f"{name}-float.npz",
    )
    train(
        model,
        _batches(name, images, labels, len(images), recipe.float_batch),
        config,
        progress=_show,
    )
    write_state(model, kept)
    return model.eval()


def _batches(
    name: str, images: torch.Tensor, labels: torch.Tensor, count: int, size: int = 128
) -> Batches:
    return Batches(images, labels, size, count, name.startswith("fashion"))


def _compressed(
    name: str, model: nn.Module, method: Method, data: DataSet, work: Path
) -> nn.Module:
    recipe, (images, labels) = RECIPES[name], data.tensors("train")
    epochs = recipe.epochs if method.epochs is None else method.epochs
    folder = work / f"{name}-{_file_name(method)}-steps"
    folder.mkdir(exist_ok=True)
    target = get_target("small")
    setup = Setup(
        train=_batches(name, images[HELD_OUT:], labels[HELD_OUT:], recipe.images),
        test=data.test(),
        tune=[(images[:HELD_OUT], labels[:HELD_OUT])],
        images=images[:500],
        arrays=vector_arrays(target),
        cycles=layer_cycles(images[:1], target),
        config=TrainConfig(
            epochs=epochs,
            learning_rate=recipe.rate,
            weight_decay=1e-5,
            checkpoint=folder,
        ),
        rounds=recipe.rounds,
        distill=recipe.distill,
        progress=_show,
    )
    result = run_steps(model, parse_steps(method.steps), setup)
    for stage in result.stages:
        print(f"{name}: {stage.step} {stage.accuracy:.2%} {json.dumps(stage.notes)}", flush=True)
    return result.model


def _show(done: int, total: int, text: str) -> None:
    print(f"  {done}/{total} {text}", flush=True)
