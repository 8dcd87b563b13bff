"""Compressing a module step by step, with retraining after each."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tilewright.compress import lowrank, magnitude, ranks, share, ternary
from tilewright.compress.layers import fix_zeros, fold_batch_norm, set_masks, weight_layers
from tilewright.compress.refit import refit
from tilewright.compress.shift_norm import settle_shift_norms
from tilewright.compress.steps import Step
from tilewright.compress.train import Progress, TrainConfig, accuracy, train
from tilewright.compress.vectors import Array, vector_masks

__all__ = ["Cycles", "Result", "Setup", "Stage", "run_steps"]


VECTOR_ROUND = 0.7
"""Share of the vectors left that each round keeps."""
SETTLING = 0.25
"""Share of the learning rate with which ternary layers are trained on with BatchNorm as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycles:
    """Cycles of each layer as it is, and at each rank that it may be cut to."""

    dense: Mapping[str, float]
    costs: Mapping[str, Mapping[int, float]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Setup:
    """What compressing needs besides the module.

    Attributes
    ----------
    train : batches of (inputs, labels), again for each epoch
    test : likewise, to measure accuracy on
    tune : likewise, to choose on how much each layer is pruned; neither of `train` nor of `test`
    images : calibration images, as the module takes them
    arrays : gives a module's convolutions that may lose vectors, by name
    cycles : gives the cycles of a module's layers on the hardware
    config : of each retraining; its checkpoint's place is a folder
    rounds : of pruning
    distill : retrain towards what the original module says, and not towards the labels
    """

    train: Iterable[Any]
    test: Iterable[Any]
    tune: Iterable[Any]
    images: torch.Tensor
    arrays: Callable[[nn.Module], Mapping[str, Array]]
    cycles: Callable[[nn.Module], Cycles]
    config: TrainConfig
    rounds: int = 4
    distill: bool = False
    progress: Progress | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A step's result."""

    step: str
    accuracy: float
    parameters: int
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result:
    """The compressed module, and what each step led to; the first is the original."""

    model: nn.Module
    stages: tuple[Stage, ...]
    huffman: bool


def run_steps(model: nn.Module, steps: Sequence[Step], setup: Setup) -> Result:
    """Compress a copy of a module.

    Raises
    ------
    TilewrightError
        If a step is not possible.
    """
    work = _Work(copy.deepcopy(model), setup)
    stages = [work.stage("float", {})]
    methods: dict[str, Callable[[Step], Mapping[str, Any]]] = {
        "low-rank": work.low_rank,
        "prune": work.prune,
        "vectors": work.vectors,
        "ternary": work.ternary,
        "share": work.share,
    }
    for step in steps:
        if step.kind in methods:
            work.name = str(step)
            notes = methods[step.kind](step)
            stages.append(work.stage(str(step), notes))
    return Result(
        model=work.model.eval(),
        stages=tuple(stages),
        huffman=any(step.kind == "huffman" for step in steps),
    )


class _Work:
    def __init__(self, model: nn.Module, setup: Setup) -> None:
        self.model, self.setup, self.name = model, setup, ""
        self.teacher = copy.deepcopy(model).eval() if setup.distill else None

    def stage(self, name: str, notes: Mapping[str, Any]) -> Stage:
        left = sum(int((p != 0).sum()) for p in self.model.parameters())
        return Stage(step=name, accuracy=self._accuracy(), parameters=left, notes=notes)

    def _accuracy(self) -> float:
        return accuracy(self.model, self.setup.test)

    def _train(self, label: str = "", share: float = 1.0, epochs: int | None = None) -> None:
        config, name = self.setup.config, f"{self.name}{label}".replace(" ", "-")
        place = config.checkpoint
        path = None if place is None else Path(place) / f"{name}.npz"
        rate = config.learning_rate * share
        progress = self.setup.progress

        def show(done: int, total: int, text: str) -> None:
            if progress is not None:
                progress(done, total, f"{name}: {text}")

        epochs = config.epochs if epochs is None else epochs
        options = replace(config, checkpoint=path, learning_rate=rate, epochs=epochs)
        train(self.model, self.setup.train, options, teacher=self.teacher, progress=show)

    def _kept(self) -> Mapping[str, Any]:
        layers = weight_layers(self.model).items()
        return {"kept": {name: float((x.weight != 0).float().mean()) for name, x in layers}}

    def low_rank(self, step: Step) -> Mapping[str, Any]:
        """Factorize under a cycle budget, and retrain."""
        self.model = fold_batch_norm(self.model)
        found = self.setup.cycles(self.model)
        energy = lowrank.energies(self.model, self.setup.images, list(found.costs))
        budget = sum(found.dense.values()) / step.value
        chosen = ranks.choose_ranks(energy, found.dense, found.costs, budget)
        self.model = lowrank.approximate(self.model, self.setup.images, chosen)
        before = self._accuracy()
        self._train()
        return {"ranks": chosen, "before_retraining": before}

    def prune(self, step: Step) -> Mapping[str, Any]:
        """Prune single weights in rounds, and retrain after each."""
        sizes = magnitude.input_sizes(self.model, self.setup.images)
        scans = magnitude.scan(
            self.model, lambda: accuracy(self.model, self.setup.tune), sizes=sizes
        )
        magnitude.prune_in_rounds(
            self.model,
            scans,
            1.0 - step.value,
            self.setup.rounds,
            lambda n: self._train(f" round {n}"),
            sizes=sizes,
        )
        return self._kept()

    def vectors(self, step: Step) -> Mapping[str, Any]:
        """Prune vectors, bank-balanced, in rounds, refit what is left after each, and retrain."""
        original, keep, left = copy.deepcopy(self.model).eval(), 1.0 - step.value, 1.0
        while left > keep:
            left = max(left * VECTOR_ROUND, keep)
            masks = vector_masks(self.model, self.setup.arrays(self.model), left)
            # What other methods have zeroed stays zero.
            kept = {n: x.weight.detach() != 0 for n, x in weight_layers(self.model).items()}
            set_masks(self.model, {n: masks.get(n, mask) & mask for n, mask in kept.items()})
            fix_zeros(self.model)
            refit(self.model.eval(), original, self.setup.images)
        before = self._accuracy()
        layers = weight_layers(self.model)
        set_masks(self.model, {n: x.weight.detach() != 0 for n, x in layers.items()})
        self._train()
        fix_zeros(self.model)
        return {**self._kept(), "before_retraining": before}

    def ternary(self, step: Step) -> Mapping[str, Any]:
        """Train ternary weights."""
        names = ternary.ternarize(self.model, method=step.option)
        self._train()
        if self.setup.config.epochs:
            settle_shift_norms(self.model)
            self._train(" settled", share=SETTLING, epochs=max(1, self.setup.config.epochs // 3))
        scales = ternary.fix_ternary(self.model)
        return {"scales": {name: (scales[name].positive, scales[name].negative) for name in names}}

    def share(self, step: Step) -> Mapping[str, Any]:
        """Share weights, and train the codebooks."""
        self.model = fold_batch_norm(self.model)
        share.share_weights(self.model, int(step.value))
        before = self._accuracy()
        self._train(share=0.1)
        books = share.fix_shared(self.model)
        entries = {name: len(book.values) for name, book in books.items()}
        return {"entries": entries, "before_retraining": before}
