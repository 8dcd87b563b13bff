"""Train the networks of fashion.py: `python examples/train_fashion.py [--data DIR] [NAME ...]`.

Takes about five minutes a network on one core. Results depend on PyTorch's version in the last bits.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from fashion import DEFAULT_FOLDER, NETWORKS, read_images, weights_path
from torch import nn
from torch.nn import functional

BATCH = 128


def train(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, epochs: int) -> None:
    """Train `model` on images float32 [N, 1, 28, 28], mirrored and shifted by chance."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-3)
    steps = -(-len(images) // BATCH) * epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 8e-3, total_steps=steps)
    model.train()
    for epoch in range(epochs):
        for batch in torch.randperm(len(images), generator=generator).split(BATCH):
            x = images[batch]
            if torch.rand((), generator=generator) < 0.5:
                x = x.flip(3)
            shift = torch.randint(-1, 2, (2,), generator=generator).tolist()
            scores = model(torch.roll(x, shift, (2, 3)))
            loss = functional.cross_entropy(scores, labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1}/{epochs} loss {loss.item():.3f}", file=sys.stderr, flush=True)
    model.eval()


def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of the images that the model labels rightly."""
    with torch.no_grad():
        right = [
            (model(x).argmax(1) == y).sum()
            for x, y in zip(images.split(500), labels.split(500), strict=True)
        ]
    return float(sum(right)) / len(images)


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(NETWORKS), help=", ".join(NETWORKS))
    parser.add_argument("--data", type=Path, default=DEFAULT_FOLDER, help="folder of idx files")
    parser.add_argument("--epochs", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(1)
    sets = [read_images(options.data, part) for part in ("train", "t10k")]
    (images, labels), (test, classes) = (
        (torch.from_numpy(x.astype(np.float32) / 255), torch.from_numpy(y)) for x, y in sets
    )
    for name in options.names:
        torch.manual_seed(0)
        model = NETWORKS[name]()
        train(model, images, labels, options.epochs)
        state = {key: tensor.numpy() for key, tensor in model.state_dict().items()}
        np.savez_compressed(weights_path(name), allow_pickle=False, **state)
        size = weights_path(name).stat().st_size
        print(f"{name}: {accuracy(model, test, classes):.2%} right; {size:,} bytes", flush=True)


if __name__ == "__main__":
    main()
