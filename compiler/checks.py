"""What a network must satisfy to run on a target; every violation names its layer."""

from __future__ import annotations

from tilewright.compiler.activations import resolve
from tilewright.compiler.isa import BIAS_BITS
from tilewright.compiler.layout import stored_offset
from tilewright.compiler.target import Target
from tilewright.errors import TilewrightError
from tilewright.graph.ir import Pool
from tilewright.quant.accumulator import accumulator_bound
from tilewright.quant.fixed import FixedGraph, FixedLayer

__all__ = ["check_network", "function_number"]

MAX_PAD = 255
MAX_WINDOW = 255
MAX_EXTENT = 65535


def check_network(fixed: FixedGraph, target: Target) -> None:
    """Check widths, ranges and sizes of a network against a target.

    Raises
    ------
    TilewrightError
        At the first tensor or layer that the target cannot compute exactly.
    """
    for name, fmt in fixed.formats.items():
        if fmt.bits > target.act_bits:
            raise TilewrightError(
                f"Tensor {name!r}: its {fmt.bits} bits exceed the target's act_bits of "
                f"{target.act_bits}; quantize it to at most {target.act_bits} bits"
            )
        if max(fixed.graph.shapes[name]) > MAX_EXTENT:
            raise TilewrightError(
                f"Tensor {name!r}: shape {fixed.graph.shapes[name]} exceeds {MAX_EXTENT} along "
                "an axis; the hardware's counters have 16 bits"
            )
    for layer in fixed.layers:
        _check_layer(fixed, layer, target)


def _check_layer(fixed: FixedGraph, layer: FixedLayer, target: Target) -> None:
    name, ir = layer.name, layer.layer
    if layer.weight is not None and layer.weight_bits > target.weight_bits:
        raise TilewrightError(
            f"Layer {name!r}: its weights have {layer.weight_bits} bits but the target's "
            f"weight_bits is {target.weight_bits}; quantize them to at most {target.weight_bits}"
        )
    if target.ternary and not target.scaled and layer.weight is not None:
        _check_three_values(layer, target)
    if ir.conv is not None and max(ir.conv.pads) > MAX_PAD:
        raise TilewrightError(
            f"Layer {name!r}: pads {ir.conv.pads} exceed {MAX_PAD}; pad the input by a layer before"
        )
    for pool in (ir.pool, ir.max_pool):
        if pool is not None:
            _check_pool(name, pool)
    low = stored_offset(layer.output, target) - (1 << (target.act_bits - 1))
    high = low + (1 << target.act_bits) - 1
    if not low <= layer.lo <= layer.hi <= high:
        raise TilewrightError(
            f"Layer {name!r}: clip range [{layer.lo}, {layer.hi}] must lie in [{low}, {high}] "
            f"(act_bits {target.act_bits})"
        )
    if layer.leaky is not None:
        _check_leaky(layer, target)
    if function_number(layer, target) and not layer.output.signed:
        raise TilewrightError(
            f"Layer {layer.name!r}: a registered activation needs a signed output format; quantize "
            "the network again"
        )
    _check_accumulator(fixed, layer, target)


def _check_three_values(layer: FixedLayer, target: Target) -> None:
    assert layer.weight is not None
    if (layer.weight < -1).any():
        raise TilewrightError(
            f"Layer {layer.name!r}: it has a weight of -2, and the ternary cells of target "
            f"{target.name!r}, which has weight_bits 2, take -1, 0 and 1; train its weights to three "
            "values (tilewright compress --ternary shift), or give the target a larger weight_bits"
        )


def function_number(layer: FixedLayer, target: Target) -> int:
    """Number of the layer's registered activation on the target, 0 without one.

    Raises
    ------
    TilewrightError : the target does not have it.
    """
    function = layer.function
    if function is None:
        return 0
    if function.name not in target.function_names:
        known = ", ".join(target.function_names) or "none"
        raise TilewrightError(
            f"Layer {layer.name!r}: target {target.name!r} has no activation {function.name!r} (it "
            f"has {known}); add it to the target's activations"
        )
    number = target.function_names.index(function.name)
    resolve(target.activations[number])
    return number + 1


def _check_pool(name: str, pool: Pool) -> None:
    if max(pool.kernel) > MAX_WINDOW:
        raise TilewrightError(
            f"Layer {name!r}: pooling window {pool.kernel} exceeds {MAX_WINDOW} along an axis; "
            "split it into two poolings"
        )


def _check_leaky(layer: FixedLayer, target: Target) -> None:
    assert layer.leaky is not None
    if not target.leaky:
        raise TilewrightError(
            f"Layer {layer.name!r}: LeakyReLU needs a target with leaky = true, and target "
            f"{target.name!r} has leaky = false; enable it or use ReLU"
        )
    if not (0 <= layer.leaky.multiplier <= 255 and 1 <= layer.leaky.shift <= 31):
        raise TilewrightError(
            f"Layer {layer.name!r}: LeakyReLU slope {layer.leaky.multiplier} / "
            f"2**{layer.leaky.shift} is outside multiplier 0..255 and shift 1..31"
        )


def _check_accumulator(fixed: FixedGraph, layer: FixedLayer, target: Target) -> None:
    limit = 1 << (target.acc_bits - 1)
    bound = accumulator_bound(layer, fixed.formats)
    if bound >= limit:
        raise TilewrightError(
            f"Layer {layer.name!r}: its accumulator can reach {bound}, beyond the target's "
            f"acc_bits of {target.acc_bits} (at most {limit - 1}); use acc_bits of at least "
            f"{bound.bit_length() + 1} or fewer weight or feature bits"
        )
    largest = max((abs(int(b)) for b in layer.bias), default=0)
    if largest >= min(limit, 1 << (BIAS_BITS - 1)):
        raise TilewrightError(
            f"Layer {layer.name!r}: bias {largest} at the accumulator's fraction exceeds "
            f"{min(target.acc_bits, BIAS_BITS)} bits; use a larger acc_bits or a smaller frac"
        )
