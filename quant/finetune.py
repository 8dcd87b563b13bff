"""Fine-tuning a quantized network with straight-through gradients.

The fixed network runs in floating point (`tilewright.quant.emulate`), formats stay as they are, and
Adam moves real weights and biases behind the integers. Each weight is measured in its channel's range
and each bias in its output's, so that one learning rate serves all layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from tilewright.errors import TilewrightError
from tilewright.quant.accumulator import accumulator_bound
from tilewright.quant.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tilewright.quant.emulate import Constants, quantize_real, run_emulated
from tilewright.quant.fit import refusal
from tilewright.quant.fixed import FixedGraph, FixedLayer
from tilewright.quant.formats import QFormat

__all__ = ["FineTuneConfig", "FineTuned", "fine_tune"]

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuneConfig:
    """How to fine-tune.

    Attributes
    ----------
    epochs : passes over the loader, 1 or more
    learning_rate : of Adam, relative to the range of a channel's weights; falls along a half cosine
    seed : of every random number that the loader draws from PyTorch's global generator
    acc_bits : accumulators must still fit in this width afterwards, 16..48
    checkpoint : file (.npz) written after every epoch and continued from if it is there; None: none

    Raises
    ------
    TilewrightError
        If a value is out of its range.
    """

    epochs: int = 1
    learning_rate: float = 5e-4
    seed: int = 0
    acc_bits: int = 48
    checkpoint: str | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise TilewrightError(f"Fine-tuning needs epochs of 1 or more, not {self.epochs!r}")
        if not 0.0 < self.learning_rate <= 1.0:
            raise TilewrightError(
                f"Fine-tuning needs a learning_rate above 0 and up to 1, not {self.learning_rate!r}"
            )
        if not 16 <= self.acc_bits <= 48:
            raise TilewrightError(f"Fine-tuning needs acc_bits in 16..48, not {self.acc_bits!r}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FineTuned:
    """The result.

    Attributes
    ----------
    fixed : the fine-tuned network
    losses : mean cross-entropy of each finished epoch
    stopped : why it ended early, and which state is in `fixed`; None if it did not
    """

    fixed: FixedGraph
    losses: tuple[float, ...]
    stopped: str | None = None


def fine_tune(
    fixed: FixedGraph,
    loader: Iterable[Any],
    config: FineTuneConfig | None = None,
    *,
    progress: Progress | None = None,
) -> FineTuned:
    """Train the weights and biases of a quantized network on labelled images.

    Parameters
    ----------
    fixed : the network, with one input and one output
    loader : gives (raw images [N, C, H, W], labels [N]) batch by batch, and again for each epoch: a
        PyTorch DataLoader, for example
    config : epochs, learning rate, seed and checkpoint
    progress : called as progress(epochs done, epochs in all, text)

    Raises
    ------
    TilewrightError
        If the network or a batch is not as described, the checkpoint belongs to something else, or
        an accumulator no longer fits.
    """
    config = config or FineTuneConfig()
    if len(fixed.graph.inputs) != 1 or len(fixed.graph.outputs) != 1:
        raise TilewrightError("Fine-tuning needs a network with one input and one output")
    tuner = _Tuner(fixed, config)
    stopped = None
    while tuner.epoch < config.epochs and stopped is None:
        stopped = tuner.run_epoch(loader)
        if progress is not None and stopped is None:
            text = f"epoch {tuner.epoch}: loss {tuner.losses[-1]:.4f}"
            progress(tuner.epoch, config.epochs, text)
    return FineTuned(fixed=tuner.result(), losses=tuple(tuner.losses), stopped=stopped)


class _Tuner:
    """The state of one fine-tuning: parameters, optimizer, epochs done, and the last good state."""

    def __init__(self, fixed: FixedGraph, config: FineTuneConfig) -> None:
        self.fixed, self.config = fixed, config
        self.layers = [layer for layer in fixed.layers if layer.weight is not None]
        self.parameters: dict[str, torch.Tensor] = {}
        for layer in self.layers:
            weight, bias = _relative(layer)
            self.parameters[layer.name + "/weight"] = weight.requires_grad_()
            self.parameters[layer.name + "/bias"] = bias.requires_grad_()
        self.optimizer = torch.optim.Adam(self.parameters.values(), lr=config.learning_rate)
        self.epoch, self.losses = 0, list[float]()
        if config.checkpoint is not None:
            self._restore(load_checkpoint(config.checkpoint, fixed, config))
        self.good = self._snapshot()

    def run_epoch(self, loader: Iterable[Any]) -> str | None:
        """One pass; returns why it was broken off, or None."""
        share = 0.5 * (1.0 + math.cos(math.pi * self.epoch / self.config.epochs))
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * share
        total, images = 0.0, 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed * 1_000_003 + self.epoch)
            for number, batch in enumerate(loader):
                loss, count = self._step(*_unpack(batch, number, self.fixed))
                if not math.isfinite(loss) or not self._finite():
                    self._restore(self.good)
                    return (
                        f"stopped in epoch {self.epoch + 1}, batch {number + 1}: the loss is "
                        f"{loss:g} or a weight is no number; kept the state after epoch "
                        f"{self.epoch}, try a smaller learning_rate"
                    )
                total, images = total + loss * count, images + count
        if not images:
            raise TilewrightError("Fine-tuning: the loader gives no batches; give one that does")
        self.epoch += 1
        self.losses.append(total / images)
        self.good = self._snapshot()
        if self.config.checkpoint is not None:
            save_checkpoint(self.config.checkpoint, self.good, self.fixed, self.config)
        return None

    def _step(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, int]:
        (spec,), (output,) = self.fixed.graph.inputs, self.fixed.graph.outputs
        mean, scale = (torch.tensor(v).reshape(-1, 1, 1) for v in (spec.mean, spec.scale))
        constants = {layer.name: self._constants(layer) for layer in self.layers}
        seen = {spec.name: (images - mean) * scale}
        scores = run_emulated(self.fixed, seen, constants)[output.tensor].flatten(1)
        loss = F.cross_entropy(scores, labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return float(loss.detach()), len(images)

    def _constants(self, layer: FixedLayer) -> Constants:
        form = QFormat(layer.weight_bits, 0)
        unit = torch.from_numpy(np.ldexp(1.0, layer.weight_frac)).float().reshape(-1, 1, 1, 1)
        weight = self.parameters[layer.name + "/weight"] * (-form.min / unit)
        bias = self.parameters[layer.name + "/bias"] * _bias_range(layer)
        return quantize_real(weight, unit, form.min, form.max), bias

    def _finite(self) -> bool:
        return all(bool(torch.isfinite(p).all()) for p in self.parameters.values())

    def _snapshot(self) -> Checkpoint:
        arrays = {}
        for name, parameter in self.parameters.items():
            arrays[name] = parameter.detach().numpy().copy()
            for key, value in self.optimizer.state.get(parameter, {}).items():
                arrays[f"{name}/{key}"] = np.array(value.numpy())
        return Checkpoint(epoch=self.epoch, losses=tuple(self.losses), arrays=arrays)

    def _restore(self, state: Checkpoint | None) -> None:
        if state is None:
            return
        self.epoch, self.losses = state.epoch, list(state.losses)
        for name, parameter in self.parameters.items():
            parameter.data = torch.from_numpy(state.arrays[name].copy())
            keys = ("step", "exp_avg", "exp_avg_sq")
            if f"{name}/step" in state.arrays:
                self.optimizer.state[parameter] = {
                    key: torch.from_numpy(np.array(state.arrays[f"{name}/{key}"])) for key in keys
                }

    def result(self) -> FixedGraph:
        """The network with the integers nearest to the parameters."""
        tuned: Mapping[str, FixedLayer] = {
            layer.name: self._integers(layer) for layer in self.layers
        }
        return replace(self.fixed, layers=tuple(tuned.get(x.name, x) for x in self.fixed.layers))

    def _integers(self, layer: FixedLayer) -> FixedLayer:
        form = QFormat(layer.weight_bits, 0)
        relative = self.parameters[layer.name + "/weight"].detach().numpy()
        real = self.parameters[layer.name + "/bias"].detach().double().numpy() * _bias_range(layer)
        bias = np.floor(np.ldexp(real, layer.acc_frac) + 0.5).astype(np.int64)
        weight = form.quantize(relative.astype(np.float64) * -form.min)
        result = replace(layer, weight=weight, bias=bias)
        bound = accumulator_bound(result, self.fixed.formats)
        if bound >= 1 << (self.config.acc_bits - 1):
            raise refusal(result, bound, self.config.acc_bits)
        return result


def _relative(layer: FixedLayer) -> Constants:
    """Weights as shares of their range, and biases as shares of the output's."""
    assert layer.weight is not None
    form = QFormat(layer.weight_bits, 0)
    bias = np.ldexp(layer.bias.astype(np.float64), -layer.acc_frac) / _bias_range(layer)
    return torch.from_numpy(layer.weight / -form.min).float(), torch.from_numpy(bias).float()


def _bias_range(layer: FixedLayer) -> float:
    return math.ldexp(1.0, layer.output.bits - 1 - layer.output.frac)


def _unpack(batch: Any, number: int, fixed: FixedGraph) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and labels of a batch, checked."""
    where = f"Fine-tuning, batch {number + 1}"
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise TilewrightError(f"{where}: the loader must give (images, labels), not {type(batch)}")
    images, labels = (torch.as_tensor(part) for part in batch)
    spec, output = fixed.graph.inputs[0], fixed.graph.outputs[0]
    if tuple(images.shape[1:]) != spec.shape or images.shape[:1] != labels.shape:
        raise TilewrightError(
            f"{where}: images must be [N, {', '.join(map(str, spec.shape))}] and labels [N], not "
            f"{list(images.shape)} and {list(labels.shape)}"
        )
    classes = math.prod(fixed.graph.shapes[output.tensor])
    if labels.is_floating_point() or int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise TilewrightError(
            f"{where}: labels must be integers in 0..{classes - 1}, one for each class, not "
            f"{labels.dtype} in {float(labels.min()):g}..{float(labels.max()):g}"
        )
    return images.float(), labels.long()
