"""How LeNet-5 is compressed: pruned and refitted, retrained twice, given 32 shared weights a layer.

    python benchmarks/compression_lenet5.py --mnist DIR --work DIR

keeps lenet-5-dense.npz and lenet-5-prune-0.92-share-32.npz in `--work`, and a checkpoint an epoch.
"""

from __future__ import annotations

import argparse
import copy
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from compression_data import Batches, data_of, read_state, write_state
from compression_networks import NETWORKS
from torch import nn

from tilewright.compress.layers import fix_zeros, set_masks, weight_layers
from tilewright.compress.magnitude import Scan, magnitude_masks, qualities, scan
from tilewright.compress.refit import refit
from tilewright.compress.share import fix_shared, share_weights
from tilewright.compress.train import Progress, TrainConfig, accuracy, train

__all__ = ["CODED", "lenet_5", "main"]

CODED = "lenet-5-prune-0.92-share-32.npz"
REFITTED = (0.4, 0.2, 0.12, 0.078)
"""Shares of the weights that are kept, each time refitted on REFIT_IMAGES."""
LAST = 0.068
"""Share kept after retraining."""
REFIT_IMAGES, SCAN_IMAGES = 4_000, 1_000
ENTRIES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Images of an epoch and epochs: of the float network, and of each retraining."""

    images: int = 30_000
    float_epochs: int = 4
    epochs: int = 3


def lenet_5(
    data: tuple[torch.Tensor, torch.Tensor],
    kept: Path | None,
    work: Path,
    *,
    progress: Progress,
    schedule: Schedule = Schedule(),
) -> nn.Module:
    """LeNet-5 as it was trained (`kept` None), or compressed.

    Parameters
    ----------
    data : training images in 0..1, and labels
    kept : file of the compressed state; made if it is not there
    work : folder of checkpoints and of the float network's state
    """
    torch.manual_seed(0)
    model = NETWORKS["lenet-5"]().to(memory_format=torch.channels_last)
    loader = Batches(*data, 128, schedule.images, False)
    if kept is not None and kept.is_file():
        read_state(model, kept)
        return model.eval()
    state = work / "lenet-5-dense.npz"
    if state.is_file():
        read_state(model, state)
    else:
        config = TrainConfig(
            epochs=schedule.float_epochs,
            learning_rate=3e-3,
            weight_decay=1e-4,
            checkpoint=work / "lenet-5-float.npz",
        )
        train(model, loader, config, progress=progress)
        write_state(model, state)
    model.eval()
    if kept is not None:
        _compress(model, loader, work, progress, schedule)
        write_state(model, kept)
    return model


def _compress(
    model: nn.Module, loader: Batches, work: Path, progress: Progress, schedule: Schedule
) -> None:
    """Prune, refit, retrain, prune the rest, retrain, share."""
    original = copy.deepcopy(model)
    count = min(SCAN_IMAGES, schedule.images)
    few = (loader.images[:count], loader.labels[:count])
    scans = scan(model, lambda: accuracy(model, [few]))
    for keep in REFITTED:
        set_masks(model, magnitude_masks(model, qualities(model, scans, keep)))
        fix_zeros(model)
        refit(model, original, loader.images[: min(REFIT_IMAGES, schedule.images)])
    _retrain(model, loader, 0.2, 6, work / "lenet-5-pruned.npz", progress, schedule)
    set_masks(model, _largest(model, _shares(original, scans)))
    fix_zeros(model)
    _retrain(model, loader, 0.15, 8, work / "lenet-5-pruned-again.npz", progress, schedule)
    share_weights(model, ENTRIES)
    config = TrainConfig(
        epochs=1, learning_rate=1e-4, seed=5, checkpoint=work / "lenet-5-shared.npz"
    )
    train(model, loader, config, progress=progress)
    fix_shared(model)


def _retrain(
    model: nn.Module,
    loader: Batches,
    dropout: float,
    seed: int,
    checkpoint: Path,
    progress: Progress,
    schedule: Schedule,
) -> None:
    """Train what is not zero, with less dropout."""
    layers = weight_layers(model)
    set_masks(model, {name: layer.weight.detach() != 0 for name, layer in layers.items()})
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = dropout
    config = TrainConfig(
        epochs=schedule.epochs, learning_rate=1e-3, seed=seed, checkpoint=checkpoint
    )
    train(model, loader, config, progress=progress)
    fix_zeros(model)


def _shares(original: nn.Module, scans: dict[str, Scan]) -> dict[str, float]:
    """Share of each layer's weights that the scan of the float network would keep."""
    masks = magnitude_masks(original, qualities(original, scans, LAST))
    return {name: float(mask.float().mean()) for name, mask in masks.items()}


def _largest(model: nn.Module, shares: dict[str, float]) -> dict[str, torch.Tensor]:
    """Masks of each layer's largest weights, among those that are left."""
    masks = {}
    for name, layer in weight_layers(model).items():
        sizes = layer.weight.detach().abs()
        count = min(int(shares[name] * sizes.numel()), int((sizes != 0).sum()))
        masks[name] = sizes >= sizes.flatten().topk(count).values[-1]
    return masks


def main() -> int:
    """Train both networks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mnist", type=Path, required=True, help="folder of idx files")
    parser.add_argument("--work", type=Path, required=True, help="keeps what has been trained")
    parser.add_argument("--images", type=int, default=30_000, help="of an epoch")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    data = data_of(options.mnist)
    schedule = Schedule(images=options.images)

    def show(done: int, total: int, text: str) -> None:
        print(f"  {done}/{total} {text}", flush=True)

    for kept in (None, options.work / CODED):
        model = lenet_5(data.tensors("train"), kept, options.work, progress=show, schedule=schedule)
        left = sum(int((p != 0).sum()) for p in model.parameters())
        print(f"{accuracy(model, data.test()):.2%} with {left:,} parameters", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
