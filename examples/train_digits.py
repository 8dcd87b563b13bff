"""Train the network of digits.py and write digits.npz: `python examples/train_digits.py`.

Takes a few minutes on one core. The result depends on the version of PyTorch in its last bits.
"""

from __future__ import annotations

import argparse
import math
import sys

import numpy as np
import torch
from digits import WEIGHTS, Digits, read_digits, split
from torch import nn
from torch.nn import functional

BATCH = 64


def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Turn, scale and shift every image a little: float32 [N, 1, 28, 28]."""
    count = len(images)
    angle = (torch.rand(count, generator=generator) - 0.5) * math.radians(24)
    scale = 1 + (torch.rand(count, generator=generator) - 0.5) * 0.2
    shift = (torch.rand(count, 2, generator=generator) - 0.5) * (4 / 14)
    theta = torch.stack(
        [
            torch.stack([scale * angle.cos(), -scale * angle.sin(), shift[:, 0]], 1),
            torch.stack([scale * angle.sin(), scale * angle.cos(), shift[:, 1]], 1),
        ],
        1,
    )
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of the images that the model labels rightly."""
    model.eval()
    with torch.no_grad():
        return float((model(images).argmax(1) == labels).float().mean())


def train(epochs: int) -> tuple[nn.Module, float]:
    """A trained network and its accuracy on the test images."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    raw, classes = read_digits()
    images = torch.from_numpy(raw.astype(np.float32) / 255)
    labels = torch.from_numpy(classes)
    trained_on, tested_on = (torch.from_numpy(part) for part in split(len(labels)))
    model = Digits()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-3)
    steps = -(-len(trained_on) // BATCH) * epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps)
    for epoch in range(epochs):
        model.train()
        for batch in trained_on[torch.randperm(len(trained_on), generator=generator)].split(BATCH):
            scores = model(augment(images[batch], generator))
            loss = functional.cross_entropy(scores, labels[batch], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1}/{epochs} loss {loss.item():.3f}", file=sys.stderr, flush=True)
    return model, accuracy(model, images[tested_on], labels[tested_on])


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=30)
    model, share = train(parser.parse_args().epochs)
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    np.savez_compressed(WEIGHTS, **state)
    print(f"{share:.2%} of the test images right; wrote {WEIGHTS} ({WEIGHTS.stat().st_size} bytes)")


if __name__ == "__main__":
    main()
