"""The report: what is known of a network on a target, float, fixed and RTL side by side."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tilewright.compiler.timeline import Timeline
    from tilewright.quant.profile import TensorProfile

__all__ = [
    "Accuracy",
    "Hardware",
    "LayerReport",
    "NetworkReport",
    "Precision",
    "Resource",
    "RtlReport",
    "report_dict",
]


Share = float
"""A number in 0..1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerReport:
    """One layer in float, fixed point and RTL; what was not measured is None.

    Attributes
    ----------
    shape : (C, H, W) of the output
    weight_bits : None for layers without weights
    weight_frac : smallest and largest fractional length over the output channels
    bits, frac : format of the output
    sqnr_db : 10 log10(Σ float² / Σ (float − fixed)²) over the images compared
    max_error : largest |float − fixed|
    saturated : values that the output's range cut off, over the images compared
    cycles_measured : of one image, counted by the RTL
    cycles_predicted : of the compiler's cycle model
    utilization : useful multiply-accumulates / (array cells · measured cycles)
    bound_mapping : the most that it could be with this mapping of the layer to weight tiles
    bound_roofline : what it would be if only compute and bus beats of the schedule took time
    bound : "compute" or "memory"
    read_beats, written_beats : that the layer's instructions move over the bus
    mismatches : values in which RTL and integer reference differ, over all images simulated
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    bits: int
    frac: int
    weight_bits: int | None = None
    weight_frac: tuple[int, int] | None = None
    sqnr_db: float | None = None
    max_error: float | None = None
    saturated: int | None = None
    macs: int = 0
    cycles_measured: int | None = None
    cycles_predicted: int | None = None
    utilization: float | None = None
    bound_mapping: float | None = None
    bound_roofline: float | None = None
    bound: str | None = None
    read_beats: int | None = None
    written_beats: int | None = None
    mismatches: int | None = None

    @property
    def deviation(self) -> float | None:
        """Predicted over measured cycles, minus 1."""
        if not self.cycles_measured or self.cycles_predicted is None:
            return None
        return self.cycles_predicted / self.cycles_measured - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """Static against dynamic precision at one bit width.

    SQNR is that of the network's first output; accuracy is None without labels; `static_frac` is
    the fractional length of all weights, and of all feature maps.
    """

    bits: int
    dynamic_sqnr_db: float
    dynamic_saturated: int
    static_frac: tuple[int, int]
    static_sqnr_db: float
    static_saturated: int
    dynamic_accuracy: float | None = None
    static_accuracy: float | None = None
    layers: tuple[tuple[str, int, int], ...] = ()
    """For each layer: name, saturated values with dynamic and with static precision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Share of the labelled images whose largest output is the label; None if not measured."""

    images: int
    float: Share
    fixed: Share
    static: Share | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RtlReport:
    """The simulation: how many images ran, and how many values differ from the reference."""

    images: int
    mismatches: int
    values: int
    cycles: int
    predicted: int | None
    frames_per_second: float
    correct: int | None = None
    first_mismatch: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What of the target limits a layer: the array's cells, the bus, the clock."""

    rows: int
    cols: int
    bus_bytes: int
    clock_mhz: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """What the accelerator takes of something, and what the board has; None where nobody knows.

    Attributes
    ----------
    name : LUTs, flip-flops, multiplier blocks, block RAMs, bytes of memory, or MHz of the clock
    estimated : by the resource model; bytes of memory are exact
    measured : when the board's array of this size was last built
    available : on the board; of the clock what is needed
    """

    name: str
    estimated: float | None
    measured: float | None
    available: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkReport:
    """Everything known about one network on one target.

    Attributes
    ----------
    edges : pairs of the names of an input or layer, and of a layer that reads it
    ranges : where each layer's values lie, if that was asked for
    timeline : what each unit does when by the cycle model, if that was asked for
    board : whose memory the predicted cycles are for, if any
    resources : what is estimated and measured of the hardware
    """

    name: str
    target: str
    layers: tuple[LayerReport, ...]
    accuracy: Accuracy | None = None
    rtl: RtlReport | None = None
    precision: tuple[Precision, ...] = ()
    hardware: Hardware | None = None
    edges: tuple[tuple[str, str], ...] = ()
    ranges: tuple[TensorProfile, ...] = ()
    timeline: Timeline | None = None
    board: str | None = None
    resources: tuple[Resource, ...] = ()


def report_dict(report: NetworkReport) -> dict[str, Any]:
    """The report as plain values for JSON, derived quantities included."""
    result = dataclasses.asdict(report)
    for entry, layer in zip(result["layers"], report.layers, strict=True):
        entry["deviation"] = layer.deviation
    return result
