"""How LeNet-5 is compressed: pruned and refitted, retrained twice, given 32 shared weights a layer.

    python benchmarks/compression_lenet5.py --mnist DIR --work DIR

keeps lenet-5-dense.npz and the compressed state (CODED) in `--work`, and a checkpoint an epoch. Nothing
is trained on the last HELD_OUT training images: the scan that says how much each layer is pruned uses
them, and LAST was chosen by them. `--last` tries another share and prints what is right of them only.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from compression_data import Batches, data_of, read_state, write_state
from compression_networks import NETWORKS
from torch import nn

from tilewright.compress.layers import fix_zeros, set_masks, weight_layers
from tilewright.compress.magnitude import Scan, magnitude_masks, qualities, scan
from tilewright.compress.refit import refit
from tilewright.compress.share import fix_shared, share_weights
from tilewright.compress.train import Progress, TrainConfig, accuracy, train

__all__ = ["CODED", "STEPS", "lenet_5", "main"]

REFITTED = (0.4, 0.2, 0.12, 0.078)
"""Shares of the weights that are kept, each time refitted on REFIT_IMAGES."""
LAST = 0.062
"""Share kept after retraining: of the images held out 99.12 % are right with it, of the float network
99.08 %, and the stream has more than 39 times fewer bytes than float."""
REFIT_IMAGES, HELD_OUT = 4_000, 5_000
ENTRIES = 32
STEPS = (f"prune {1 - LAST:g}", f"share {ENTRIES}", "huffman")
CODED = f"lenet-5-prune-{1 - LAST:g}-share-{ENTRIES}.npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Images of an epoch and epochs: of the float network, and of each retraining."""

    images: int = 55_000
    float_epochs: int = 4
    epochs: tuple[int, int, int] = (4, 8, 3)


def lenet_5(
    data: tuple[torch.Tensor, torch.Tensor],
    kept: Path | None,
    work: Path,
    *,
    progress: Progress,
    schedule: Schedule = Schedule(),
    last: float = LAST,
) -> nn.Module:
    """LeNet-5 as it was trained (`kept` None), or compressed.

    Parameters
    ----------
    data : training images in 0..1, and labels
    kept : file of the compressed state; made if it is not there
    work : folder of checkpoints and of the float network's state
    last : share kept
    """
    torch.manual_seed(0)
    model = NETWORKS["lenet-5"]().to(memory_format=torch.channels_last)
    images, labels = data
    loader = Batches(images[:-HELD_OUT], labels[:-HELD_OUT], 128, schedule.images, False)
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
        held = list(zip(images[-HELD_OUT:].split(500), labels[-HELD_OUT:].split(500), strict=True))
        _compress(model, loader, held, work, progress, schedule, last)
        write_state(model, kept)
    return model


def _compress(
    model: nn.Module,
    loader: Batches,
    held: Iterable[Any],
    work: Path,
    progress: Progress,
    schedule: Schedule,
    last: float,
) -> None:
    """Prune, refit, retrain, prune the rest, retrain, share, retrain; towards what the original says."""
    original = copy.deepcopy(model)
    scans = scan(model, lambda: accuracy(model, held))
    for keep in REFITTED:
        set_masks(model, magnitude_masks(model, qualities(model, scans, keep)))
        fix_zeros(model)
        refit(model, original, loader.images[: min(REFIT_IMAGES, schedule.images)])

    def retrain(name: str, epochs: int, rate: float, seed: int) -> None:
        config = TrainConfig(
            epochs=epochs, learning_rate=rate, seed=seed, checkpoint=work / f"lenet-5-{name}.npz"
        )
        train(model, loader, config, teacher=original, progress=progress)

    first, second, third = schedule.epochs
    _hold_zeros(model, dropout=0.2)
    retrain("pruned", first, 1e-3, 6)
    fix_zeros(model)
    set_masks(model, _largest(model, _shares(original, scans, last)))
    fix_zeros(model)
    _hold_zeros(model, dropout=0.15)
    retrain(f"pruned-to-{last:g}", second, 1e-3, 8)
    fix_zeros(model)
    share_weights(model, ENTRIES)
    retrain(f"shared-{last:g}", third, 1e-4, 5)
    fix_shared(model)


def _hold_zeros(model: nn.Module, *, dropout: float) -> None:
    """Let only what is not zero be trained, with so much dropout."""
    layers = weight_layers(model)
    set_masks(model, {name: layer.weight.detach() != 0 for name, layer in layers.items()})
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = dropout


def _shares(original: nn.Module, scans: dict[str, Scan], last: float) -> dict[str, float]:
    """Share of each layer's weights that the scan of the float network would keep."""
    masks = magnitude_masks(original, qualities(original, scans, last))
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
    parser.add_argument("--images", type=int, default=55_000, help="of an epoch")
    parser.add_argument("--last", type=float, help="share kept, to try one on the images held out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    data, last = data_of(options.mnist), options.last or LAST
    schedule = Schedule(images=options.images)

    def show(done: int, total: int, text: str) -> None:
        print(f"  {done}/{total} {text}", flush=True)

    images, labels = data.tensors("train")
    held = [(images[-HELD_OUT:], labels[-HELD_OUT:])]
    coded = CODED if options.last is None else f"lenet-5-tried-{last:g}.npz"
    for kept in (None, options.work / coded):
        model = lenet_5(
            (images, labels), kept, options.work, progress=show, schedule=schedule, last=last
        )
        left = sum(int((p != 0).sum()) for p in model.parameters())
        tests = "" if options.last else f", {accuracy(model, data.test()):.2%} of the test images"
        print(
            f"{left:,} parameters: right are {accuracy(model, held):.2%} of the images held out{tests}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
