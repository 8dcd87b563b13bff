"""What the search holds of a layer: chunks of its maps, a trial of it, the error of what it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from tilewright.quant.candidates import Step
from tilewright.quant.fixed import FixedLayer, IntArray
from tilewright.quant.formats import QFormat

__all__ = ["Chunks", "FloatArray", "Trial", "output_error", "stored_map"]

FloatArray = npt.NDArray[np.float32]
Chunks = list[torch.Tensor]
"""A tensor of some images after the others, [n, C, H, W] each."""


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A layer with its accumulators, the float network's results, and how its format was chosen."""

    fixed: FixedLayer
    accs: Chunks
    wanted: list[FloatArray]
    step: Step
    log: list[Step]

    @property
    def error(self) -> float:
        """Of what it stores; 0 where the format follows from another's."""
        return min((c.error for c in self.step.candidates), default=0.0)


def output_error(
    floats: Sequence[Sequence[FloatArray]],
    fixed: Sequence[Sequence[torch.Tensor]],
    scales: Sequence[float],
) -> float:
    """Sum of |float - fixed| relative to that of |float|, added up over the outputs."""
    total = 0.0
    for wanted, stored, scale in zip(floats, fixed, scales, strict=True):
        pairs = zip(wanted, stored, strict=True)
        error = sum(float(np.abs(w - q.numpy() * scale).sum()) for w, q in pairs)
        magnitude = sum(float(np.abs(w, dtype=np.float64).sum()) for w in wanted)
        total += error / magnitude if magnitude else float(error > 0.0)
    return total


def stored_map(form: QFormat, integers: IntArray) -> torch.Tensor:
    """A feature map's integers in the type that takes the least memory."""
    kind = np.int16 if form.max < 1 << 15 else np.int32
    return torch.from_numpy(integers.astype(kind))
