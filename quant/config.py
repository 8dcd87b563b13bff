"""What the user may choose about quantization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from tilewright.errors import TilewrightError
from tilewright.graph.ir import Graph, Layer
from tilewright.quant.formats import MAX_BITS, MIN_BITS

__all__ = ["OBJECTIVES", "PAPER", "ROUNDINGS", "QuantConfig"]

OBJECTIVES = ("absolute", "squared")
ROUNDINGS = ("nearest", "learned")
PAPER: Mapping[str, Any] = {
    "per_channel": False,
    "objective": "absolute",
    "classes": False,
    "unsigned": False,
    "equalize": False,
    "rescale": False,
    "bias_correction": False,
    "rounding": "nearest",
}
"""Options with which the method is the paper's."""
_KINDS = ("conv", "depthwise", "fc")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantConfig:
    """Bits of every tensor and the way their fractional lengths are found.

    The most specific choice wins: a layer's own, then its kind's, then the network's.

    Attributes
    ----------
    weight_bits, feature_bits : bits of weights and of feature maps (graph inputs too), 2..16
    kind_weight_bits, kind_feature_bits : bits by layer kind ("conv", "depthwise", "fc")
    layer_weight_bits, layer_feature_bits : bits by layer name; feature maps also by graph input
    static : one fractional length for all weights and one for all feature maps
    per_channel : a fractional length for the weights of each output channel instead of one a layer;
        without effect on static precision
    objective : of fractional lengths, of weights as of feature maps: "absolute", the paper's sum of
        absolute errors, or "squared"; without effect on static precision, as all that follows
    classes : the outputs are scores of classes, of which only the differences between the best count:
        their formats are chosen by how far that moves their softmax (Kullback-Leibler divergence),
        not by `objective`, and what is certain anyway may be cut off. None: where the network ends
        in a softmax. Without effect on static precision
    unsigned : feature maps that cannot be negative get no sign, and twice the resolution; without
        effect on static precision
    equalize : rewrite the network by powers of two, see `tilewright.quant.equalize`
    rescale : multiply feature maps so that they fill their formats, see `tilewright.quant.rescale`
    bias_correction : change biases so that every channel's mean result is that of the float network
    rounding : "nearest", or "learned": weights are rounded so that the layer's results come closest
        to the float network's on the calibration images, see `tilewright.quant.reconstruct`
    joint : choose the fractional lengths of a layer's weights, bias and output together, by the
        error of what it stores; without effect on static precision
    descent : try every fractional length once more after the greedy pass, by the error of the
        network's outputs, see `tilewright.quant.descent`; without effect on static precision
    acc_bits : accumulators with bias must fit in this width, 16..48; where they do not, a layer's
        weights get a smaller fractional length
    lowest, highest : the neighbourhood searched, relative to the largest fractional length that
        does not overflow

    Raises
    ------
    TilewrightError
        If a value is out of its range.
    """

    weight_bits: int = 8
    feature_bits: int = 8
    kind_weight_bits: Mapping[str, int] = field(default_factory=dict)
    kind_feature_bits: Mapping[str, int] = field(default_factory=dict)
    layer_weight_bits: Mapping[str, int] = field(default_factory=dict)
    layer_feature_bits: Mapping[str, int] = field(default_factory=dict)
    static: bool = False
    per_channel: bool = True
    objective: str = "squared"
    classes: bool | None = None
    unsigned: bool = True
    equalize: bool = True
    rescale: bool = True
    bias_correction: bool = True
    rounding: str = "learned"
    joint: bool = False
    descent: bool = False
    acc_bits: int = 48
    lowest: int = -1
    highest: int = 4

    def __post_init__(self) -> None:
        _check_range("weight_bits", self.weight_bits, MIN_BITS, MAX_BITS)
        _check_range("feature_bits", self.feature_bits, MIN_BITS, MAX_BITS)
        _check_range("acc_bits", self.acc_bits, 16, 48)
        _check_range("lowest", self.lowest, -16, 0)
        _check_range("highest", self.highest, 0, 16)
        for option, known in (("objective", OBJECTIVES), ("rounding", ROUNDINGS)):
            if getattr(self, option) not in known:
                raise TilewrightError(
                    f"Quantization option {option} must be one of {', '.join(known)}, "
                    f"not {getattr(self, option)!r}"
                )
        for table in ("kind_weight_bits", "kind_feature_bits"):
            for kind, bits in getattr(self, table).items():
                _check_range(f"{table}[{kind!r}]", bits, MIN_BITS, MAX_BITS)
                _check_name(table, "layer kind", kind, _KINDS)
        for table in ("layer_weight_bits", "layer_feature_bits"):
            for name, bits in getattr(self, table).items():
                _check_range(f"{table}[{name!r}]", bits, MIN_BITS, MAX_BITS)

    @classmethod
    def paper(cls, **options: Any) -> QuantConfig:
        """The two greedy phases of the paper and nothing else; `options` are the other choices."""
        return cls(**{**PAPER, **options})

    @property
    def squared(self) -> bool:
        """Whether fractional lengths are chosen by squared errors."""
        return self.objective == "squared"

    @property
    def corrects(self) -> bool:
        """Whether biases are corrected on the calibration images; learned rounding implies it."""
        return self.bias_correction or self.rounding == "learned"

    def check_names(self, graph: Graph) -> None:
        """Raise TilewrightError if a layer named here is not in `graph`, or has no weights."""
        weighted = [layer.name for layer in graph.layers if layer.conv is not None]
        for name in self.layer_weight_bits:
            _check_name("layer_weight_bits", "layer with weights", name, weighted)
        for name in self.layer_feature_bits:
            _check_name("layer_feature_bits", "layer or input", name, tuple(graph.shapes))

    def weights(self, layer: Layer) -> int:
        """Bits of the layer's weights."""
        by_kind = self.kind_weight_bits.get(layer.kind, self.weight_bits)
        return self.layer_weight_bits.get(layer.name, by_kind)

    def features(self, name: str, layer: Layer | None = None) -> int:
        """Bits of tensor `name`, which `layer` produces (None for a graph input)."""
        by_kind = self.feature_bits
        if layer is not None:
            by_kind = self.kind_feature_bits.get(layer.kind, by_kind)
        return self.layer_feature_bits.get(name, by_kind)


def _check_range(option: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise TilewrightError(
            f"Quantization option {option} must be an integer in {low}..{high}, not {value!r}"
        )


def _check_name(option: str, what: str, name: str, known: tuple[str, ...] | list[str]) -> None:
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise TilewrightError(
            f"Quantization option {option} names {name!r}, which is no {what} of the network{hint}"
            if what != "layer kind"
            else f"Quantization option {option} names {name!r}; layer kinds are {', '.join(known)}"
        )
